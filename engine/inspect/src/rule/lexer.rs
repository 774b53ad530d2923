//! Cuts a rule file into rules, and a rule's options apart.
//!
//! A rule is one line; a backslash at a line's end continues it on the next. `#` at the start of a line is a
//! comment. Within the parentheses options end at `;`, which a backslash protects, in quotes or out of them.
use std::io::{self, BufRead};

use super::Reason;

/// Longest rule accepted, in bytes, continued lines included. Suricata's own bound is 8,192 to 16,384.
pub const MAX_RULE_BYTES: usize = 65_536;

/// One rule's text and the line it starts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Line of its first byte, from 1.
    pub line: u32,
    /// Continued lines joined; at most [`MAX_RULE_BYTES`] + 1 bytes are kept of a longer one.
    pub text: Vec<u8>,
}

/// The rules of a file in order; comments and empty lines are left out. At most one rule is held at a time.
#[derive(Debug)]
pub struct Statements<R> {
    file: R,
    /// Number of the line that was read last.
    line: u32,
}

impl<R: BufRead> Statements<R> {
    pub fn new(file: R) -> Self {
        Self { file, line: 0 }
    }

    /// Number of the line that was read last, from 1.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The next rule.
    fn find(&mut self) -> io::Result<Option<Statement>> {
        let mut open: Option<Statement> = None;
        loop {
            let mut line = Vec::new();
            let Some(last) = read_line(&mut self.file, &mut line)? else {
                break;
            };
            self.line = self.line.saturating_add(1);
            let part = line.trim_ascii_end();
            let starting = open.is_none();
            if starting && (trim(part).is_empty() || trim(part)[0] == b'#') {
                continue;
            }
            let statement = open.get_or_insert_with(|| Statement {
                line: self.line,
                text: Vec::new(),
            });
            // Of a line that was cut the backslash is not among what was kept.
            let part = part.strip_suffix(b"\\").unwrap_or(part);
            let room = (MAX_RULE_BYTES + 1).saturating_sub(statement.text.len());
            statement
                .text
                .extend_from_slice(&part[..part.len().min(room)]);
            if last != b'\\' {
                if trim(&statement.text).is_empty() {
                    open = None;
                    continue;
                }
                break;
            }
        }
        Ok(open.filter(|statement| !trim(&statement.text).is_empty()))
    }
}

impl<R: BufRead> Iterator for Statements<R> {
    type Item = io::Result<Statement>;

    fn next(&mut self) -> Option<Self::Item> {
        self.find().transpose()
    }
}

/// Reads a line, of which at most [`MAX_RULE_BYTES`] + 1 bytes are kept; `None` at the file's end.
///
/// Returns its last byte that is not white space, kept or not; a blank of an empty line.
fn read_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<u8>> {
    let mut last = None;
    loop {
        let some = match file.fill_buf() {
            Ok(some) => some,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if some.is_empty() {
            return Ok(last);
        }
        let end = memchr::memchr(b'\n', some);
        let part = &some[..end.unwrap_or(some.len())];
        let room = (MAX_RULE_BYTES + 1).saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        let seen = part.trim_ascii_end().last().copied();
        last = Some(seen.or(last).unwrap_or(b' '));
        let used = part.len() + usize::from(end.is_some());
        file.consume(used);
        if end.is_some() {
            return Ok(last);
        }
    }
}

/// One option as written: `name` or `name:value`, white space around both removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleOption<'a> {
    /// Keyword.
    pub name: &'a str,
    /// What follows the colon, quotes and escapes untouched.
    pub value: Option<&'a [u8]>,
}

/// The options between a rule's parentheses.
///
/// Errors: an option without its `;`, or a name that is not text.
pub fn options(body: &[u8]) -> Result<Vec<RuleOption<'_>>, Reason> {
    let mut rest = trim(body);
    let mut found = Vec::new();
    while !rest.is_empty() {
        let end = option_end(rest)
            .ok_or_else(|| Reason::UnterminatedOption(printable(&rest[..rest.len().min(40)])))?;
        let option = trim(&rest[..end]);
        rest = trim(&rest[end + 1..]);
        let (name, value) = match option.iter().position(|byte| *byte == b':') {
            Some(colon) => (&option[..colon], Some(trim(&option[colon + 1..]))),
            None => (option, None),
        };
        let name = std::str::from_utf8(trim(name))
            .ok()
            .filter(|name| !name.is_empty())
            .ok_or_else(|| Reason::unknown_keyword(printable(name), std::iter::empty()))?;
        found.push(RuleOption { name, value });
    }
    Ok(found)
}

