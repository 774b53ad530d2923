//! Why a rule is refused.
use std::fmt::{self, Write};

use super::signature::Action;
use super::threshold_config;

/// One rule that was not loaded, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Name of the file as given.
    pub file: String,
    /// Line on which the rule starts, from 1.
    pub line: u32,
    /// Its sid, where one could be read.
    pub sid: Option<u32>,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if let Some(sid) = self.sid {
            write!(f, "sid {sid}: ")?;
        }
        self.reason.fmt(f)
    }
}

/// Something that a rule which loads says, and that is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Name of the file as given.
    pub file: String,
    /// Line on which the rule starts, from 1.
    pub line: u32,
    /// The sid that it is about.
    pub sid: u32,
    /// What.
    pub what: String,
}

/// Why a rule is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Longer than the bound.
    TooLong,
    /// A bound of the whole load is reached.
    TooMany(String),
    /// The file cannot be read from here on.
    Unreadable(String),
    /// A file that holds no rules.
    NoRules(&'static str),
    /// The text is not `action protocol source port direction destination port (options)`.
    BadHeader(String),
    /// Suricata has no such action.
    UnknownAction(String),
    /// Suricata has no such protocol.
    UnknownProtocol(String),
    /// A protocol of Suricata's that is not inspected here.
    UnsupportedProtocol(String),
    /// An address, port or list of them that cannot be read.
    BadGroup(String),
    /// `$NAME` is not defined.
    UndefinedVariable(String),
    /// A list that excludes all it includes can never match.
    EmptyGroup(String),
    /// An option without its `;`.
    UnterminatedOption(String),
    /// Suricata has no such keyword.
    UnknownKeyword {
        /// The keyword.
        keyword: String,
        /// What may be meant.
        meant: Option<&'static str>,
    },
    /// A keyword of Suricata's that is not evaluated here.
    UnsupportedKeyword {
        /// The keyword.
        keyword: String,
        /// What can be written instead; empty where nothing can.
        instead: &'static str,
    },
    /// A keyword is evaluated, but not this form of it.
    UnsupportedForm {
        /// The keyword.
        keyword: String,
        /// What of it is not evaluated.
        form: String,
    },
    /// A keyword needs a value and has none.
    MissingValue(String),
    /// A keyword takes no value and has one.
    UnexpectedValue(String),
    /// A value that cannot be read.
    BadValue {
        /// The keyword.
        keyword: String,
        /// What is wrong with it.
        why: String,
    },
    /// A modifier with nothing before it to modify.
    NothingToModify(String),
    /// Keywords that contradict each other.
    Conflict(String),
    /// No `sid`.
    MissingSid,
    /// The same gid and sid were read before with this or a later rev.
    Duplicate {
        /// Where.
        file: String,
        /// On which line.
        line: u32,
    },
    /// The same gid and sid follow with a later rev, which is loaded instead.
    Superseded {
        /// The later rev.
        rev: u32,
    },
    /// `requires` names what this version or build does not have.
    Requirement(String),
}

impl Reason {
    /// A value of `keyword` that cannot be read.
    pub(crate) fn bad_value(keyword: &str, why: impl Into<String>) -> Self {
        Self::BadValue {
            keyword: keyword.into(),
            why: why.into(),
        }
    }

    /// A keyword that is none of `known`, one of which may be meant.
    pub(crate) fn unknown_keyword(
        keyword: impl Into<String>,
        known: impl Iterator<Item = &'static str>,
    ) -> Self {
        let keyword = keyword.into();
        let meant = nearest(&keyword, known);
        Self::UnknownKeyword { keyword, meant }
    }

    /// A form of `keyword` that is not evaluated.
    pub(crate) fn unsupported_form(keyword: &str, form: impl Into<String>) -> Self {
        Self::UnsupportedForm {
            keyword: keyword.into(),
            form: form.into(),
        }
    }
}

/// Furthest that a name may be from what is taken to be meant by it, in letters changed, missing or swapped.
const MAX_TYPOS: usize = 2;

