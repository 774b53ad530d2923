//! `replay`: captures inspected offline.
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;

use inspect::engine::{EventSink, Settings};
use inspect::policy::Policy;
use inspect::rule::{self, Attachments, Variables};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::rules::owned;

/// Writes events to a file; the first error is kept and ends up as the capture's.
struct Eve {
    file: BufWriter<File>,
    failed: Option<std::io::Error>,
}

impl EventSink for Eve {
    fn event(&mut self, _severity: u8, line: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.file.write_all(line).err();
        }
    }
}

/// What went wrong with a capture, or "", and how many of its packets were inspected.
type Outcome = (String, u64);

/// Inspects each (capture path, eve.json path) with fresh state; returns what became of each.
#[pyfunction]
#[pyo3(signature = (rules, captures, *, ips, home_net, external_net, attachments = Vec::new(), thresholds = Vec::new(), payload = false, packet = false))]
#[allow(clippy::too_many_arguments)]
pub fn replay(
    py: Python<'_>,
    rules: Vec<(String, PyBackedBytes)>,
    captures: Vec<(String, String)>,
    ips: bool,
    home_net: &str,
    external_net: &str,
    attachments: Vec<(String, PyBackedBytes)>,
    thresholds: Vec<(String, PyBackedBytes)>,
    payload: bool,
    packet: bool,
) -> PyResult<Vec<Outcome>> {
    let mut variables = Variables::default();
    for (name, value) in [("HOME_NET", home_net), ("EXTERNAL_NET", external_net)] {
        variables
            .set_addresses(name, value)
            .map_err(|reason| PyValueError::new_err(format!("{name} {value:?}: {reason}")))?;
    }
    let files = owned(rules);
    let attachments = Attachments::new(owned(attachments));
    let thresholds = owned(thresholds);
    Ok(py.allow_threads(|| {
        let (signatures, _refused) =
            rule::load_configured(&files, &thresholds, &variables, &attachments);
        let policy = Arc::new(Policy::offline(signatures, &variables));
        let mut settings = if ips {
            Settings::offline_ips()
        } else {
            Settings::offline()
        };
        settings.records.payload = payload;
        settings.records.packet = packet;
        let each = captures.iter().map(|(capture, eve)| {
            guarded(Path::new(capture), Path::new(eve), &policy, &settings)
                .unwrap_or_else(|error| (error, 0))
        });
        each.collect()
    }))
}

/// A panic is a bug, but one capture that finds it must not cost the results of the others.
fn guarded(
    capture: &Path,
    eve: &Path,
    policy: &Arc<Policy>,
    settings: &Settings,
) -> Result<Outcome, String> {
    let inspected = catch_unwind(AssertUnwindSafe(|| one(capture, eve, policy, settings)));
    inspected.unwrap_or_else(|cause| {
        let said = cause.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| cause.downcast_ref::<&str>().copied());
        Err(format!(
            "{}: the engine failed on this capture, which is a bug; please report it: {}",
            capture.display(),
            said.unwrap_or("no message")
        ))
    })
}

fn one(
    capture: &Path,
    eve: &Path,
    policy: &Arc<Policy>,
    settings: &Settings,
) -> Result<Outcome, String> {
    let bytes = fs::read(capture).map_err(|error| format!("{}: {error}", capture.display()))?;
    let file = File::create(eve).map_err(|error| format!("{}: {error}", eve.display()))?;
    let mut sink = Eve {
        file: BufWriter::new(file),
        failed: None,
    };
    let ran = inspect::replay::run(&bytes, policy, settings, &mut sink);
    let wrote = sink.failed.map_or_else(|| sink.file.flush(), Err);
    wrote.map_err(|error| format!("{}: {error}", eve.display()))?;
    let (packets, torn) = ran.map_err(|error| format!("{}: {error}", capture.display()))?;
    let torn = torn.map(|error| format!("{}: {error}", capture.display()));
    Ok((torn.unwrap_or_default(), packets))
}
