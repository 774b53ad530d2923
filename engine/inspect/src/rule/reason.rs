//! Why a rule is refused.
use std::fmt;

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

/// Why a rule is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The text is not `action protocol … (options)`.
    BadHeader(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadHeader(what) => write!(f, "malformed rule header: {what}"),
        }
    }
}
