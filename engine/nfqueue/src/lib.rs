//! Packets in, verdicts out: NFQUEUE spoken over netlink, without a C library.
//!
//! A [`Queue`] owns one netlink socket bound to one queue number. [`Queue::run`] receives packets in batches,
//! shows each to a [`Handler`] as a borrowed [`QueuedPacket`] and sends the [`Decision`]s back, one system call a
//! batch each way; nothing is allocated per packet. All unsafe code is in the module `sys`.
#![deny(unsafe_code)]

#[cfg(test)]
#[allow(unsafe_code)]
mod budget;
mod config;
mod counter;
mod counters;
mod latency;
mod packet;
mod queue;
#[allow(unsafe_code)]
mod sys;
mod verdict;
mod wire;

pub use config::QueueConfig;
pub use counters::{QueueCounters, QueueSnapshot};
pub use latency::{Latency, LatencyStats};
pub use packet::{QueuedPacket, Vlan};
pub use queue::{Handler, Queue};
pub use sys::Stop;
pub use verdict::{Decision, Verdict};
