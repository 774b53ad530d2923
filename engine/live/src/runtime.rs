use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nfqueue::{Handler, Queue, QueueConfig, QueueCounters, Stop};
use rustix::thread::{sched_setaffinity, CpuSet};
use serde_json::json;

use crate::events::{EventSink, Severity};
use crate::guarded::{message, Guarded, OnPanic, WorkerContext, WorkerCounters};
use crate::heart::Heart;
use crate::notice;
use crate::reset::ResetSender;
use crate::stats::{KernelView, QueueStats, Stats};

/// How long a worker may take to decide what waits and end.
const STOP_WAIT: Duration = Duration::from_secs(5);
const STOP_POLL: Duration = Duration::from_millis(2);

/// Which queues to read, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// One worker thread each.
    pub queues: Vec<QueueConfig>,
    /// Worker i runs on processor `cpus[i]` only; workers past the list run where the system puts them.
    pub cpus: Vec<usize>,
    /// Reset frames a second at most; 0 opens no socket for them.
    pub resets_per_second: u32,
}

impl RuntimeConfig {
    /// `count` queues from `first` on, GSO taken whole, 1,000 reset frames a second.
    pub fn new(first: u16, count: u16, fail_open: bool) -> Self {
        let queue = |number| QueueConfig {
            fail_open,
            ..QueueConfig::new(number)
        };
        Self {
            queues: (first..first.saturating_add(count)).map(queue).collect(),
            cpus: Vec::new(),
            resets_per_second: 1000,
        }
    }
}

/// Everything open that needed rights; nothing runs yet, packets wait in the kernel.
pub struct Bound {
    queues: Vec<Queue>,
    cpus: Vec<usize>,
    resets: Option<ResetSender>,
    kernel: KernelView,
}

/// The workers, running.
#[derive(Debug)]
pub struct Runtime {
    workers: Vec<Worker>,
    stop: Stop,
    events: EventSink,
    resets: Option<ResetSender>,
    kernel: Mutex<KernelView>,
}

#[derive(Debug)]
struct Worker {
    queue: u16,
    traffic: Arc<QueueCounters>,
    counters: Arc<WorkerCounters>,
    error: Arc<Mutex<Option<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Runtime {
    /// Binds the queues and opens the reset socket, in the calling thread's network namespace.
    ///
    /// Compile the signatures first: what arrives from now on waits. Errors name the queue and what is missing.
    pub fn bind(config: &RuntimeConfig) -> io::Result<Bound> {
        let resets = match config.resets_per_second {
            0 => None,
            rate => Some(ResetSender::open(rate)?),
        };
        let queues = config
            .queues
            .iter()
            .map(Queue::open)
            .collect::<io::Result<_>>()?;
        Ok(Bound {
            queues,
            cpus: config.cpus.clone(),
            resets,
            kernel: KernelView::open(),
        })
    }

    /// The counters now.
    pub fn stats(&self) -> Stats {
        let mut kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        Stats {
            queues: self
                .workers
                .iter()
                .map(|worker| worker.stats(&mut kernel))
                .collect(),
            events: self.events.stats(),
            resets: self.resets.as_ref().map(ResetSender::stats),
        }
    }

    /// Whether every worker runs; once one has failed, its queue is without a listener.
    pub fn healthy(&self) -> bool {
        self.workers.iter().all(Worker::alive)
    }

    /// Decides what waits already, closes the queues and joins the workers; takes 5 s at most.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.raise();
        let deadline = Instant::now() + STOP_WAIT;
        for thread in self
            .workers
            .iter_mut()
            .filter_map(|worker| worker.thread.take())
        {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(STOP_POLL);
            }
            // A worker catches its panics and reports them itself. One whose handler hangs is left behind: its
            // queue is closed when the process ends.
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.end();
    }
}

impl Bound {
    /// The reset sender the workers will use.
    pub fn resets(&self) -> Option<&ResetSender> {
        self.resets.as_ref()
    }

    /// Starts a worker a queue. `make` is called in each worker's own thread, and again after a panic.
    pub fn start<H: Handler + 'static>(
        self,
        events: EventSink,
        heart: &Heart,
        make: impl Fn(WorkerContext) -> H + Send + Sync + 'static,
        on_panic: Arc<OnPanic>,
    ) -> io::Result<Runtime> {
        let make: Arc<dyn Fn(WorkerContext) -> H + Send + Sync> = Arc::new(make);
        let mut runtime = Runtime {
            workers: Vec::new(),
            stop: Stop::default(),
            events: events.clone(),
            resets: self.resets.clone(),
            kernel: Mutex::new(self.kernel),
        };
        for (index, queue) in self.queues.into_iter().enumerate() {
            let context = WorkerContext {
                worker: index,
                events: events.clone(),
                resets: self.resets.clone(),
                heart: heart.clone(),
            };
            let cpu = self.cpus.get(index).copied();
            let worker = Worker::start(
                queue,
                cpu,
                context,
                Arc::clone(&make),
                Arc::clone(&on_panic),
                runtime.stop.clone(),
            )?;
            runtime.workers.push(worker);
        }
        Ok(runtime)
    }
}

impl Worker {
    fn start<H: Handler + 'static>(
        mut queue: Queue,
        cpu: Option<usize>,
        context: WorkerContext,
        make: Arc<dyn Fn(WorkerContext) -> H + Send + Sync>,
        on_panic: Arc<OnPanic>,
        stop: Stop,
    ) -> io::Result<Self> {
        let counters = Arc::<WorkerCounters>::default();
        let error = Arc::<Mutex<Option<String>>>::default();
        let (number, traffic) = (queue.number(), queue.counters());
        let (its_counters, its_error) = (Arc::clone(&counters), Arc::clone(&error));
        let body = move || {
            pin_to(cpu);
            let events = context.events.clone();
            let run = AssertUnwindSafe(|| {
                let mut handler = Guarded::new(context, make, on_panic, its_counters);
                queue.run(&mut handler, &stop)
            });
            let failure = match catch_unwind(run) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(cause) => message(&*cause),
            };
            let text = format!("the worker of queue {number} ended: {failure}");
            events.send(
                Severity::MOST,
                &notice::line("worker_failed", &text, json!({ "queue": number })),
            );
            *its_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        };
        let thread = std::thread::Builder::new()
            .name(format!("queue-{number}"))
            .spawn(body)?;
        Ok(Self {
            queue: number,
            traffic,
            counters,
            error,
            thread: Some(thread),
        })
    }

    fn alive(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }

    fn stats(&self, kernel: &mut KernelView) -> QueueStats {
        QueueStats {
            queue: self.queue,
            alive: self.alive(),
            error: self
                .error
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            traffic: self.traffic.snapshot(),
            worker: self.counters.snapshot(),
            waited: self.traffic.waited(),
            answering: self.traffic.answering(),
            kernel: kernel.read(self.queue),
        }
    }
}

/// Keeps the calling thread on one processor. Without it the worker is only slower, so a failure is no error.
fn pin_to(cpu: Option<usize>) {
    if let Some(cpu) = cpu.filter(|cpu| *cpu < CpuSet::MAX_CPU) {
        let mut set = CpuSet::new();
        set.set(cpu);
        let _ = sched_setaffinity(None, &set);
    }
}
