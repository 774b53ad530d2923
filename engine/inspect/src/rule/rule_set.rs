//! A rule set: rules, thresholds for them, and the data that they name, as the files of one folder.
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{self, BufRead, Read};

use super::threshold_config::is_threshold_config;
use super::{Attachments, Loaded, Reading, Reason, Variables};

/// Opens a file of a rule set by its path.
pub type Open<'a> = &'a dyn Fn(&str) -> io::Result<Box<dyn BufRead + 'a>>;

/// Reads a rule set: rules from its files called `*.rules`, then what its `threshold.config` says of them.
///
/// The others are data: rules may name them and no file else, and one that none names is refused.
///
/// Errors: the first file of rules that cannot be opened, and why.
pub fn read_set<'p>(
    paths: impl IntoIterator<Item = &'p str>,
    variables: &Variables,
    open: Open<'_>,
) -> Result<Loaded, (String, io::Error)> {
    let is_read = |path: &&str| path.ends_with(".rules") || is_threshold_config(path);
    let (read, data): (Vec<_>, Vec<_>) = paths.into_iter().partition(is_read);
    let given = Data {
        paths: data.iter().copied().collect(),
        named: RefCell::default(),
        open,
    };
    let mut reading = Reading::new(variables, &given);
    for path in read {
        let text = open(path).map_err(|error| (path.to_owned(), error))?;
        reading.read(path, text);
    }
    for path in data {
        if !given.named.borrow().contains(path) {
            reading.refuse(path, 1, None, Reason::NoRules(NAMED_BY_NONE));
        }
    }
    Ok(reading.finish())
}

const NAMED_BY_NONE: &str =
    "a rule set's rules are in files called *.rules, and no rule names this one as its data";

/// The files of a rule set that rules may name.
struct Data<'p, 'a> {
    paths: HashSet<&'p str>,
    named: RefCell<HashSet<String>>,
    open: Open<'a>,
}

impl Attachments for Data<'_, '_> {
    fn get(&self, path: &str) -> Result<Cow<'_, [u8]>, String> {
        let path = self.paths.get(path).ok_or("it is not in the rule set")?;
        self.named.borrow_mut().insert((*path).to_owned());
        let mut bytes = Vec::new();
        let read = (self.open)(path).and_then(|mut file| file.read_to_end(&mut bytes));
        read.map_err(|error| error.to_string())?;
        Ok(Cow::Owned(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> (usize, Vec<String>) {
        let open = |path: &str| -> io::Result<Box<dyn BufRead>> {
            let file = files.iter().find(|(name, _)| *name == path);
            let (_, text) = file.ok_or(io::ErrorKind::NotFound)?;
            Ok(Box::new(text.as_bytes()))
        };
        let paths = files.iter().map(|(name, _)| *name);
        let loaded = read_set(paths, &Variables::default(), &open).unwrap();
        let refused = loaded.refused.iter().map(ToString::to_string).collect();
        (loaded.signatures.len(), refused)
    }

    fn asking(path: &str) -> String {
        format!("alert dns any any -> any any (dns.query; dataset:isset,s,type string,load {path}; sid:1;)")
    }

    #[test]
    fn rules_find_the_data_of_their_set_whatever_the_order_of_the_files() {
        let data = ("set/datasets/0a", "Zm9v\n");
        let rules = asking("datasets/0a");
        let files = [data, ("set/a.rules", &rules[..])];
        assert_eq!(read(&files), (1, vec![]));
    }

    #[test]
    fn rules_see_no_file_outside_their_set() {
        for path in [
            "/etc/passwd",
            "../x",
            "datasets/../../x",
            "b.rules",
            "datasets/1",
        ] {
            let rules = asking(path);
            let files = [("set/a.rules", &rules[..]), ("set/b.rules", "")];
            let expected = format!(
                "set/a.rules:1: sid 1: keyword 'dataset': file '{path}': it is not in the rule set"
            );
            assert_eq!(read(&files), (0, vec![expected]));
        }
    }

    #[test]
    fn a_file_that_nothing_reads_is_refused_as_a_whole() {
        let rule = "alert tcp any any -> any any (sid:1;)\n".repeat(2);
        let (loaded, refused) = read(&[
            ("a.rules", "alert tcp any any -> any any (sid:7;)"),
            ("b.txt", &rule),
        ]);
        assert_eq!(loaded, 1);
        assert_eq!(
            refused,
            [format!(
                "b.txt:1: no rules are read from this file: {NAMED_BY_NONE}"
            )]
        );
    }
}
