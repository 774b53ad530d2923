//! The counters as values, to be shown as JSON.

use std::fs::File;
use std::io::{self, Read, Seek};

use nfqueue::{LatencyStats, QueueSnapshot};
use serde::Serialize;

use crate::events::EventStats;
use crate::reset::ResetStats;

/// Everything the runtime counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// One a queue, in order.
    pub queues: Vec<QueueStats>,
    /// Events and spool.
    pub events: EventStats,
    /// Reset frames; `None` without a socket for them.
    pub resets: Option<ResetStats>,
}

/// One queue and its worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QueueStats {
    /// The queue's number.
    pub queue: u16,
    /// Whether its worker runs.
    pub alive: bool,
    /// Why it does not, if it failed.
    pub error: Option<String>,
    /// What went through.
    #[serde(flatten)]
    pub traffic: QueueSnapshot,
    /// How the handler did.
    #[serde(flatten)]
    pub worker: WorkerStats,
    /// From the kernel's receipt of a packet until the inspector began with it; empty unless asked for.
    pub waited: LatencyStats,
    /// Handing a batch's verdicts to the kernel.
    pub answering: LatencyStats,
    /// The kernel's own view; `None` when it cannot be read.
    pub kernel: Option<KernelQueue>,
}

/// How a worker's handler did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WorkerStats {
    /// Panics survived.
    pub panics: u64,
    /// Time inside the handler, a packet.
    pub latency: LatencyStats,
}

/// A queue as `/proc/net/netfilter/nfnetlink_queue` shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KernelQueue {
    /// Packets waiting for a verdict.
    pub waiting: u64,
    /// Dropped because the queue was full.
    pub dropped: u64,
    /// Dropped because the socket was full.
    pub user_dropped: u64,
}

/// The kernel's view of its queues. The file is root's alone, so it is opened while we may and kept.
#[derive(Debug)]
pub(crate) struct KernelView {
    file: Option<File>,
}

impl KernelView {
    /// Of the calling thread's network namespace.
    pub(crate) fn open() -> Self {
        Self {
            file: File::open("/proc/thread-self/net/netfilter/nfnetlink_queue").ok(),
        }
    }

    pub(crate) fn read(&mut self, number: u16) -> Option<KernelQueue> {
        let text = self.text().ok()?;
        text.lines()
            .find_map(|line| parse_kernel_line(line, number))
    }

    fn text(&mut self) -> io::Result<String> {
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        file.rewind()?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(text)
    }
}

/// Columns: queue, port id, waiting, copy mode, copy range, dropped, user dropped, last id, 1.
fn parse_kernel_line(line: &str, number: u16) -> Option<KernelQueue> {
    let columns: Vec<u64> = line
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    match columns[..] {
        [queue, _, waiting, _, _, dropped, user_dropped, ..] if queue == u64::from(number) => {
            Some(KernelQueue {
                waiting,
                dropped,
                user_dropped,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_its_queue_in_the_kernels_table() {
        let line = "   10  73242     3 2 65531     4     5       77  1";
        assert_eq!(
            parse_kernel_line(line, 10),
            Some(KernelQueue {
                waiting: 3,
                dropped: 4,
                user_dropped: 5
            })
        );
        for (odd, number) in [(line, 1), ("", 0), ("10 2", 10), ("x 1 1 1 1 1 1 1 1", 10)] {
            assert_eq!(parse_kernel_line(odd, number), None);
        }
    }
}
