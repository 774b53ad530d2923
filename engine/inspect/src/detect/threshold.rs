//! Thresholds: how often a signature may speak.
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::rule::threshold::{Threshold, ThresholdKind, Track};
use crate::rule::Action;

use super::bounded::{Bounded, Entry};

/// Counters kept by default.
const DEFAULT_MAX_ENTRIES: usize = 65_536;
const NS_PER_S: u64 = 1_000_000_000;

/// What a threshold says of one more match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// Alert.
    Alert,
    /// No alert, but its action holds.
    Silent,
    /// As if it had not matched.
    Nothing,
    /// Alert, with this action.
    Instead(Action),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// Signature and guest.
    counter: (u64, u32),
    first: Option<IpAddr>,
    second: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    since_ns: u64,
    until_ns: u64,
    count: u32,
    /// When a rate filter changed the action, while it does.
    changed_ns: Option<u64>,
}

impl Entry<Key> for Counter {
    fn guest(&self, key: &Key) -> u32 {
        key.counter.1
    }

    fn since_ns(&self) -> u64 {
        self.since_ns
    }

    fn until_ns(&self) -> u64 {
        self.until_ns
    }
}

/// The counters behind `threshold`, `detection_filter` and `rate_filter`, shared by all workers and bounded.
#[derive(Debug)]
pub struct Thresholds {
    entries: Mutex<Bounded<Key, Counter>>,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_ENTRIES)
    }
}

impl Thresholds {
    /// At most `max_entries` counters; past that the ones that ran out go first, then the oldest of the guests that have
    /// most.
    pub fn new(max_entries: usize) -> Self {
        Self {
            entries: Mutex::new(Bounded::new(max_entries)),
        }
    }

    /// Counts one more match from `src` to `dst`, and says what becomes of it.
    ///
    /// `thresholds`: those of one signature, each asked if those before it let it speak. As in Suricata, those that
    /// track the same share what is counted. `counter`: signature and guest.
    pub(crate) fn count(
        &self,
        thresholds: &[Threshold],
        counter: (u64, u32),
        ends: (IpAddr, IpAddr),
        now_ns: u64,
    ) -> Permit {
        // A worker that panicked leaves counts behind, not broken invariants.
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let mut said = thresholds.iter().map(|threshold| {
            let key = Key::new(counter, threshold.track, ends);
            count(&mut entries, threshold, key, now_ns)
        });
        said.find(|permit| *permit != Permit::Alert)
            .unwrap_or(Permit::Alert)
    }
}

impl Key {
    fn new(counter: (u64, u32), track: Track, (src, dst): (IpAddr, IpAddr)) -> Self {
        let (first, second) = match track {
            Track::Source => (Some(src), None),
            Track::Destination => (Some(dst), None),
            Track::Both => (Some(src.min(dst)), Some(src.max(dst))),
            Track::Rule => (None, None),
        };
        Self {
            counter,
            first,
            second,
        }
    }
}

fn count(
    entries: &mut Bounded<Key, Counter>,
    threshold: &Threshold,
    key: Key,
    now_ns: u64,
) -> Permit {
    // Each match speaks: there is nothing to count, unless another threshold of the signature does.
    let each = threshold.kind == ThresholdKind::Threshold && threshold.count == 1;
    if each && entries.get(&key).is_none() {
        return Permit::Alert;
    }
    let period_ns = u64::from(threshold.seconds) * NS_PER_S;
    let fresh = Counter {
        since_ns: now_ns,
        until_ns: now_ns.saturating_add(period_ns),
        count: 0,
        changed_ns: None,
    };
    let entry = entries.entry(key, fresh, now_ns);
    if let ThresholdKind::Rate { action, timeout_s } = threshold.kind {
        if let Some(since_ns) = entry.changed_ns {
            let over = now_ns.saturating_sub(since_ns) > u64::from(timeout_s) * NS_PER_S;
            if !over {
                return Permit::Instead(action);
            }
            // Suricata does not count the match that finds the time over.
            entry.changed_ns = None;
            return Permit::Alert;
        }
    }
    let over = now_ns.saturating_sub(entry.since_ns) > period_ns;
    if over {
        *entry = fresh;
    }
    entry.count = entry.count.saturating_add(1);
    match over && each {
        true => Permit::Nothing,
        false => permit(threshold, entry, now_ns),
    }
}

