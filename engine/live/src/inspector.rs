//! The inspector: a policy slot, the packet handlers that read it, and the queues or another source of packets.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use inspect::detect::SharedState;
use inspect::policy::{Document, Exported, Policy, PolicyError};
use nfqueue::{Decision, Handler, QueuedPacket};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use crate::guarded::message;
use crate::handler::{fails_closed, Loaded, PacketHandler, Published};
use crate::overload::Shares;
use crate::privilege::{self, Unprivileged};
use crate::sys;
use crate::trial::Canary;
use crate::{
    EventSink, EventWriter, Guarded, Heart, OnPanic, PolicySlot, ResetSender, Runtime,
    RuntimeConfig, Spool, WorkerContext, WorkerCounters,
};

/// Bytes of events that may wait for the spool's disk.
const EVENT_BUFFER_BYTES: usize = 16 << 20;
/// Reset frames a second, all workers together.
const RESETS_PER_SECOND: u32 = 1000;

/// What an inspector is told once, when it starts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InspectorSettings {
    /// Workers, and so queues.
    pub queues: u16,
    /// Bound of the whole spool.
    pub spool_max_bytes: u64,
    /// Bound of all flows' memory.
    pub memory_max_bytes: usize,
    /// Descriptor of the datagram socket on which workers say that they live; see [`Heart`].
    #[serde(default)]
    pub heart: Option<i32>,
    /// Directory of the captures that a new policy is tried with; see [`inspect::canary`].
    #[serde(default)]
    pub canary: Option<PathBuf>,
    /// Milliseconds that a packet may wait before its guest's share counts; see [`crate::overload`].
    #[serde(default = "latency_budget_ms")]
    pub latency_budget_ms: u32,
}

fn latency_budget_ms() -> u32 {
    20
}

/// What became of a policy.
#[derive(Clone, Debug, Serialize)]
pub struct LoadReport {
    /// Its version, live now.
    pub version: u64,
    /// Signatures compiled.
    pub loaded: usize,
    /// Rules that did not load; the rest runs.
    pub refused: Vec<String>,
    /// What must be looked at, by guest.
    pub needs: BTreeMap<String, Exported>,
    /// How long it took.
    pub took_ms: u64,
}

