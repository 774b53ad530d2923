//! Distributions of times, filled on the hot path: no allocation, no lock, two stores a time.

use std::time::Duration;

use serde::Serialize;

use crate::counter::Counter;

/// The finest step.
const UNIT_NS: u64 = 250;
/// Steps to each doubling.
const STEPS: usize = 4;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// The last one holds what took longer than its lower bound, about 7.3 s.
const BUCKETS: usize = 96;

/// A distribution of times.
///
/// `counts[i]` are those below bound `i` and not below the one before. Bounds rise by 0.25 µs up to 2 µs, and from
/// there in four equal steps to each doubling: none is further than a quarter from the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LatencyStats {
    /// Sum of all, nanoseconds.
    pub total_ns: u64,
    /// The longest, nanoseconds.
    pub max_ns: u64,
    /// How many by bucket; zeros at the end are left out.
    pub counts: Vec<u64>,
}

/// A distribution being filled. Written by one thread, read by any.
#[derive(Debug)]
pub struct Latency {
    buckets: [Counter; BUCKETS],
    total_ns: Counter,
    max_ns: Counter,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| Counter::default()),
            total_ns: Counter::default(),
            max_ns: Counter::default(),
        }
    }
}

impl Latency {
    /// Counts one time.
    pub fn record(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(nanos)].add(1);
        self.total_ns.add(nanos);
        self.max_ns.raise_to(nanos);
    }

    /// The distribution now.
    pub fn snapshot(&self) -> LatencyStats {
        let mut counts: Vec<u64> = self.buckets.iter().map(Counter::get).collect();
        while counts.last() == Some(&0) {
            counts.pop();
        }
        LatencyStats {
            total_ns: self.total_ns.get(),
            max_ns: self.max_ns.get(),
            counts,
        }
    }
}

fn bucket_of(nanos: u64) -> usize {
    let units = nanos / UNIT_NS;
    let Some(doubling) = units.checked_ilog2().filter(|it| *it >= STEP_BITS) else {
        return units as usize;
    };
    let above = doubling - STEP_BITS;
    let step = (units >> above) as usize - STEPS;
    ((above as usize + 1) * STEPS + step).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first nanosecond that is not in the bucket.
    fn bound_ns(index: usize) -> u64 {
        let (doubling, step) = (index / STEPS, (index % STEPS) as u64 + 1);
        match doubling {
            0 => step * UNIT_NS,
            _ => ((STEPS as u64 + step) << (doubling - 1)) * UNIT_NS,
        }
    }

    #[test]
    fn a_bound_begins_the_next_bucket() {
        assert_eq!(bound_ns(0), 250);
        assert_eq!(bound_ns(7), 2_000);
        assert_eq!(bound_ns(8), 2_500);
        for index in 0..BUCKETS - 1 {
            assert_eq!(bucket_of(bound_ns(index) - 1), index);
            assert_eq!(bucket_of(bound_ns(index)), index + 1);
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn bounds_are_at_most_a_quarter_apart_from_a_microsecond_on() {
        for index in 3..BUCKETS - 1 {
            assert!(bound_ns(index + 1) * 4 <= bound_ns(index) * 5);
        }
    }

    #[test]
    fn each_time_falls_into_one_bucket() {
        let latency = Latency::default();
        for nanos in [0, 249, 250, 999, 1000, u64::MAX / 4] {
            latency.record(Duration::from_nanos(nanos));
        }
        let stats = latency.snapshot();
        assert_eq!(stats.counts[..5], [2, 1, 0, 1, 1]);
        assert_eq!(stats.counts.iter().sum::<u64>(), 6);
        assert_eq!(stats.counts.len(), BUCKETS);
        assert_eq!(stats.max_ns, u64::MAX / 4);
    }
}
