//! `Rules`: rule files on disk, and captures inspected offline with them.
use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::bufread::MultiGzDecoder;
use inspect::engine::{EventSink, Settings};
use inspect::policy::Policy;
use inspect::rule::{Attachments, Loaded, Reading, Signature, Variables};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::rules::Remark;

/// Longest file that a rule may name, and longest that a compressed file of rules may become, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// Signatures read from rule files.
#[pyclass(frozen, module = "appliance._engine")]
pub struct Rules {
    /// How many loaded.
    #[pyo3(get)]
    loaded: usize,
    /// How many of those can block, as written.
    #[pyo3(get)]
    blocking: usize,
    refused: Vec<inspect::rule::Refusal>,
    warnings: Vec<inspect::rule::Warning>,
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
    fn get(&self, path: &str) -> Result<Cow<'_, [u8]>, String> {
        let about = fs::metadata(path).map_err(|error| words(&error))?;
        // Of a device or a pipe there may be no end.
        if !about.is_file() || about.len() > MAX_BYTES {
            return Err(format!("not a file of at most {MAX_BYTES} bytes"));
        }
        let bytes = fs::read(path).map_err(|error| words(&error))?;
        Ok(Cow::Owned(bytes))
    }
}

#[pymethods]
impl Rules {
    /// Reads rule files and the files that they name; `thresholds`: files that are read as `threshold.config`
    /// whatever they are called; `variables`: names and what they stand for in headers. Raises OSError, and
    /// ValueError for what is neither addresses nor ports.
    #[new]
    #[pyo3(signature = (paths, *, variables = Vec::new(), thresholds = Vec::new()))]
    fn new(
        py: Python<'_>,
        paths: Vec<String>,
        variables: Vec<(String, String)>,
        thresholds: Vec<String>,
    ) -> PyResult<Self> {
        let given = variables;
        let mut variables = Variables::default();
        for (name, value) in &given {
            let set = variables.set(name, value);
            set.map_err(|reason| PyValueError::new_err(format!("{name} {value:?}: {reason}")))?;
        }
        let read = py.allow_threads(|| read(&paths, &thresholds, &variables));
        let read = read.map_err(|(path, error)| {
            // Python puts the number before the words by itself.
            PyOSError::new_err((error.raw_os_error(), words(&error), path))
        })?;
        Ok(Self {
            loaded: read.signatures.len(),
            blocking: read.signatures.iter().filter(|it| it.can_block()).count(),
            refused: read.refused,
            warnings: read.warnings,
            ready: Mutex::new(Ready::Read(read.signatures, variables)),
        })
    }

    /// Returns what was refused and why.
    fn refused(&self) -> Vec<Remark> {
        self.refused.iter().cloned().map(Into::into).collect()
    }

    /// Returns what the signatures that loaded say and is not done.
    fn warnings(&self) -> Vec<Remark> {
        self.warnings.iter().cloned().map(Into::into).collect()
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

/// What the system says, without its number.
fn words(error: &io::Error) -> String {
    let why = error.to_string();
    why.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Errors: the first file that cannot be opened, and why.
fn read(
    paths: &[String],
    thresholds: &[String],
    variables: &Variables,
) -> Result<Loaded, (String, io::Error)> {
    let open = |path: &String| {
        let bounded = |bytes| Bounded {
            bytes,
            left: MAX_BYTES,
        };
        let file = unpacked(Path::new(path)).map(|bytes| BufReader::new(bounded(bytes)));
        file.map_err(|error| (path.clone(), error))
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

/// The bytes of a file, unpacked if gzip packed it.
fn unpacked(path: &Path) -> io::Result<Box<dyn io::Read>> {
    let mut file = BufReader::new(File::open(path)?);
    Ok(match file.fill_buf()? {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(file)),
        _ => Box::new(file),
    })
}

/// Ends in an error where more comes than may: a few compressed bytes may stand for very many.
struct Bounded<R> {
    bytes: R,
    left: u64,
}

impl<R: io::Read> io::Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(out)?;
        let left = self.left.checked_sub(count as u64);
        let more = || io::Error::other(format!("it is longer than {MAX_BYTES} bytes"));
        self.left = left.ok_or_else(more)?;
        Ok(count)
    }
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
    let bytes = unpacked(capture).map_err(unreadable)?;
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