/// The known name that `name` is likely to be meant for: names without likeness are no help.
fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    // Who wrote the rule chose its length.
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    let own = letters(name);
    let near = known.filter(|known| {
        let theirs = letters(known);
        // A typo takes one letter away and brings another: most names are told apart by this, without their distance.
        let apart = (own & !theirs)
            .count_ones()
            .max((theirs & !own).count_ones()) as usize;
        let longer = known.len().abs_diff(name.len());
        known.len() > 2 * MAX_TYPOS && longer <= MAX_TYPOS && apart <= MAX_TYPOS
    });
    let typos = near.map(|known| (strsim::osa_distance(name, known), known));
    let best = typos
        .filter(|(typos, _)| *typos <= MAX_TYPOS)
        .min_by_key(|(typos, _)| *typos);
    best.map(|(_, known)| known)
}

/// The bytes that stand in a name, a bit each; some share one.
fn letters(name: &str) -> u64 {
    name.bytes().fold(0, |set, byte| set | 1 << (byte & 63))
}

/// Longest reason that is shown, in characters: rules are quoted in it.
const MAX_SHOWN: usize = 400;

/// Writes text that a rule's author chose: nothing that a terminal would obey, and not without end.
struct Quoted<'a, 'f> {
    to: &'a mut fmt::Formatter<'f>,
    left: usize,
}

impl Write for Quoted<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match self.left {
                0 => return Ok(()),
                1 => self.to.write_char('…')?,
                _ if character.is_control() => write!(self.to, "{}", character.escape_default())?,
                _ => self.to.write_char(character)?,
            }
            self.left -= 1;
        }
        Ok(())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = MAX_SHOWN;
        self.say(&mut Quoted { to: f, left })
    }
}

impl Reason {
    fn say(&self, f: &mut impl Write) -> fmt::Result {
        match self {
            Self::TooLong => {
                write!(
                    f,
                    "rule is longer than {} bytes",
                    super::lexer::MAX_RULE_BYTES
                )
            }
            Self::Unreadable(why) => write!(f, "the file cannot be read further: {why}"),
            Self::NoRules(why) => write!(f, "no rules are read from this file: {why}"),
            Self::BadHeader(what) => write!(f, "malformed rule header: {what}"),
            Self::UnknownAction(name) if threshold_config::KEYWORDS.contains(&name.as_str()) => write!(
                f,
                "'{name}' is no rule's: it belongs into a file called threshold.config, or one that is given \
                 with --threshold-config"
            ),
            Self::UnknownAction(name) => {
                write!(f, "unknown action '{name}': none of {}", Action::NAMED.map(|it| it.0).join(", "))
            }
            Self::UnknownProtocol(name) => write!(f, "unknown protocol '{name}'"),
            Self::UnsupportedProtocol(name) => write!(f, "protocol '{name}' is not supported"),
            Self::BadGroup(what) => f.write_str(what),
            Self::UndefinedVariable(name) => write!(
                f,
                "variable '${name}' is not defined; offline --var {name}=VALUE defines it"
            ),
            Self::EmptyGroup(what) => write!(f, "group '{what}' matches nothing"),
            Self::UnterminatedOption(what) => write!(f, "option without its ';': {what}"),
            Self::UnknownKeyword { keyword, .. } if keyword.contains(' ') => {
                write!(f, "unknown keyword '{keyword}': is a ';' missing?")
            }
            Self::UnknownKeyword { keyword, meant } => {
                write!(f, "unknown keyword '{keyword}'")?;
                meant.map_or(Ok(()), |meant| write!(f, ": is '{meant}' meant?"))
            }
            Self::UnsupportedKeyword { keyword, instead } => {
                let colon = if instead.is_empty() { "" } else { ": " };
                write!(f, "keyword '{keyword}' is not supported{colon}{instead}")
            }
            Self::UnsupportedForm { keyword, form } => {
                write!(f, "keyword '{keyword}': {form} is not supported")
            }
            Self::MissingValue(name) => write!(f, "keyword '{name}' needs a value"),
            Self::UnexpectedValue(name) => write!(f, "keyword '{name}' takes no value"),
            Self::BadValue { keyword, why } => write!(f, "keyword '{keyword}': {why}"),
            Self::NothingToModify(name) => {
                write!(f, "keyword '{name}' has no preceding content to modify")
            }
            Self::Conflict(what) => f.write_str(what),
            Self::TooMany(what) => write!(f, "{what}: what follows is not read"),
            Self::MissingSid => f.write_str("it needs a sid of its own"),
            Self::Duplicate { file, line } => {
                write!(f, "duplicate of the signature in {file}:{line}")
            }
            Self::Superseded { rev } => write!(f, "superseded by rev {rev} of the same sid"),
            Self::Requirement(what) => write!(f, "requires {what}"),
        }
    }
}
