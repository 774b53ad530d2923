//! Rule files, one after the other.
use std::collections::hash_map::{Entry, HashMap};
use std::io::{BufRead, Read};

use super::attachment::Attachments;
use super::draft::{Draft, Load};
use super::lexer::{self, Statement, Statements};
use super::signature::FlowbitChange;
use super::threshold_config::{self, is_threshold_config};
use super::{header, keyword, number, validate, Reason, Refusal, Signature, Variables, Warning};

/// Longest `threshold.config`, in bytes; it is held until all rules were read.
const MAX_CONFIG_BYTES: u64 = 16 << 20;
/// How many signatures one load may have; all published ones together are a tenth of it.
const MAX_SIGNATURES: usize = 500_000;
/// How many refusals and warnings are told; what is refused as often is no rule file.
const MAX_REFUSALS: usize = 100_000;

/// What was read.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The rules that load.
    pub signatures: Vec<Signature>,
    /// Those that do not, and why.
    pub refused: Vec<Refusal>,
    /// What those that load say and is not done.
    pub warnings: Vec<Warning>,
}

/// Reads rule files and holds what was read of them so far: a rule's text only while that rule is read.
///
/// Of signatures with the same gid and sid the latest rev is loaded; the others are refused. Past a bound of
/// either, one further refusal says so and nothing more is read.
pub struct Reading<'a> {
    variables: &'a Variables,
    load: Load<'a>,
    loaded: Loaded,
    by_sid: HashMap<(u32, u32), usize>,
    /// What the flowbits that are asked for are called: of the first ones, should they be more than any rules'.
    asked: HashMap<u64, String>,
    /// Name and text of each `threshold.config`.
    configs: Vec<(String, Vec<u8>)>,
}

impl<'a> Reading<'a> {
    /// Nothing was read yet. `attachments`: gives the files that rules name.
    pub fn new(variables: &'a Variables, attachments: &'a dyn Attachments) -> Self {
        Self {
            variables,
            load: Load::new(attachments),
            loaded: Loaded::default(),
            by_sid: HashMap::new(),
            asked: HashMap::new(),
            configs: Vec::new(),
        }
    }

    /// Reads a file, which signatures and refusals call `name`; what of it cannot be read is refused.
    ///
    /// One called `threshold.config` is read as such.
    pub fn read(&mut self, name: &str, mut text: impl BufRead) {
        if is_threshold_config(name) {
            return self.configure(name, text);
        }
        if text.fill_buf().is_ok_and(|start| start.starts_with(BOM)) {
            text.consume(BOM.len());
        }
        // What cannot be read is told when the first rule is.
        if let Some(why) = text.fill_buf().ok().and_then(no_rules) {
            return self.refuse(name, 1, None, Reason::NoRules(why));
        }
        self.read_within(name, text, MAX_SIGNATURES, MAX_REFUSALS);
    }

    fn read_within(&mut self, name: &str, text: impl BufRead, most: usize, most_refused: usize) {
        let mut statements = Statements::new(text);
        while self.loaded.refused.len() <= most_refused {
            let Some(statement) = statements.next() else {
                return;
            };
            let full = match (
                self.loaded.signatures.len() >= most,
                self.loaded.refused.len() >= most_refused,
            ) {
                (true, _) => format!("more than {most} signatures"),
                (_, true) => format!("more than {most_refused} rules are refused"),
                _ => String::new(),
            };
            if !full.is_empty() {
                self.refuse(name, statements.line(), None, Reason::TooMany(full));
                return;
            }
            match statement {
                Ok(statement) => self.add(name, &statement),
                Err(error) => {
                    let line = statements.line().saturating_add(1);
                    let reason = Reason::Unreadable(error.to_string());
                    self.refuse(name, line, None, reason);
                    return;
                }
            }
        }
    }

