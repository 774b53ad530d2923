//! The running inspector: what stands around a packet handler.
//!
//! [`Runtime::bind`] opens the queues and the reset socket while the process still may; after
//! [`privilege::drop_to`] [`Bound::start`] runs one worker thread a queue. A worker shows packets to a
//! [`nfqueue::Handler`] that a factory made for it, survives its panics ([`Guarded`]), and sends events into an
//! [`EventSink`], from which one writer thread fills the [`Spool`]. A new policy goes into a [`PolicySlot`] and is
//! seen whole by the next packet. All unsafe code is in the module `sys`.
#![deny(unsafe_code)]

mod counter;
mod events;
mod guarded;
mod handler;
mod heart;
mod inspector;
mod notice;
mod overload;
mod policy;
pub mod privilege;
mod reset;
mod runtime;
mod shed;
mod spool;
mod stats;
#[allow(unsafe_code)]
mod sys;
mod trial;

pub use events::{EventSink, EventStats, EventWriter, Severity};
pub use guarded::{Guarded, OnPanic, WorkerContext, WorkerCounters};
pub use heart::Heart;
pub use inspector::{Inspector, InspectorSettings, LoadError, LoadReport};
pub use policy::{PolicyReader, PolicySlot};
pub use reset::{ResetSender, ResetStats};
pub use runtime::{Bound, Runtime, RuntimeConfig};
pub use spool::{Spool, SpoolStats};
pub use stats::{KernelQueue, QueueStats, Stats, WorkerStats};
