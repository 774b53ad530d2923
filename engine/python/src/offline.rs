//! `Rules`: rule files on disk, and captures inspected offline with them.
use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use inspect::engine::{EventSink, Settings};
use inspect::policy::Policy;
use inspect::rule::{Attachments, Reading, Signature, Variables};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::rules::Refusal;

/// Longest file that a rule may name, in bytes.
const MAX_ATTACHMENT_BYTES: u64 = 256 << 20;

/// Signatures read from rule files.
#[pyclass(frozen, module = "appliance._engine")]
pub struct Rules {
    /// How many loaded.
    #[pyo3(get)]
    loaded: usize,
    /// How many of those can block, as written.
    #[pyo3(get)]
    blocking: usize,
    /// What was refused; taken by whoever asks first.
    refused: Mutex<Vec<inspect::rule::Refusal>>,
    ready: Mutex<Ready>,
}

/// Signatures become a policy when the first capture is inspected.
enum Ready {
    Read(Vec<Signature>, Variables),
    Compiled(Arc<Policy>),
}

/// Files that rules name, wherever they are: who calls us may read them.
struct Disk;

impl Attachments for Disk {
    fn get(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        // Of a device or a pipe there may be no end.
        let about = fs::metadata(path).ok()?;
        let fits = about.is_file() && about.len() <= MAX_ATTACHMENT_BYTES;
        fits.then(|| fs::read(path).ok().map(Cow::Owned)).flatten()
    }
}

#[pymethods]
impl Rules {
    /// Reads rule files and the files that they name; `thresholds`: files that are read as `threshold.config`
    /// whatever they are called. Raises OSError, and ValueError for networks that are none.
    #[new]
    #[pyo3(signature = (paths, *, home_net = None, external_net = None, thresholds = Vec::new()))]
    fn new(
        py: Python<'_>,
        paths: Vec<String>,
        home_net: Option<&str>,
        external_net: Option<&str>,
        thresholds: Vec<String>,
    ) -> PyResult<Self> {
        let mut variables = Variables::default();
        for (name, value) in [("HOME_NET", home_net), ("EXTERNAL_NET", external_net)] {
            let Some(value) = value else { continue };
            let set = variables.set_addresses(name, value);
            set.map_err(|reason| PyValueError::new_err(format!("{name} {value:?}: {reason}")))?;
        }
        let read = py.allow_threads(|| read(&paths, &thresholds, &variables));
        let (signatures, refused) = read.map_err(|(path, error)| {
            let why = error.to_string();
            // Python puts the number before the words by itself.
            let words = why.split(" (os error").next().unwrap_or_default();
            PyOSError::new_err((error.raw_os_error(), words.to_owned(), path))
        })?;
        Ok(Self {
            loaded: signatures.len(),
            blocking: signatures.iter().filter(|it| it.action.blocks()).count(),
            refused: Mutex::new(refused),
            ready: Mutex::new(Ready::Read(signatures, variables)),
        })
    }

    /// Returns what was refused and why.
    fn refused(&self) -> Vec<Refusal> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.iter().cloned().map(Into::into).collect()
    }

    /// Compiles the signatures, which `replay` otherwise does before its first capture.
    fn compile(&self, py: Python<'_>) {
        py.allow_threads(|| {
            self.policy();
        });
    }

    /// Keeps the compiled signatures until the program ends, which then ends sooner: many thousands of small blocks
    /// are not given back one by one.
    fn keep(&self, py: Python<'_>) {
        py.allow_threads(|| std::mem::forget(self.policy()));
    }

    /// Inspects each (capture path, eve.json path) with fresh state; returns what became of each.
    #[pyo3(signature = (captures, *, ips, payload = false, packet = false))]
    fn replay(
        &self,
        py: Python<'_>,
        captures: Vec<(String, String)>,
        ips: bool,
        payload: bool,
        packet: bool,
    ) -> Vec<Outcome> {
        let mut settings = match ips {
            true => Settings::offline_ips(),
            false => Settings::offline(),
        };
        settings.records.payload = payload;
        settings.records.packet = packet;
        py.allow_threads(|| {
            let policy = self.policy();
            let each = captures.iter().map(|(capture, eve)| {
                guarded(Path::new(capture), Path::new(eve), &policy, &settings)
                    .unwrap_or_else(|error| (error, 0))
            });
            each.collect()
        })
    }
}

impl Rules {
    fn policy(&self) -> Arc<Policy> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ready::Read(signatures, variables) = &mut *ready {
            let signatures = std::mem::take(signatures);
            let policy = Policy::offline(signatures, variables);
            *ready = Ready::Compiled(Arc::new(policy));
        }
        match &*ready {
            Ready::Compiled(policy) => policy.clone(),
            Ready::Read(_, variables) => Arc::new(Policy::empty(variables)),
        }
    }
}

type Read = (Vec<Signature>, Vec<inspect::rule::Refusal>);

/// Errors: the first file that cannot be opened, and why.
fn read(
    paths: &[String],
    thresholds: &[String],
    variables: &Variables,
) -> Result<Read, (String, io::Error)> {
    let open = |path: &String| match File::open(path) {
        Ok(file) => Ok(BufReader::new(file)),
        Err(error) => Err((path.clone(), error)),
    };
    let mut reading = Reading::new(variables, &Disk);
    for path in paths {
        reading.read(path, open(path)?);
    }
    for path in thresholds {
        reading.configure(path, open(path)?);
    }
    Ok(reading.finish())
}

/// What went wrong with a capture, or "", and how many of its packets were inspected.
type Outcome = (String, u64);

/// Writes events to a file; the first error is kept and ends up as the capture's.
struct Eve {
    file: BufWriter<File>,
    failed: Option<io::Error>,
}

impl EventSink for Eve {
    fn event(&mut self, _severity: u8, line: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.file.write_all(line).err();
        }
    }
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
    let unreadable = |error| format!("{}: {error}", capture.display());
    let bytes = File::open(capture).map_err(unreadable)?;
    let file = File::create(eve).map_err(|error| format!("{}: {error}", eve.display()))?;
    let mut sink = Eve {
        file: BufWriter::new(file),
        failed: None,
    };
    let ran = inspect::replay::run(bytes, policy, settings, &mut sink);
    let wrote = sink.failed.map_or_else(|| sink.file.flush(), Err);
    wrote.map_err(|error| format!("{}: {error}", eve.display()))?;
    let (packets, torn) = ran.map_err(|error| format!("{}: {error}", capture.display()))?;
    let torn = torn.map(|error| format!("{}: {error}", capture.display()));
    Ok((torn.unwrap_or_default(), packets))
}
