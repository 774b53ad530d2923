//! Rule files: what loads and what is refused.
use std::collections::BTreeMap;
use std::sync::Arc;

use inspect::rule::{self, Reading, Variables};
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

/// One rule that was not loaded, and why.
#[pyclass(frozen, get_all, module = "appliance._engine")]
pub struct Refusal {
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

impl From<rule::Refusal> for Refusal {
    fn from(refusal: rule::Refusal) -> Self {
        Self {
            reason: refusal.reason.to_string(),
            file: refusal.file,
            line: refusal.line,
            sid: refusal.sid,
        }
    }
}

/// Returns what of the (name, text) files loads and what is refused; never raises for a bad rule.
///
/// The files that rules name are not looked for: whoever sent the rules may name any.
#[pyfunction]
pub fn check_rules(
    py: Python<'_>,
    files: Vec<(String, PyBackedBytes)>,
) -> (Signatures, Vec<Refusal>) {
    let (known, refused) = py.allow_threads(|| {
        let variables = Variables::default();
        let mut reading = Reading::new(&variables, &());
        for (name, text) in &files {
            reading.read(name, &text[..]);
        }
        let (loaded, refused) = reading.finish();
        let known: Vec<Known> = loaded.into_iter().map(Into::into).collect();
        (known, refused)
    });
    let refused = refused.into_iter().map(Into::into).collect();
    (Signatures { known }, refused)
}
