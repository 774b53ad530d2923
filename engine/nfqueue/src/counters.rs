use crate::counter::Counter;
use crate::latency::{Latency, LatencyStats};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What went through a queue; shared by reference, read with [`QueueCounters::snapshot`].
        #[derive(Debug, Default)]
        pub struct QueueCounters {
            $(pub(crate) $name: Counter,)*
            pub(crate) waited: Latency,
            pub(crate) answering: Latency,
        }

        /// The counters of a queue at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
        pub struct QueueSnapshot { $($(#[$doc])* pub $name: u64),* }

        impl QueueCounters {
            /// The counters now.
            pub fn snapshot(&self) -> QueueSnapshot {
                QueueSnapshot { $($name: self.$name.get()),* }
            }

            /// From the kernel's receipt of a packet until it was shown to the handler; empty where
            /// the kernel does not note when that was.
            pub fn waited(&self) -> LatencyStats {
                self.waited.snapshot()
            }

            /// The system call that hands a batch's verdicts over, in which the kernel sends its packets on.
            pub fn answering(&self) -> LatencyStats {
                self.answering.snapshot()
            }
        }
    };
}

counters! {
    /// Packets shown to the handler.
    packets,
    /// Their bytes, as they were in the kernel.
    bytes,
    /// Packets accepted.
    accepted,
    /// Packets dropped.
    dropped,
    /// Packets of which the kernel copied less than there was.
    truncated,
    /// Segmentation-offload packets.
    gso,
    /// Receive calls that returned something; packets / batches is the mean batch.
    batches,
    /// The largest batch.
    largest_batch,
    /// Verdict messages sent; fewer than packets where a batch verdict answered a run of them.
    verdict_messages,
    /// Packets the kernel numbered but could not hand over (receive buffer full): dropped, or passed if fail-open.
    lost,
    /// Receive calls that failed with ENOBUFS.
    enobufs,
    /// Messages of the kernel that hold no packet we can read; such a packet never gets a verdict.
    unreadable,
    /// Verdicts the kernel refused.
    refused_verdicts,
    /// Datagrams that did not come from the kernel; ignored.
    foreign,
}
