//! `Inspector` and `Spool`: the live engine.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use inspect::policy::{Document, Policy};
use live::privilege::Unprivileged;
use live::{InspectorSettings, Severity};
use nfqueue::{QueuedPacket, Verdict};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::PolicyError;

/// The live inspector: worker threads that hold no GIL, or `inspect` for a packet source of Python's.
#[pyclass(frozen, module = "appliance._engine")]
pub struct Inspector {
    inner: RwLock<live::Inspector>,
}

impl Inspector {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, live::Inspector> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, live::Inspector> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}

#[pymethods]
impl Inspector {
    #[new]
    fn new(py: Python<'_>, spool_dir: PathBuf, settings: &str) -> PyResult<Self> {
        let settings: InspectorSettings = serde_json::from_str(settings)
            .map_err(|error| PyValueError::new_err(format!("inspector settings: {error}")))?;
        let inner = py.allow_threads(|| live::Inspector::open(&spool_dir, settings))?;
        Ok(Self {
            inner: RwLock::new(inner),
        })
    }

    /// Compiles engine.json, tries it if asked to, and swaps it in whole; returns a JSON report. Raises PolicyError.
    #[pyo3(signature = (policy_path, *, try_first = false))]
    fn load(&self, py: Python<'_>, policy_path: PathBuf, try_first: bool) -> PyResult<String> {
        let report = py
            .allow_threads(|| self.read().load(&policy_path, try_first))
            .map_err(|error| PolicyError::new_err(error.to_string()))?;
        serde_json::to_string(&report).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// Binds the queues and starts one worker a queue. Raises OSError.
    #[pyo3(signature = (first_queue, *, fail_open, run_as = None))]
    fn start_native(
        &self,
        py: Python<'_>,
        first_queue: u16,
        fail_open: bool,
        run_as: Option<(u32, u32)>,
    ) -> PyResult<()> {
        let who = run_as.map(|(uid, gid)| Unprivileged {
            uid,
            gid,
            keep_raw: false,
        });
        py.allow_threads(|| self.write().start_native(first_queue, fail_open, who))?;
        Ok(())
    }

    /// Makes ready for `inspect`. Raises OSError.
    fn start_external(&self, py: Python<'_>) -> PyResult<()> {
        py.allow_threads(|| self.write().start_external())?;
        Ok(())
    }

    // The packet as NetfilterQueue shows it: a struct would be built for every packet.
    #[allow(clippy::too_many_arguments)]
    /// Inspects one packet from its IP header on; returns (accept, new packet mark).
    fn inspect(
        &self,
        py: Python<'_>,
        worker: usize,
        packet: &[u8],
        mark: u32,
        in_dev: u32,
        out_dev: u32,
        src_mac: &[u8],
    ) -> PyResult<(bool, u32)> {
        let queued = QueuedPacket {
            mark,
            in_dev,
            out_dev,
            src_mac: src_mac.try_into().ok(),
            ..QueuedPacket::of(packet)
        };
        let decision = py.allow_threads(|| self.read().inspect(worker, &queued, now_ns()));
        let decision = decision.ok_or_else(|| {
            PyValueError::new_err(format!(
                "no worker {worker}: not started, or too few queues"
            ))
        })?;
        Ok((
            decision.verdict == Verdict::Accept,
            decision.mark.unwrap_or(mark),
        ))
    }

    /// Runs timeouts for `inspect`'s workers; to be called about every 100 ms.
    fn idle(&self, py: Python<'_>) {
        py.allow_threads(|| self.read().idle(now_ns()));
    }

    /// Says that packets passed that no queue was given: streams go on behind them.
    fn lose_sight(&self) {
        self.read().lose_sight();
    }

    /// Counters as JSON: per queue, per guest, uninspected bytes by reason, live policy version.
    fn stats(&self, py: Python<'_>) -> String {
        py.allow_threads(|| self.read().stats().to_string())
    }

    /// Unbinds the queues and joins the workers.
    fn stop(&self, py: Python<'_>) {
        py.allow_threads(|| self.write().stop());
    }
}

/// Tells, of each guest of the engine.json at that path, what must be looked at, as JSON; paths in it are relative
/// to `base`. Raises PolicyError.
#[pyfunction]
pub fn steering(py: Python<'_>, document: &str, base: PathBuf) -> PyResult<String> {
    let refused = |error: inspect::policy::PolicyError| PolicyError::new_err(error.to_string());
    let needs = py.allow_threads(|| {
        let document = Document::parse(document.as_bytes())?;
        Policy::steering(&document, &|path| {
            Ok(Box::new(BufReader::new(File::open(base.join(path))?)))
        })
    });
    let by_guest: BTreeMap<_, _> = needs
        .map_err(refused)?
        .into_iter()
        .map(|(guest, needs)| (guest, needs.export()))
        .collect();
    serde_json::to_string(&by_guest).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// Appends events to one writer's lanes of the spool.
#[pyclass(frozen, module = "appliance._engine")]
pub struct Spool {
    inner: std::sync::Mutex<live::Spool>,
}

#[pymethods]
impl Spool {
    #[new]
    fn new(spool_dir: PathBuf, writer: &str, max_bytes: u64) -> PyResult<Self> {
        let inner = live::Spool::open(&spool_dir, writer, max_bytes)?;
        Ok(Self {
            inner: std::sync::Mutex::new(inner),
        })
    }

    /// Appends one JSON line; severity 1 (most severe) to 4. Raises OSError.
    fn append(&self, py: Python<'_>, line: &[u8], severity: u8) -> PyResult<()> {
        py.allow_threads(|| {
            let mut spool = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            spool.append_now(Severity::new(severity), line)
        })?;
        Ok(())
    }
}
