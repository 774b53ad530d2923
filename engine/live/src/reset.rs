use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

use crate::counter::Counter;
use crate::sys::PacketSocket;

/// Sends the frames that end a connection; clones share the socket, the rate limit and the counters.
///
/// The limit is there because an attacker decides how many of his connections are reset.
#[derive(Clone, Debug)]
pub struct ResetSender {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    socket: PacketSocket,
    bucket: Mutex<Bucket>,
    sent: Counter,
    limited: Counter,
    failed: Counter,
}

/// What became of the frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ResetStats {
    /// Sent.
    pub sent: u64,
    /// Not sent: over the rate limit.
    pub limited: u64,
    /// Not sent: the port is gone or its queue full.
    pub failed: u64,
}

impl ResetSender {
    /// Opens the socket, in the calling thread's network namespace. Errors: no CAP_NET_RAW there.
    pub fn open(frames_per_second: u32) -> io::Result<Self> {
        let socket = PacketSocket::open().map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("reset socket: needs CAP_NET_RAW ({error})"),
            )
        })?;
        let shared = Shared {
            socket,
            bucket: Mutex::new(Bucket::new(frames_per_second, Instant::now())),
            sent: Counter::default(),
            limited: Counter::default(),
            failed: Counter::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Sends a whole Ethernet frame out of the port `ifindex`; returns whether it went. Never waits.
    pub fn send(&self, ifindex: u32, frame: &[u8]) -> bool {
        let shared = &*self.shared;
        if !shared
            .bucket
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(Instant::now())
        {
            shared.limited.add(1);
            return false;
        }
        let sent = i32::try_from(ifindex).is_ok_and(|port| shared.socket.send(port, frame).is_ok());
        if sent { &shared.sent } else { &shared.failed }.add(1);
        sent
    }

    /// The counters.
    pub fn stats(&self) -> ResetStats {
        let Shared {
            sent,
            limited,
            failed,
            ..
        } = &*self.shared;
        ResetStats {
            sent: sent.get(),
            limited: limited.get(),
            failed: failed.get(),
        }
    }
}

/// A token bucket that holds one second's worth.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        Self {
            per_second: per_second.into(),
            tokens: per_second.into(),
            filled: now,
        }
    }

    /// Whether one more is allowed at `now`.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.per_second);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_bucket_lets_a_second_worth_through_at_once_and_refills_evenly() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start);
        let allowed = |bucket: &mut Bucket, after_ms| {
            let now = start + Duration::from_millis(after_ms);
            (0..100).filter(|_| bucket.take(now)).count()
        };
        assert_eq!(allowed(&mut bucket, 0), 10);
        assert_eq!(allowed(&mut bucket, 500), 5);
        assert_eq!(
            allowed(&mut bucket, 400),
            0,
            "a clock that goes back gives nothing"
        );
        assert_eq!(
            allowed(&mut bucket, 60_000),
            10,
            "never more than a second worth"
        );
    }

    #[test]
    fn a_limit_of_zero_lets_nothing_through() {
        let start = Instant::now();
        assert!(!Bucket::new(0, start).take(start + Duration::from_secs(60)));
    }
}
