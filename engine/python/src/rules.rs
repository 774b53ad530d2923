//! Rule files: what loads and what is refused.
use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead};
use std::sync::Arc;

use inspect::rule::{self, Variables};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

/// One loaded signature.
#[pyclass(frozen, get_all, module = "appliance._engine")]
pub struct SignatureInfo {
    gid: u32,
    sid: u32,
    rev: u32,
    msg: String,
    action: &'static str,
    protocol: &'static str,
    classtype: String,
    priority: u32,
    cves: Vec<String>,
    references: Vec<String>,
    metadata: BTreeMap<String, Vec<String>>,
    file: String,
    line: u32,
}

/// Why a rule was not loaded, or what of one that was is not done.
#[pyclass(frozen, get_all, module = "appliance._engine")]
pub struct Remark {
    file: String,
    line: u32,
    sid: Option<u32>,
    reason: String,
}

/// What is known of signatures that loaded; each is shown when it is asked for.
#[pyclass(frozen, module = "appliance._engine")]
pub struct Signatures {
    known: Vec<Known>,
}

/// What a [`SignatureInfo`] is made of, sharing what signatures have in common.
struct Known {
    numbers: [u32; 3],
    msg: Box<str>,
    action: rule::Action,
    protocol: rule::Protocol,
    classtype: Arc<str>,
    priority: u32,
    cves: Box<[Arc<str>]>,
    references: Box<[Arc<str>]>,
    metadata: Box<[rule::Pair]>,
    file: Arc<str>,
    line: u32,
}

#[pymethods]
impl Signatures {
    fn __len__(&self) -> usize {
        self.known.len()
    }

    fn __getitem__(&self, index: usize) -> PyResult<SignatureInfo> {
        let known = self.known.get(index);
        known
            .map(Into::into)
            .ok_or_else(|| PyIndexError::new_err("no such signature"))
    }
}

impl From<rule::Signature> for Known {
    fn from(signature: rule::Signature) -> Self {
        Self {
            numbers: [signature.gid, signature.sid, signature.rev],
            msg: signature.msg,
            action: signature.action,
            protocol: signature.protocol,
            classtype: signature.classtype,
            priority: signature.priority,
            cves: signature.cves,
            references: signature.references,
            metadata: signature.metadata,
            file: signature.file,
            line: signature.line,
        }
    }
}

impl From<&Known> for SignatureInfo {
    fn from(known: &Known) -> Self {
        let mut metadata: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in &known.metadata {
            let values = metadata.entry(pair.0.to_string()).or_default();
            values.push(pair.1.to_string());
        }
        let strings = |texts: &[Arc<str>]| texts.iter().map(|text| text.to_string()).collect();
        let [gid, sid, rev] = known.numbers;
        Self {
            gid,
            sid,
            rev,
            msg: known.msg.to_string(),
            action: known.action.as_str(),
            protocol: known.protocol.as_str(),
            classtype: known.classtype.to_string(),
            priority: known.priority,
            cves: strings(&known.cves),
            references: strings(&known.references),
            metadata,
            file: known.file.to_string(),
            line: known.line,
        }
    }
}

impl From<rule::Refusal> for Remark {
    fn from(refusal: rule::Refusal) -> Self {
        Self {
            reason: refusal.reason.to_string(),
            file: refusal.file,
            line: refusal.line,
            sid: refusal.sid,
        }
    }
}

impl From<rule::Warning> for Remark {
    fn from(warning: rule::Warning) -> Self {
        Self {
            reason: warning.what,
            file: warning.file,
            line: warning.line,
            sid: Some(warning.sid),
        }
    }
}

/// Returns what of a rule set's (name, text) files loads, what is refused, and what is not done; never raises for a
/// bad rule.
///
/// Rules may name the set's own files alone: whoever sent them may name any.
#[pyfunction]
pub fn check_rules(
    py: Python<'_>,
    files: Vec<(String, PyBackedBytes)>,
) -> (Signatures, Vec<Remark>, Vec<Remark>) {
    let (known, refused, warnings) = py.allow_threads(|| {
        let texts: HashMap<&str, &[u8]> = files
            .iter()
            .map(|(name, text)| (name.as_str(), &text[..]))
            .collect();
        let open = |name: &str| -> io::Result<Box<dyn BufRead + '_>> {
            Ok(Box::new(*texts.get(name).ok_or(io::ErrorKind::NotFound)?))
        };
        let names = files.iter().map(|(name, _)| name.as_str());
        // Of files in memory each can be opened.
        let loaded = rule::read_set(names, &Variables::default(), &open).unwrap_or_default();
        let known: Vec<Known> = loaded.signatures.into_iter().map(Into::into).collect();
        (known, loaded.refused, loaded.warnings)
    });
    let refused = refused.into_iter().map(Into::into).collect();
    let warnings = warnings.into_iter().map(Into::into).collect();
    (Signatures { known }, refused, warnings)
}
