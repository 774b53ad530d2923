//! Files that rules name: lists of hashes, data sets.
//!
//! This crate reads no files: its caller asks [`wanted`] what the rules name, reads that, and hands it in.
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::lexer::{self, printable};

/// The bytes of files that rules name, by their path as [`wanted`] gives it.
#[derive(Clone, Debug, Default)]
pub struct Attachments(Arc<HashMap<String, Vec<u8>>>);

impl Attachments {
    /// These files: path as [`wanted`] gives it, and bytes.
    pub fn new(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        Self(Arc::new(files.into_iter().collect()))
    }

    /// The file that a rule in `rule_file` names as `path`.
    pub(super) fn get(&self, rule_file: &str, path: &str) -> Option<&[u8]> {
        self.0.get(&beside(rule_file, path)).map(Vec::as_slice)
    }
}

/// The paths of all files that the rules in these (path, text) files name, beside the file that names them.
///
/// Whether a path may be read is the caller's to decide: a rule can name anything, `/etc/shadow` included.
pub fn wanted(files: &[(String, Vec<u8>)]) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for (file, text) in files {
        for statement in lexer::statements(text) {
            let start = statement.text.iter().position(|byte| *byte == b'(');
            let end = statement.text.iter().rposition(|byte| *byte == b')');
            let (Some(start), Some(end)) = (start, end) else {
                continue;
            };
            let options = statement.text.get(start + 1..end).unwrap_or_default();
            for option in lexer::options(options).unwrap_or_default() {
                let value = option.value.unwrap_or_default();
                let named = named(&option.name.to_ascii_lowercase(), value);
                paths.extend(named.map(|path| beside(file, &path)));
            }
        }
    }
    paths
}

/// The path that an option names.
fn named(keyword: &str, value: &[u8]) -> Option<String> {
    let value = value.trim_ascii();
    match keyword {
        "filemd5" | "filesha1" | "filesha256" => {
            let path = value.strip_prefix(b"!").unwrap_or(value);
            Some(printable(path.trim_ascii()))
        }
        "dataset" | "datarep" => value.split(|byte| *byte == b',').find_map(|part| {
            let (key, path) = super::number::split_once(part.trim_ascii(), b" ")?;
            matches!(key, b"load" | b"state").then(|| printable(path.trim_ascii()))
        }),
        _ => None,
    }
}

/// `path` in the directory of `rule_file`; absolute ones as they are.
fn beside(rule_file: &str, path: &str) -> String {
    match rule_file.rsplit_once('/') {
        Some((directory, _)) if !path.starts_with('/') => format!("{directory}/{path}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_files_beside_their_own() {
        let rules = br#"
            alert http any any -> any any (filemd5:!bad.md5; sid:1;)
            # alert http any any -> any any (filemd5:commented; sid:2;)
            alert http any any -> any any (http.host; dataset:isset,hosts, type string, load h.lst; sid:3;)
            alert http any any -> any any (filesha256:/abs/x; content:"a(b)"; sid:4;)
        "#;
        let files = [("dir/a.rules".to_owned(), rules.to_vec())];
        let paths: Vec<_> = wanted(&files).into_iter().collect();
        assert_eq!(paths, ["/abs/x", "dir/bad.md5", "dir/h.lst"]);
        let attachments = Attachments::new([("dir/bad.md5".to_owned(), b"x".to_vec())]);
        assert_eq!(attachments.get("dir/b.rules", "bad.md5"), Some(&b"x"[..]));
        assert_eq!(attachments.get("b.rules", "bad.md5"), None);
    }
}
