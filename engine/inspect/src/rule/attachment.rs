//! Files that rules name: lists of hashes, data sets.
//!
//! This crate opens no files: its caller hands them in, or a way to get them.
use std::borrow::Cow;
use std::collections::HashMap;

/// Gives the files that rules name.
///
/// Whether a path may be read is the giver's to decide: a rule can name anything, `/etc/shadow` included.
pub trait Attachments {
    /// The bytes of the file at `path`: as a rule names it, beside the rule's own file.
    ///
    /// Errors: why it is not given.
    fn get(&self, path: &str) -> Result<Cow<'_, [u8]>, String>;
}

/// No files.
impl Attachments for () {
    fn get(&self, _path: &str) -> Result<Cow<'_, [u8]>, String> {
        Err("no files are given".into())
    }
}

/// Files in memory, by their path.
impl Attachments for HashMap<String, Vec<u8>> {
    fn get(&self, path: &str) -> Result<Cow<'_, [u8]>, String> {
        let bytes = HashMap::get(self, path).ok_or("there is no such file")?;
        Ok(Cow::Borrowed(&bytes[..]))
    }
}

/// `path` in the directory of `rule_file`; absolute ones as they are.
pub(super) fn beside(rule_file: &str, path: &str) -> String {
    match rule_file.rsplit_once('/') {
        Some((directory, _)) if !path.starts_with('/') => format!("{directory}/{path}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_beside_the_rule_that_names_it() {
        assert_eq!(beside("dir/a.rules", "bad.md5"), "dir/bad.md5");
        assert_eq!(beside("dir/a.rules", "/abs/x"), "/abs/x");
        assert_eq!(beside("a.rules", "bad.md5"), "bad.md5");
    }
}