/// Offset of the first `;` that no backslash stands before.
fn option_end(text: &[u8]) -> Option<usize> {
    (0..text.len()).find(|at| text[*at] == b';' && (*at == 0 || text[*at - 1] != b'\\'))
}

/// `text` without the white space at both ends.
pub fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// `value` without the quotes around it.
///
/// Errors: `None` where a quote is missing on one side, or on both when they are mandatory.
pub fn unquote(value: &[u8], mandatory: bool) -> Option<&[u8]> {
    match (
        value.strip_prefix(b"\""),
        value.len() >= 2 && value.ends_with(b"\""),
    ) {
        (Some(inner), true) => Some(&inner[..inner.len() - 1]),
        (None, false) if !mandatory => Some(value),
        _ => None,
    }
}

/// `value` without the quotes that must be around it.
///
/// Errors: what is wrong with them.
pub fn quoted<'a>(keyword: &str, value: &'a [u8]) -> Result<&'a [u8], Reason> {
    unquote(value, true).ok_or_else(|| Reason::bad_value(keyword, unpaired(value)))
}

/// What is wrong with a value's quotes.
pub fn unpaired(value: &[u8]) -> &'static str {
    match value {
        [b'"', rest @ ..] if rest.contains(&b'"') => "a ';' is missing behind the closing quote",
        [b'"', ..] => "the closing quote is missing; a ';' within quotes is written '\\;'",
        _ => "not in quotes",
    }
}

/// Text for messages: what is not printable ASCII is escaped, and it stays short.
pub fn printable(text: &[u8]) -> String {
    shortened(text, 120)
}

/// A line's beginning in quotes, for messages: enough to find it, and no more of a file that is none of a rule's.
pub fn excerpt(line: &[u8]) -> String {
    format!("'{}'", shortened(line, 20))
}

fn shortened(text: &[u8], longest: usize) -> String {
    let shown = &text[..text.len().min(longest)];
    let dots = if shown.len() < text.len() { "…" } else { "" };
    format!("{}{dots}", shown.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn statements(file: &[u8]) -> Vec<Statement> {
        let whole: Vec<_> = Statements::new(file).map(Result::unwrap).collect();
        let pieces = Statements::new(BufReader::with_capacity(3, file));
        assert_eq!(whole, pieces.map(Result::unwrap).collect::<Vec<_>>());
        whole
    }

    #[test]
    fn joins_continued_lines_and_skips_comments() {
        let file = b"# no\n\nalert a \\\n  b\r\n  # neither\nlast";
        let found = statements(file);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].line, found[0].text.as_slice()),
            (3, b"alert a   b".as_slice())
        );
        assert_eq!(
            (found[1].line, found[1].text.as_slice()),
            (6, b"last".as_slice())
        );
    }

    #[test]
    fn keeps_an_escaped_semicolon_inside_its_option() {
        let found = options(br#"msg:"a\;b"; nocase ;sid:1;"#).unwrap();
        assert_eq!(
            found[0],
            RuleOption {
                name: "msg",
                value: Some(br#""a\;b""#)
            }
        );
        assert_eq!(
            found[1],
            RuleOption {
                name: "nocase",
                value: None
            }
        );
        assert_eq!(
            found[2],
            RuleOption {
                name: "sid",
                value: Some(b"1")
            }
        );
    }

    #[test]
    fn refuses_an_option_without_its_end() {
        assert!(matches!(
            options(b"sid:1"),
            Err(Reason::UnterminatedOption(_))
        ));
    }

    #[test]
    fn bounds_a_rule_that_never_ends() {
        let file = vec![b'a'; 10 * MAX_RULE_BYTES];
        assert_eq!(statements(&file)[0].text.len(), MAX_RULE_BYTES + 1);
    }

    #[test]
    fn what_is_cut_off_a_line_still_says_whether_it_continues() {
        let long = vec![b'a'; 2 * MAX_RULE_BYTES];
        let file = [&long[..], b"  \\ \r\nrest\n\\\n \\\n\nnext"].concat();
        let found = statements(&file);
        let lines: Vec<_> = found.iter().map(|it| (it.line, it.text.len())).collect();
        assert_eq!(lines, [(1, MAX_RULE_BYTES + 1), (6, 4)]);
    }

    #[test]
    fn says_where_reading_failed() {
        struct Broken;
        impl io::Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("gone"))
            }
        }
        let text = b"one\ntwo\n";
        let mut statements = Statements::new(BufReader::new(io::Read::chain(&text[..], Broken)));
        assert_eq!(statements.next().unwrap().unwrap().text, b"one");
        assert_eq!(statements.next().unwrap().unwrap().text, b"two");
        assert!(statements.next().unwrap().is_err());
        assert_eq!(statements.line(), 2);
    }
}
