//! What was shed, by whom it was charged to, until it is announced.

use std::collections::HashMap;

use inspect::policy::Payer;
use serde_json::json;

use crate::notice;

/// An overload that goes on is announced this often.
const ANNOUNCED_EVERY_NS: u64 = 2_000_000_000;

/// Packets and bytes that nobody looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    packets: u64,
    passed_bytes: u64,
    dropped_bytes: u64,
}

impl Amount {
    /// The event that says so.
    pub(crate) fn line(&self, guest: &str) -> Vec<u8> {
        let Self {
            packets,
            passed_bytes,
            dropped_bytes,
        } = *self;
        let text = format!(
            "overload: {packets} packets of guest {guest} were not inspected: {passed_bytes} bytes passed, \
             {dropped_bytes} were dropped"
        );
        let details = json!({ "guest": guest, "packets": packets, "passed_bytes": passed_bytes,
            "dropped_bytes": dropped_bytes });
        notice::line("shed", &text, details)
    }
}

/// What is still to be announced.
#[derive(Debug, Default)]
pub(crate) struct Shed {
    amounts: HashMap<Payer, Amount>,
    next_ns: u64,
}

impl Shed {
    pub(crate) fn note(&mut self, payer: Payer, bytes: usize, dropped: bool) {
        let amount = self.amounts.entry(payer).or_default();
        amount.packets += 1;
        match dropped {
            true => amount.dropped_bytes += bytes as u64,
            false => amount.passed_bytes += bytes as u64,
        }
    }

    /// Returns what is to be announced now: at once when an overload begins, then every two seconds.
    pub(crate) fn due(&mut self, now_ns: u64) -> HashMap<Payer, Amount> {
        if self.amounts.is_empty() || now_ns < self.next_ns {
            return HashMap::new();
        }
        self.next_ns = now_ns + ANNOUNCED_EVERY_NS;
        std::mem::take(&mut self.amounts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overload_is_announced_at_once_and_then_now_and_then_and_nothing_is_forgotten() {
        let mut shed = Shed::default();
        assert!(shed.due(1).is_empty());
        shed.note(7, 100, true);
        assert_eq!(shed.due(2).len(), 1);
        shed.note(7, 100, false);
        shed.note(7, 20, true);
        assert!(shed.due(3).is_empty());
        let due = shed.due(2 + ANNOUNCED_EVERY_NS);
        assert_eq!(
            due[&7],
            Amount {
                packets: 2,
                passed_bytes: 100,
                dropped_bytes: 20
            }
        );
    }
}
