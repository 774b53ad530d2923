//! Rule files: what loads and what is refused.
use std::collections::BTreeMap;

use inspect::rule::{self, Attachments, Variables};
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
    priority: u8,
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

impl From<rule::Signature> for SignatureInfo {
    fn from(signature: rule::Signature) -> Self {
        let mut metadata: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in signature.metadata {
            metadata.entry(key).or_default().push(value);
        }
        Self {
            gid: signature.gid,
            sid: signature.sid,
            rev: signature.rev,
            msg: signature.msg,
            action: signature.action.as_str(),
            protocol: signature.protocol.as_str(),
            classtype: signature.classtype,
            priority: signature.priority,
            cves: signature.cves,
            references: signature.references,
            metadata,
            file: signature.file,
            line: signature.line,
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

/// Copies (name, text) pairs so that the GIL can be let go.
pub fn owned(files: Vec<(String, PyBackedBytes)>) -> Vec<(String, Vec<u8>)> {
    files
        .into_iter()
        .map(|(name, text)| (name, text.to_vec()))
        .collect()
}

/// Returns the paths of the files that rules in the (path, text) files name, beside the file that names them.
#[pyfunction]
pub fn rule_attachments(py: Python<'_>, files: Vec<(String, PyBackedBytes)>) -> Vec<String> {
    let files = owned(files);
    py.allow_threads(|| rule::wanted_attachments(&files).into_iter().collect())
}

/// Returns what of the (path, text) files loads and what is refused; never raises for a bad rule.
///
/// `attachments`: files that [`rule_attachments`] names, as far as they may be read. `thresholds`: files that are
/// read as `threshold.config` whatever they are called.
#[pyfunction]
#[pyo3(signature = (files, attachments = Vec::new(), thresholds = Vec::new()))]
pub fn check_rules(
    py: Python<'_>,
    files: Vec<(String, PyBackedBytes)>,
    attachments: Vec<(String, PyBackedBytes)>,
    thresholds: Vec<(String, PyBackedBytes)>,
) -> (Vec<SignatureInfo>, Vec<Refusal>) {
    let files = owned(files);
    let attachments = Attachments::new(owned(attachments));
    let thresholds = owned(thresholds);
    let (loaded, refused) = py.allow_threads(|| {
        rule::load_configured(&files, &thresholds, &Variables::default(), &attachments)
    });
    (
        loaded.into_iter().map(Into::into).collect(),
        refused.into_iter().map(Into::into).collect(),
    )
}
