//! When more comes than can be inspected in time: who has had more than its share is not inspected for a while.
//!
//! A worker's queue is one line in which all guests stand. Once every packet has waited longer than the budget for
//! [`STANDING_NS`] and [`MANY`] packets, the worker is overloaded, until packets wait a quarter of that. One long wait
//! is none: a machine that stood still for a moment has a full queue and a worker that soon empties it (the standing
//! queue of RFC 8289, 3.2). Meanwhile a packet is shed if whoever it is charged to has asked for at least an equal share
//! of the worker's time lately, so the line moves on and those who ask for little are inspected. What is shed was asked
//! for as well: else who floods would soon have had less than its neighbours, where a busy machine keeps the line long.
//! To shed costs a fraction of what it costs to inspect.

use std::collections::HashMap;
use std::time::Duration;

use inspect::policy::Payer;

/// How long, in nanoseconds, all packets must have waited for too long.
const STANDING_NS: u64 = 30_000_000;
/// And how many: a worker that was itself held up sees time pass and no packets.
const MANY: u32 = 32;
/// Time spent counts half after this.
const HALF_LIFE_NS: u64 = 100_000_000;
/// What is not worth remembering.
const FORGOTTEN_NS: u64 = 1_000;
/// A wait beyond it is a clock that was set, and no wait.
const ABSURD: Duration = Duration::from_secs(30);

/// What one payer asks for.
#[derive(Debug, Default)]
struct Account {
    /// Of the worker's time, lately.
    asked_ns: u64,
    /// What one of its packets usually takes.
    usual_ns: u64,
}

/// One worker's time and who asks for it.
#[derive(Debug)]
pub(crate) struct Shares {
    budget: Duration,
    accounts: HashMap<Payer, Account>,
    total_ns: u64,
    halved_at_ns: u64,
    /// When the first of the packets came that all waited too long, and how many they are.
    since: Option<(u64, u32)>,
    overloaded: bool,
}

impl Shares {
    pub(crate) fn new(budget: Duration) -> Self {
        Self {
            budget,
            accounts: HashMap::new(),
            total_ns: 0,
            halved_at_ns: 0,
            since: None,
            overloaded: false,
        }
    }

    /// Whether a packet that waited so long is to be shed. `now_ns`: monotonic.
    pub(crate) fn sheds(&mut self, payer: Payer, waited: Duration, now_ns: u64) -> bool {
        if waited > ABSURD {
            return false;
        }
        self.overloaded = match self.overloaded {
            false => self.stands(waited, now_ns),
            true => waited > self.budget / 4,
        };
        let sheds = self.overloaded && self.has_its_share(payer);
        if sheds {
            let usual_ns = self.accounts.get(&payer).map_or(0, |it| it.usual_ns);
            self.ask(payer, usual_ns, now_ns);
        }
        sheds
    }

    /// Whether the line has been too long for long.
    fn stands(&mut self, waited: Duration, now_ns: u64) -> bool {
        if waited <= self.budget {
            self.since = None;
            return false;
        }
        let (began_ns, packets) = self.since.get_or_insert((now_ns, 0));
        *packets += 1;
        let stands = *packets >= MANY && now_ns.saturating_sub(*began_ns) >= STANDING_NS;
        if stands {
            self.since = None;
        }
        stands
    }

    fn has_its_share(&self, payer: Payer) -> bool {
        let asked_ns = self.accounts.get(&payer).map_or(0, |it| it.asked_ns);
        asked_ns > 0 && asked_ns * self.accounts.len() as u64 >= self.total_ns
    }

    /// Notes what a packet's inspection took. `now_ns`: monotonic.
    pub(crate) fn charge(&mut self, payer: Payer, took_ns: u64, now_ns: u64) {
        let account = self.ask(payer, took_ns, now_ns);
        account.usual_ns = match account.usual_ns {
            0 => took_ns,
            usual_ns => usual_ns - usual_ns / 8 + took_ns / 8,
        };
    }