/// Why a policy did not go live; the one before it stays.
#[derive(Debug)]
pub enum LoadError {
    /// A file cannot be read.
    Unreadable {
        /// Its path.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// The document cannot run.
    Policy(PolicyError),
    /// It failed at its trial; why.
    Trial(String),
    /// The system gave no thread to load it on.
    Thread(io::Error),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable { path, error } => write!(f, "{path}: {error}"),
            Self::Policy(error) => error.fmt(f),
            Self::Trial(why) => write!(f, "it failed at its trial: {why}"),
            Self::Thread(error) => write!(f, "no thread to load it on: {error}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// The live inspector.
pub struct Inspector {
    settings: InspectorSettings,
    heart: Heart,
    slot: PolicySlot<Loaded>,
    /// Policies that were live, until no worker uses them: to free one takes longer than a packet may wait.
    former: Mutex<Vec<Arc<Loaded>>>,
    /// The thread that frees some of them.
    freeing: Mutex<Option<JoinHandle<()>>>,
    canary: Canary,
    spool: Option<Spool>,
    published: Arc<Vec<Mutex<Published>>>,
    writer: Option<EventWriter>,
    runtime: Option<Runtime>,
    external: Option<External>,
}

/// Handlers for packets that another source brings, one a worker.
struct External {
    handlers: Vec<Mutex<Guarded<PacketHandler>>>,
    counters: Vec<Arc<WorkerCounters>>,
    resets: ResetSender,
    events: EventSink,
}

impl Inspector {
    /// Opens the spool. Nothing is inspected before [`Inspector::load`] and a start.
    pub fn open(spool_dir: &Path, settings: InspectorSettings) -> io::Result<Self> {
        sys::keep_freed_memory();
        let spool = Spool::open(spool_dir, "inspector", settings.spool_max_bytes)?;
        let canary = match &settings.canary {
            Some(directory) => Canary::read(directory)?,
            None => Canary::default(),
        };
        let published = (0..settings.queues).map(|_| Mutex::default()).collect();
        let heart = match settings.heart {
            Some(descriptor) => Heart::of(descriptor, settings.queues as u8)?,
            None => Heart::default(),
        };
        Ok(Self {
            settings,
            heart,
            slot: PolicySlot::new(Loaded::nothing()),
            former: Mutex::default(),
            freeing: Mutex::default(),
            canary,
            spool: Some(spool),
            writer: None,
            published: Arc::new(published),
            runtime: None,
            external: None,
        })
    }

    /// Compiles the engine policy at `path`, tries it if asked to, and swaps it in whole.
    ///
    /// All that on a thread that gives way to the packets'. One that is replaced is freed at the next
    /// [`Inspector::stats`] after all workers have left it.
    pub fn load(&self, path: &Path, try_first: bool) -> Result<LoadReport, LoadError> {
        let began = Instant::now();
        // Not two policies that nobody needs beside the one that is made.
        if let Some(freeing) = lock(&self.freeing).take() {
            let _ = freeing.join();
        }
        let (policy, needs) = self.aside(|| self.prepare(path, try_first))?;
        let report = LoadReport {
            version: policy.version,
            loaded: policy.matcher.signatures().len(),
            refused: policy.refused.iter().map(ToString::to_string).collect(),
            needs,
            took_ms: began.elapsed().as_millis() as u64,
        };
        let former = self.slot.swap(Loaded {
            policy,
            shared: Arc::new(SharedState::default()),
            unseen: self.slot.load().unseen,
        });
        lock(&self.former).push(former);
        Ok(report)
    }

    /// Says that packets passed that no queue was given, of whichever connection: streams go on behind them.
    pub fn lose_sight(&self) {
        let live = self.slot.load();
        // What it replaces holds nothing of its own, and may be dropped by whoever leaves it last.
        self.slot.swap(Loaded {
            policy: live.policy.clone(),
            shared: live.shared.clone(),
            unseen: live.unseen.wrapping_add(1),
        });
    }

    /// Does it on another thread, at lower priority once packets are inspected.
    fn aside<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, LoadError> + Send,
    ) -> Result<T, LoadError> {
        let running = self.runtime.is_some() || self.external.is_some();
        let body = move || {
            if running {
                give_way();
            }
            work()
        };
        let thread = std::thread::Builder::new().name("load".into());
        std::thread::scope(|scope| {
            let thread = thread
                .spawn_scoped(scope, body)
                .map_err(LoadError::Thread)?;
            thread.join().unwrap_or_else(|cause| {
                Err(LoadError::Trial(format!(
                    "the compiler failed, which is a bug: {}",
                    message(&*cause)
                )))
            })
        })
    }

    fn prepare(&self, path: &Path, try_first: bool) -> Result<Prepared, LoadError> {
        let document = Document::parse(&read(path)?).map_err(LoadError::Policy)?;
        let policy = Policy::compile_from(&document, &|name| {
            Ok(Box::new(BufReader::new(File::open(name)?)))
        });
        let policy = Arc::new(policy.map_err(LoadError::Policy)?);
        // What reading and compiling needed, beside what they made.
        sys::give_back_memory();
        if try_first {
            self.canary.try_out(&policy).map_err(LoadError::Trial)?;
        }
        let shields = policy.shields().iter().zip(0u32..);
        let needs = shields.filter_map(|(shield, number)| {
            Some((shield.guest.clone(), policy.needs(number)?.export()))
        });
        let needs = needs.collect();
        Ok((policy, needs))
    }

    /// Frees the policies that no worker uses any more, on a thread that gives way to the packets'.
    fn free_former(&self) {
        let mut former = lock(&self.former);
        let used =
            |it: &mut Arc<Loaded>| Arc::strong_count(it) > 1 || Arc::strong_count(&it.policy) > 1;
        let free: Vec<_> = former.extract_if(.., |it| !used(it)).collect();
        if free.is_empty() {
            return;
        }
        let body = move || {
            give_way();
            drop(free);
            sys::give_back_memory();
        };
        // Without a thread for it the closure, and so what it holds, is dropped here.
        *lock(&self.freeing) = std::thread::Builder::new()
            .name("free".into())
            .spawn(body)
            .ok();
    }

    /// Binds the queues from `first` on and starts a worker each, in the calling thread's network namespace.
    ///
    /// become_user: gives up all other rights in between; no other thread may run then, see
    /// [`privilege::drop_to`].
    pub fn start_native(
        &mut self,
        first: u16,
        fail_open: bool,
        become_user: Option<Unprivileged>,
    ) -> io::Result<()> {
        let config = RuntimeConfig {
            resets_per_second: RESETS_PER_SECOND,
            ..RuntimeConfig::new(first, self.settings.queues, fail_open)
        };
        self.heart.announce();
        let bound = Runtime::bind(&config)?;
        let events = self.start_events(become_user)?;
        self.runtime = Some(bound.start(events, &self.heart, self.maker(), self.on_panic())?);
        Ok(())
    }

    /// Makes ready for packets of another source, see [`Inspector::inspect`].
    pub fn start_external(&mut self) -> io::Result<()> {
        let resets = ResetSender::open(RESETS_PER_SECOND)?;
        let events = self.start_events(None)?;
        let make: Arc<dyn Fn(WorkerContext) -> PacketHandler + Send + Sync> =
            Arc::new(self.maker());
        let counters: Vec<Arc<WorkerCounters>> =
            (0..self.settings.queues).map(|_| Arc::default()).collect();
        let handlers = counters
            .iter()
            .enumerate()
            .map(|(worker, counters)| {
                let context = WorkerContext {
                    worker,
                    events: events.clone(),
                    resets: Some(resets.clone()),
                    heart: self.heart.clone(),
                };
                Mutex::new(Guarded::new(
                    context,
                    make.clone(),
                    self.on_panic(),
                    counters.clone(),
                ))
            })
            .collect();
        self.external = Some(External {
            handlers,
            counters,
            resets,
            events,
        });
        Ok(())
    }

    /// Inspects one packet of another source; `None` when there is no such worker.
    pub fn inspect(
        &self,
        worker: usize,
        packet: &QueuedPacket<'_>,
        now_ns: u64,
    ) -> Option<Decision> {
        let handler = self.external.as_ref()?.handlers.get(worker)?;
        Some(
            handler
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .packet(packet, now_ns),
        )
    }

    /// Time for timeouts, for another source's workers; about every 100 ms.
    pub fn idle(&self, now_ns: u64) {
        for handler in self.external.iter().flat_map(|external| &external.handlers) {
            handler
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .idle(now_ns);
        }
    }

    /// Every counter, and the live policy's version.
    pub fn stats(&self) -> Value {
        self.free_former();
        let loaded = self.slot.load();
        let workers: Vec<Published> = self
            .published
            .iter()
            .map(|published| {
                published
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone()
            })
            .collect();
        let source = match (&self.runtime, &self.external) {
            (Some(runtime), _) => {
                json!({ "source": "native", "healthy": runtime.healthy(), "runtime": runtime.stats() })
            }
            (None, Some(external)) => json!({
                "source": "external",
                "healthy": true,
                "workers": external.counters.iter().map(|one| one.snapshot()).collect::<Vec<_>>(),
                "resets": external.resets.stats(),
                "events": external.events.stats(),
            }),
            (None, None) => json!({ "source": null, "healthy": false }),
        };
        json!({
            "policy_version": loaded.policy.version,
            "generation": loaded.policy.generation,
            "signatures": loaded.policy.matcher.signatures().len(),
            "engine": Published::merge(&workers),
            "packets_from": source,
        })
    }

    /// Decides what waits, closes the queues, writes the last events.
    pub fn stop(&mut self) {
        self.external = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.stop();
        }
        if let Some(writer) = self.writer.take() {
            writer.stop();
        }
    }

    /// Starts the thread that writes the spool, once every right that is given up is given up.
    fn start_events(&mut self, become_user: Option<Unprivileged>) -> io::Result<EventSink> {
        let running = || {
            io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the inspector was started before",
            )
        };
        let spool = self.spool.take().ok_or_else(running)?;
        if let Some(who) = become_user {
            spool.give_to(who.uid, who.gid)?;
            privilege::drop_to(who)?;
        }
        let (events, writer) = EventWriter::start(spool, EVENT_BUFFER_BYTES)?;
        self.writer = Some(writer);
        Ok(events)
    }