fn permit(threshold: &Threshold, entry: &mut Counter, now_ns: u64) -> Permit {
    let (count, limit) = (entry.count, threshold.count);
    match threshold.kind {
        // The first match of a period is not held against a limit of none.
        ThresholdKind::Limit if count <= limit.max(1) => Permit::Alert,
        ThresholdKind::Limit => Permit::Silent,
        // Every none-th is every one but a period's first.
        ThresholdKind::Threshold if limit == 0 => match count {
            1 => Permit::Nothing,
            _ => Permit::Alert,
        },
        ThresholdKind::Threshold if count >= limit => {
            entry.count = 0;
            Permit::Alert
        }
        ThresholdKind::Both if count == limit => Permit::Alert,
        ThresholdKind::Both if count > limit => Permit::Silent,
        ThresholdKind::DetectionFilter if count > limit => Permit::Alert,
        ThresholdKind::Rate { action, timeout_s } if count > limit => {
            let until_ns = now_ns.saturating_add(u64::from(timeout_s) * NS_PER_S);
            entry.until_ns = entry.until_ns.max(until_ns);
            entry.changed_ns = Some(now_ns);
            Permit::Instead(action)
        }
        ThresholdKind::Rate { .. } => Permit::Alert,
        _ => Permit::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn outcomes(kind: ThresholdKind, count: u32, times_s: &[u64]) -> Vec<Permit> {
        let table = Thresholds::default();
        let threshold = Threshold {
            kind,
            track: Track::Source,
            count,
            seconds: 10,
        };
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let count =
            |second: &u64| table.count(&[threshold], (1, 0), (peer, peer), second * NS_PER_S);
        times_s.iter().map(count).collect()
    }

    #[test]
    fn each_kind_speaks_as_often_as_suricata_does() {
        use Permit::*;
        let times = [0, 1, 2, 3, 11, 12];
        assert_eq!(
            outcomes(ThresholdKind::Limit, 2, &times),
            [Alert, Alert, Silent, Silent, Alert, Alert]
        );
        assert_eq!(
            outcomes(ThresholdKind::Threshold, 2, &times),
            [Nothing, Alert, Nothing, Alert, Nothing, Alert]
        );
        assert_eq!(
            outcomes(ThresholdKind::Both, 2, &times),
            [Nothing, Alert, Silent, Silent, Nothing, Alert]
        );
        assert_eq!(
            outcomes(ThresholdKind::DetectionFilter, 2, &times),
            [Nothing, Nothing, Alert, Alert, Nothing, Nothing]
        );
    }

    #[test]
    fn a_count_of_none_speaks_as_in_suricata() {
        use Permit::*;
        let times = [0, 1, 2, 11, 12];
        let of = |kind| outcomes(kind, 0, &times);
        assert_eq!(
            of(ThresholdKind::Limit),
            [Alert, Silent, Silent, Alert, Silent]
        );
        assert_eq!(
            of(ThresholdKind::Threshold),
            [Nothing, Alert, Alert, Nothing, Alert]
        );
        assert_eq!(of(ThresholdKind::Both), [Silent; 5]);
    }

    #[test]
    fn a_period_ends_when_more_than_its_seconds_are_over() {
        use Permit::*;
        let limit = outcomes(ThresholdKind::Limit, 1, &[0, 10, 11, 21, 22]);
        assert_eq!(limit, [Alert, Silent, Alert, Silent, Alert]);
    }

    #[test]
    fn a_rate_filter_changes_the_action_for_its_time() {
        let changed = Permit::Instead(Action::Drop);
        let rate = ThresholdKind::Rate {
            action: Action::Drop,
            timeout_s: 3,
        };
        let found = outcomes(rate, 2, &[0, 2, 4, 6, 8, 10, 12]);
        let (alert, back) = (Permit::Alert, Permit::Alert);
        assert_eq!(
            found,
            [alert, alert, changed, changed, back, changed, changed]
        );
    }

    /// Rows: what Suricata 7.0.10 told of one request at each of the times.
    #[test]
    fn several_thresholds_are_asked_in_turn_and_share_what_they_count() {
        let of = |kind, track, count, seconds| Threshold {
            kind,
            track,
            count,
            seconds,
        };
        use ThresholdKind::{DetectionFilter, Limit, Threshold as EveryNth};
        let each = of(EveryNth, Track::Source, 1, 60);
        let limit = of(Limit, Track::Source, 1, 600);
        let rows: [(&[u64], &[Threshold]); 6] = [
            (&[0, 5, 10, 30, 70, 80, 130, 650, 1310], &[each, limit]),
            (&[0, 5, 10, 30, 1300, 1310], &[limit, each]),
            (
                &[0, 610, 1300],
                &[
                    of(Limit, Track::Source, 2, 60),
                    of(Limit, Track::Destination, 1, 600),
                ],
            ),
            (
                &[10, 130, 500],
                &[
                    of(EveryNth, Track::Source, 3, 600),
                    of(Limit, Track::Rule, 1, 100),
                ],
            ),
            (
                &[0, 127, 300, 500, 610, 1300],
                &[
                    of(Limit, Track::Source, 2, 100),
                    of(DetectionFilter, Track::Source, 1, 60),
                ],
            ),
            (
                &[30, 70, 80],
                &[
                    of(DetectionFilter, Track::Source, 1, 60),
                    of(DetectionFilter, Track::Destination, 2, 100),
                ],
            ),
        ];
        let times = [
            0, 5, 10, 30, 65, 70, 80, 127, 130, 200, 300, 500, 610, 650, 1300, 1310,
        ];
        let ends = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for (told, thresholds) in rows {
            let table = Thresholds::default();
            let speaks = |second: &u64| {
                table.count(thresholds, (1, 0), ends, second * NS_PER_S) == Permit::Alert
            };
            let spoken: Vec<u64> = times.into_iter().filter(speaks).collect();
            assert_eq!(spoken, told, "{thresholds:?}");
        }
    }

    #[test]
    fn never_holds_more_than_its_bound() {
        let kinds = [
            ThresholdKind::Limit,
            ThresholdKind::Rate {
                action: Action::Drop,
                timeout_s: u32::MAX,
            },
        ];
        for kind in kinds {
            let table = Thresholds::new(100);
            let threshold = Threshold {
                kind,
                track: Track::Source,
                count: 1,
                seconds: 60,
            };
            for host in 0..10_000u32 {
                let peer = IpAddr::V4(Ipv4Addr::from(host));
                for _ in 0..2 {
                    table.count(&[threshold], (1, 0), (peer, peer), u64::from(host));
                }
                assert!(table.entries.lock().unwrap().len() <= 100);
            }
        }
    }
}