    /// Reads a file as `threshold.config` whatever it is called; it is about the rules of all files.
    pub fn configure(&mut self, name: &str, text: impl BufRead) {
        let mut held = Vec::new();
        let read = text.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut held);
        let reason = match read {
            Err(error) => Reason::Unreadable(error.to_string()),
            Ok(_) if held.len() as u64 > MAX_CONFIG_BYTES => {
                Reason::Unreadable(format!("it is longer than {MAX_CONFIG_BYTES} bytes"))
            }
            Ok(_) => return self.configs.push((name.to_owned(), held)),
        };
        self.refuse(name, 1, None, reason);
    }

    /// What was read.
    pub fn finish(self) -> Loaded {
        let mut loaded = self.loaded;
        loaded.signatures.shrink_to_fit();
        let room = MAX_REFUSALS.saturating_sub(loaded.warnings.len());
        let never_set = never_set(&loaded.signatures, self.asked);
        loaded.warnings.extend(never_set.take(room));
        for (name, text) in &self.configs {
            threshold_config::apply(name, text, self.variables, &mut loaded);
        }
        loaded
    }

    fn add(&mut self, file: &str, statement: &Statement) {
        let (signature, remarks) = match self.signature(file, statement) {
            Ok(read) => read,
            Err((sid, reason)) => return self.refuse(file, statement.line, sid, reason),
        };
        let room = MAX_REFUSALS.saturating_sub(self.asked.len());
        self.asked.extend(remarks.asked.into_iter().take(room));
        let loaded = &mut self.loaded;
        let room = MAX_REFUSALS.saturating_sub(loaded.warnings.len());
        let told = remarks.warnings.into_iter().take(room).map(|what| Warning {
            file: file.to_owned(),
            line: statement.line,
            sid: signature.sid,
            what,
        });
        loaded.warnings.extend(told);
        match self.by_sid.entry((signature.gid, signature.sid)) {
            Entry::Vacant(free) => {
                free.insert(loaded.signatures.len());
                loaded.signatures.push(signature);
            }
            Entry::Occupied(known) => {
                let known = &mut loaded.signatures[*known.get()];
                loaded.refused.push(keep_newer(known, signature));
            }
        }
    }

    pub(super) fn refuse(&mut self, file: &str, line: u32, sid: Option<u32>, reason: Reason) {
        let file = file.to_owned();
        self.loaded.refused.push(Refusal {
            file,
            line,
            sid,
            reason,
        });
    }

    /// One rule as a signature, and what is to be said of it; or its sid, where that could be read, and what is wrong.
    fn signature(
        &self,
        file: &str,
        statement: &Statement,
    ) -> Result<(Signature, Remarks), (Option<u32>, Reason)> {
        if statement.text.len() > lexer::MAX_RULE_BYTES {
            return Err((None, Reason::TooLong));
        }
        let outcome = header::parse(&statement.text).and_then(|parts| {
            let variables = self.variables;
            variables.check_addresses(&parts.header.src)?;
            variables.check_addresses(&parts.header.dst)?;
            variables.check_ports(&parts.header.src_ports)?;
            variables.check_ports(&parts.header.dst_ports)?;
            let options = lexer::options(parts.options)?;
            let (action, protocol) = (parts.action, parts.protocol);
            let mut draft = Draft::new(&self.load, file, action, protocol, parts.header);
            draft.noalert |= parts.silent;
            options
                .iter()
                .try_for_each(|option| keyword::apply(&mut draft, option))?;
            let remarks = Remarks {
                warnings: std::mem::take(&mut draft.warnings),
                asked: std::mem::take(&mut draft.asked),
            };
            let signature = validate::finish(draft, statement.line, variables)?;
            Ok((signature, remarks))
        });
        outcome.map_err(|reason| (find_sid(&statement.text), reason))
    }
}

/// What a rule leaves beside its signature.
struct Remarks {
    /// What of it is not done.
    warnings: Vec<String>,
    /// The flowbits that it asks for, and what they are called.
    asked: Vec<(u64, String)>,
}

/// A warning for each flowbit that signatures ask for and none sets: their names may have been misspelt, or the
/// rules that set them were left out.
fn never_set(
    signatures: &[Signature],
    mut asked: HashMap<u64, String>,
) -> impl Iterator<Item = Warning> + '_ {
    for change in signatures.iter().flat_map(|it| &it.flowbit_changes) {
        if let FlowbitChange::Set(bit) | FlowbitChange::Toggle(bit) = change {
            asked.remove(bit);
        }
    }
    signatures.iter().flat_map(move |signature| {
        let bits = signature.flowbit_tests.iter().flat_map(|test| &test.bits);
        // Told once, at the first that asks.
        let names: Vec<_> = bits.filter_map(|bit| asked.remove(bit)).collect();
        names.into_iter().map(|name| Warning {
            file: signature.file.to_string(),
            line: signature.line,
            sid: signature.sid,
            what: format!("flowbits: nothing that loads sets '{name}'"),
        })
    })
}