    fn maker(&self) -> impl Fn(WorkerContext) -> PacketHandler + Send + Sync + 'static {
        let slot = self.slot.clone();
        let published = self.published.clone();
        let memory = self.settings.memory_max_bytes / usize::from(self.settings.queues.max(1));
        let budget = Duration::from_millis(self.settings.latency_budget_ms.into());
        move |context| {
            let shares = Shares::new(budget);
            PacketHandler::new(context, slot.reader(), published.clone(), memory, shares)
        }
    }

    fn on_panic(&self) -> Arc<OnPanic> {
        let slot = self.slot.clone();
        Arc::new(
            move |packet| match fails_closed(&slot.load().policy, packet) {
                true => Decision::DROP,
                false => Decision::ACCEPT,
            },
        )
    }
}

type Prepared = (Arc<Policy>, BTreeMap<String, Exported>);

/// How much less a thread counts that is not in a hurry: with a worker on its processor it gets a quarter.
const UNHURRIED: i32 = 5;

/// Lets the calling thread, and those it starts, run behind those that inspect.
fn give_way() {
    // Without it the packets wait a little longer, so a failure is no error.
    let _ = rustix::process::setpriority_process(None, UNHURRIED);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|error| LoadError::Unreadable {
        path: path.display().to_string(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(dir: &Path) -> Inspector {
        let settings = InspectorSettings {
            queues: 1,
            spool_max_bytes: 1 << 20,
            memory_max_bytes: 1 << 20,
            heart: None,
            canary: None,
            latency_budget_ms: latency_budget_ms(),
        };
        Inspector::open(&dir.join("spool"), settings).unwrap()
    }

    #[test]
    fn a_packet_whose_inspection_panicked_follows_its_segments_failure_policy() {
        let dir = tempfile::tempdir().unwrap();
        let inspector = opened(dir.path());
        let path = dir.path().join("engine.json");
        let decision = |setting: &str| {
            let failure = json!({ "inspector_down": "open", "queue_full": "open", "memory": "open",
                "malformed": "open", "midstream": "open", "parser_error": setting });
            let document = json!({ "format": 1, "version": 1, "generation": 1, "rule_sets": [],
                "ports": [{ "tap": "web0", "ifindex": 4, "number": 1, "guest": "web" }],
                "guests": [{ "name": "web", "segment": "lab", "zone": 1, "addresses": ["10.99.0.10"],
                    "on_drop": "reset", "assignments": [], "overrides": [] }],
                "segments": [{ "name": "lab", "failure": failure }] });
            std::fs::write(&path, document.to_string()).unwrap();
            inspector.load(&path, false).unwrap();
            let to_web = QueuedPacket {
                in_dev: 9,
                out_dev: 4,
                ..QueuedPacket::of(b"")
            };
            (inspector.on_panic())(&to_web)
        };
        assert_eq!(decision("open"), Decision::ACCEPT);
        assert_eq!(decision("closed"), Decision::DROP);
    }

    #[test]
    fn a_replaced_policy_is_freed_once_its_last_worker_has_left_it() {
        let dir = tempfile::tempdir().unwrap();
        let inspector = opened(dir.path());
        let path = dir.path().join("engine.json");
        let document = r#"{"format": 1, "version": 1, "generation": 1, "rule_sets": []}"#;
        std::fs::write(&path, document).unwrap();
        let mut worker = inspector.slot.reader();
        inspector.load(&path, false).unwrap();
        let engines = worker.current().policy.clone();
        inspector.load(&path, false).unwrap();
        inspector.stats();
        assert_eq!(lock(&inspector.former).len(), 1, "the empty one is gone");
        worker.current();
        inspector.stats();
        assert_eq!(lock(&inspector.former).len(), 1, "its engine has it yet");
        drop(engines);
        inspector.stats();
        assert!(lock(&inspector.former).is_empty());
    }
}
