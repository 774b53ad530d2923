use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Instant;

use nfqueue::{Decision, Handler, Latency, QueuedPacket};
use serde_json::json;

use crate::counter::Counter;
use crate::events::{EventSink, Severity};
use crate::heart::{Heart, Pulse};
use crate::notice;
use crate::reset::{Bucket, ResetSender};
use crate::stats::WorkerStats;

/// Panics reported as events, a second; all of them are counted.
const REPORTED_PANICS_PER_SECOND: u32 = 5;
/// A panic's message is cut here.
const MESSAGE_CHARS: usize = 500;

/// What a worker's handler is made from.
#[derive(Clone, Debug)]
pub struct WorkerContext {
    /// Number of the worker, from 0.
    pub worker: usize,
    /// Where its events go.
    pub events: EventSink,
    /// Where its resets go; `None` when there is no socket for them.
    pub resets: Option<ResetSender>,
    /// Where it says that it lives.
    pub heart: Heart,
}

/// The failure policy for a packet whose inspection panicked: open or closed is for the packet's segment to say.
pub type OnPanic = dyn Fn(&QueuedPacket<'_>) -> Decision + Send + Sync;

/// A worker's counters; shared by reference.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    panics: Counter,
    latency: Latency,
}

impl WorkerCounters {
    /// The counters now.
    pub fn snapshot(&self) -> WorkerStats {
        WorkerStats {
            panics: self.panics.get(),
            latency: self.latency.snapshot(),
        }
    }
}

/// A handler that survives panics and is timed.
///
/// A panic is a bug; an attacker who found one must not be able to take the inspector down with it. So the packet
/// is answered by `on_panic`, the handler, whose state can no longer be trusted, is thrown away with all its flows,
/// and `make` builds a new one.
pub struct Guarded<H> {
    handler: H,
    make: Arc<dyn Fn(WorkerContext) -> H + Send + Sync>,
    context: WorkerContext,
    on_panic: Arc<OnPanic>,
    counters: Arc<WorkerCounters>,
    reports: Bucket,
    pulse: Pulse,
}

impl<H: Handler> Guarded<H> {
    /// Makes the first handler.
    pub fn new(
        context: WorkerContext,
        make: Arc<dyn Fn(WorkerContext) -> H + Send + Sync>,
        on_panic: Arc<OnPanic>,
        counters: Arc<WorkerCounters>,
    ) -> Self {
        let handler = make(context.clone());
        let reports = Bucket::new(REPORTED_PANICS_PER_SECOND, Instant::now());
        let pulse = context.heart.pulse(context.worker);
        Self {
            handler,
            make,
            context,
            on_panic,
            counters,
            reports,
            pulse,
        }
    }

    /// The handler.
    pub fn get_mut(&mut self) -> &mut H {
        &mut self.handler
    }

    fn recover(&mut self, cause: &(dyn std::any::Any + Send)) {
        self.counters.panics.add(1);
        let fresh = (self.make)(self.context.clone());
        let broken = std::mem::replace(&mut self.handler, fresh);
        // Its invariants are gone; what it drops may panic as well.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(broken)));
        if self.reports.take(Instant::now()) {
            let details =
                json!({ "worker": self.context.worker, "panics": self.counters.panics.get() });
            let text = format!(
                "the inspector failed on a packet and forgot its flows: {}",
                message(cause)
            );
            self.context
                .events
                .send(Severity::MOST, &notice::line("panic", &text, details));
        }
    }
}

impl<H: Handler> Handler for Guarded<H> {
    fn packet(&mut self, packet: &QueuedPacket<'_>, now_ns: u64) -> Decision {
        let started = Instant::now();
        self.pulse.at(started);
        let result = catch_unwind(AssertUnwindSafe(|| self.handler.packet(packet, now_ns)));
        self.counters.latency.record(started.elapsed());
        result.unwrap_or_else(|cause| {
            self.recover(&*cause);
            catch_unwind(AssertUnwindSafe(|| (self.on_panic)(packet))).unwrap_or(Decision::DROP)
        })
    }

    fn idle(&mut self, now_ns: u64) {
        self.pulse.at(Instant::now());
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| self.handler.idle(now_ns))) {
            self.recover(&*cause);
        }
    }
}

/// What a panic said.
pub(crate) fn message(cause: &(dyn std::any::Any + Send)) -> String {
    let text = cause
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    text.chars().take(MESSAGE_CHARS).collect()
}