    fn ask(&mut self, payer: Payer, ns: u64, now_ns: u64) -> &mut Account {
        while now_ns.saturating_sub(self.halved_at_ns) >= HALF_LIFE_NS {
            if self.accounts.is_empty() {
                self.halved_at_ns = now_ns;
                break;
            }
            self.halve();
            self.halved_at_ns += HALF_LIFE_NS;
        }
        self.total_ns += ns;
        let account = self.accounts.entry(payer).or_default();
        account.asked_ns += ns;
        account
    }

    fn halve(&mut self) {
        self.accounts.retain(|_, account| {
            account.asked_ns /= 2;
            account.asked_ns > FORGOTTEN_NS
        });
        self.total_ns = self.accounts.values().map(|it| it.asked_ns).sum();
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

    /// What is said of the last of `packets`, each a millisecond after the one before it, that all waited so long.
    fn after(shares: &mut Shares, payer: Payer, packets: u64, waited: Duration) -> bool {
        (1..=packets).fold(false, |_, at| shares.sheds(payer, waited, at * MS))
    }

    #[test]
    fn nobody_is_shed_while_packets_wait_no_longer_than_the_budget() {
        let mut shares = shares();
        assert!(!after(&mut shares, FLOOD, 1000, Duration::from_millis(20)));
    }

    #[test]
    fn nobody_is_shed_for_a_moment_in_which_the_machine_stood_still() {
        let mut shares = shares();
        assert!(!after(&mut shares, FLOOD, 30, LONG), "the line is emptied");
        assert!(!shares.sheds(FLOOD, Duration::ZERO, 31 * MS));
        assert!(!shares.sheds(FLOOD, LONG, 32 * MS), "and long once more");
        assert!(
            !shares.sheds(FLOOD, LONG, 5000 * MS),
            "the worker was held up"
        );
    }

    #[test]
    fn overloaded_it_sheds_who_had_more_than_its_share_until_the_line_is_short() {
        let mut shares = shares();
        assert!(!after(&mut shares, NEIGHBOUR, 200, LONG));
        assert!(shares.sheds(FLOOD, LONG, 201 * MS));
        let nearly = Duration::from_millis(6);
        assert!(shares.sheds(FLOOD, nearly, 202 * MS), "not yet short");
        assert!(!shares.sheds(FLOOD, Duration::from_millis(5), 203 * MS));
        let again = Duration::from_millis(19);
        assert!(
            !shares.sheds(FLOOD, again, 204 * MS),
            "and it begins at the budget again"
        );
    }

    #[test]
    fn who_is_alone_or_has_what_all_have_is_shed_and_who_had_nothing_is_not() {
        let mut shares = Shares::new(Duration::ZERO);
        assert!(!after(&mut shares, FLOOD, 200, LONG), "it had nothing yet");
        shares.charge(FLOOD, MS, 1);
        assert!(shares.sheds(FLOOD, LONG, 201 * MS));
        for payer in [FLOOD, NEIGHBOUR] {
            let mut shares = Shares::new(Duration::ZERO);
            shares.charge(FLOOD, MS, 1);
            shares.charge(NEIGHBOUR, MS, 1);
            assert!(after(&mut shares, payer, 40, LONG));
        }
    }

    #[test]
    fn who_floods_is_shed_as_long_as_it_floods_and_its_neighbour_never() {
        let mut shares = shares();
        after(&mut shares, FLOOD, 200, LONG);
        for at in 201..5000 {
            assert!(shares.sheds(FLOOD, LONG, at * MS), "{at}");
            if at % 50 == 0 {
                assert!(!shares.sheds(NEIGHBOUR, LONG, at * MS), "{at}");
                shares.charge(NEIGHBOUR, MS, at * MS);
            }
        }
    }

    #[test]
    fn what_was_had_long_ago_is_forgotten() {
        let mut shares = shares();
        shares.charge(NEIGHBOUR, MS, 40 * HALF_LIFE_NS);
        assert!(!after(&mut shares, FLOOD, 200, LONG));
    }

    #[test]
    fn a_clock_that_was_set_sheds_nothing() {
        assert!(!after(&mut shares(), FLOOD, 200, Duration::from_secs(3600)));
    }
}
