//! When more comes than can be inspected in time: who has had more than its share is not inspected for a while.
//!
//! A worker's queue is one line in which all guests stand. Once a packet has waited longer than the budget, the
//! worker is overloaded, until packets wait a quarter of that. Meanwhile a packet is shed if whoever it is charged
//! to has had at least an equal share of the worker's time lately, so the line moves on and those who ask for
//! little are inspected. To shed costs a fraction of what it costs to inspect.

use std::collections::HashMap;
use std::time::Duration;

/// Time spent counts half after this.
const HALF_LIFE_NS: u64 = 100_000_000;
/// What is not worth remembering.
const FORGOTTEN_NS: u64 = 1_000;
/// A wait beyond it is a clock that was set, and no wait.
const ABSURD: Duration = Duration::from_secs(30);

/// Whom a packet is charged to: the interface index of a port.
pub(crate) type Payer = u32;

/// One worker's time and who had it.
#[derive(Debug)]
pub(crate) struct Shares {
    budget: Duration,
    spent_ns: HashMap<Payer, u64>,
    total_ns: u64,
    halved_at_ns: u64,
    overloaded: bool,
}

impl Shares {
    pub(crate) fn new(budget: Duration) -> Self {
        Self {
            budget,
            spent_ns: HashMap::new(),
            total_ns: 0,
            halved_at_ns: 0,
            overloaded: false,
        }
    }

    /// Whether a packet that waited so long is to be shed.
    pub(crate) fn sheds(&mut self, payer: Payer, waited: Duration) -> bool {
        if waited > ABSURD {
            return false;
        }
        self.overloaded = match self.overloaded {
            false => waited > self.budget,
            true => waited > self.budget / 4,
        };
        self.overloaded && self.has_had_its_share(payer)
    }

    fn has_had_its_share(&self, payer: Payer) -> bool {
        let spent = self.spent_ns.get(&payer).copied().unwrap_or(0);
        spent > 0 && spent * self.spent_ns.len() as u64 >= self.total_ns
    }

    /// Notes what a packet's inspection took. `now_ns`: monotonic.
    pub(crate) fn charge(&mut self, payer: Payer, took_ns: u64, now_ns: u64) {
        while now_ns.saturating_sub(self.halved_at_ns) >= HALF_LIFE_NS {
            if self.spent_ns.is_empty() {
                self.halved_at_ns = now_ns;
                break;
            }
            self.halve();
            self.halved_at_ns += HALF_LIFE_NS;
        }
        *self.spent_ns.entry(payer).or_default() += took_ns;
        self.total_ns += took_ns;
    }

    fn halve(&mut self) {
        self.spent_ns.retain(|_, spent| {
            *spent /= 2;
            *spent > FORGOTTEN_NS
        });
        self.total_ns = self.spent_ns.values().sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOD: Payer = 7;
    const NEIGHBOUR: Payer = 8;
    const LONG: Duration = Duration::from_millis(21);
    const MS: u64 = 1_000_000;

    fn shares() -> Shares {
        let mut shares = Shares::new(Duration::from_millis(20));
        shares.charge(FLOOD, 90 * MS, 1);
        shares.charge(NEIGHBOUR, 10 * MS, 1);
        shares
    }

    #[test]
    fn nobody_is_shed_while_packets_wait_no_longer_than_the_budget() {
        let mut shares = shares();
        assert!(!shares.sheds(FLOOD, Duration::from_millis(20)));
        assert!(!shares.sheds(NEIGHBOUR, Duration::ZERO));
    }

    #[test]
    fn overloaded_it_sheds_who_had_more_than_its_share_until_the_line_is_short() {
        let mut shares = shares();
        assert!(!shares.sheds(NEIGHBOUR, LONG));
        assert!(shares.sheds(FLOOD, LONG));
        assert!(
            shares.sheds(FLOOD, Duration::from_millis(6)),
            "not yet short"
        );
        assert!(!shares.sheds(FLOOD, Duration::from_millis(5)));
        assert!(
            !shares.sheds(FLOOD, Duration::from_millis(19)),
            "and it begins at the budget again"
        );
    }

    #[test]
    fn who_is_alone_or_has_what_all_have_is_shed_and_who_had_nothing_is_not() {
        let mut shares = Shares::new(Duration::ZERO);
        assert!(!shares.sheds(FLOOD, LONG), "it had nothing yet");
        shares.charge(FLOOD, MS, 1);
        assert!(shares.sheds(FLOOD, LONG));
        shares.charge(NEIGHBOUR, MS, 1);
        assert!(shares.sheds(FLOOD, LONG) && shares.sheds(NEIGHBOUR, LONG));
    }

    #[test]
    fn what_was_had_long_ago_is_forgotten() {
        let mut shares = shares();
        shares.charge(NEIGHBOUR, MS, 40 * HALF_LIFE_NS);
        assert!(!shares.sheds(FLOOD, LONG));
    }

    #[test]
    fn a_clock_that_was_set_sheds_nothing() {
        assert!(!shares().sheds(FLOOD, Duration::from_secs(3600)));
    }
}