/// Why a file that begins like this holds no rules, if it does not.
fn no_rules(start: &[u8]) -> Option<&'static str> {
    const LOOKED_AT: usize = 4_096;
    let start = &start[..start.len().min(LOOKED_AT)];
    match start {
        [0x1f, 0x8b, ..] => Some("it is compressed twice; unpack it with gunzip"),
        [b'P', b'K', 3, 4, ..] => Some(ARCHIVE),
        _ if start.get(257..262) == Some(b"ustar") => Some(ARCHIVE),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            Some("it is UTF-16; convert it with iconv -f UTF-16")
        }
        _ if start.contains(&0) => Some("it is not text"),
        _ => {
            // The LF of the last CR may not have been read yet.
            let start = start.strip_suffix(b"\r").unwrap_or(start);
            let odd = |byte: &u8| byte.is_ascii_control() && !b"\r\t".contains(byte);
            let bare = start.contains(&b'\r') && !start.iter().any(odd);
            bare.then_some("its lines end with CR alone; convert it with tr '\\r' '\\n'")
        }
    }
}

/// What some editors begin UTF-8 with.
const BOM: &[u8] = b"\xef\xbb\xbf";

const ARCHIVE: &str = "it is an archive; unpack it, or give it to `sekisho rules update --bundle`";

/// Keeps the newer of two signatures with one sid in `known`; returns the refusal of the other.
fn keep_newer(known: &mut Signature, next: Signature) -> Refusal {
    let (reason, other) = if next.rev > known.rev {
        let rev = next.rev;
        (Reason::Superseded { rev }, std::mem::replace(known, next))
    } else {
        let (file, line) = (known.file.to_string(), known.line);
        (Reason::Duplicate { file, line }, next)
    };
    Refusal {
        file: other.file.to_string(),
        line: other.line,
        sid: Some(other.sid),
        reason,
    }
}

/// The sid of a rule that may not be readable otherwise.
fn find_sid(text: &[u8]) -> Option<u32> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    text[open + 1..]
        .split(|byte| *byte == b';')
        .find_map(|option| {
            let (name, value) = number::split_once(option, b":")?;
            let sid = (lexer::trim(name) == b"sid")
                .then(|| number::number(value))
                .flatten()?;
            u32::try_from(sid).ok()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_at_its_bounds_and_says_so_once() {
        let variables = Variables::default();
        let rules: String = (1..=20)
            .map(|sid| format!("alert tcp any any -> any any (sid:{sid};)\n"))
            .collect();
        let mut reading = Reading::new(&variables, &());
        reading.read_within("a", rules.as_bytes(), 10, 10);
        let read = reading.finish();
        let (loaded, refused) = (read.signatures, read.refused);
        assert_eq!((loaded.len(), refused.len(), refused[0].line), (10, 1, 11));
        let mut reading = Reading::new(&variables, &());
        for name in ["a", "b", "c"] {
            reading.read_within(name, "nonsense\n".repeat(7).as_bytes(), 10, 10);
        }
        let read = reading.finish();
        assert_eq!((read.signatures.len(), read.refused.len()), (0, 11));
        let last = &read.refused[10];
        assert_eq!((&last.file[..], last.line), ("b", 4));
        assert!(matches!(last.reason, Reason::TooMany(_)));
    }

    #[test]
    fn a_flowbit_that_nothing_sets_is_told_once_where_it_is_asked_for_first() {
        let variables = Variables::default();
        let mut reading = Reading::new(&variables, &());
        let rules = "alert tcp any any -> any any (flowbits:isset,later; sid:1;)\n\
                     alert tcp any any -> any any (flowbits:isset,later|never; sid:2;)\n\
                     alert tcp any any -> any any (flowbits:isnotset,never; sid:3;)\n\
                     alert tcp any any -> any any (flowbits:set,later; sid:4;)\n\
                     alert tcp any any -> any any (flowbits:isset,\u{1b}]0;sid:5;)\n";
        reading.read("a", rules.as_bytes());
        let told: Vec<_> = reading.finish().warnings;
        let told: Vec<_> = told.iter().map(|it| (it.line, &it.what[..])).collect();
        let said = [(2, "never"), (5, "\\x1b]0")];
        let said =
            said.map(|(line, name)| (line, format!("flowbits: nothing that loads sets '{name}'")));
        assert_eq!(told, said.each_ref().map(|(line, what)| (*line, &what[..])));
    }
}
