//! Shows each transaction to both directions before it is over.
//!
//! A message of one direction may begin or end a transaction of which the other direction has seen nothing
//! yet. Signatures are evaluated on one direction at a time, so a side's stage follows only when its direction
//! is looked at.
use super::{Stage, Store, Touched, Transaction, Transactions};
use crate::Direction;

/// Transactions that changed since each direction was looked at.
#[derive(Clone, Debug, Default)]
pub struct Sides {
    changed: [Touched; 2],
}

impl Sides {
    /// What is to be looked at now that bytes of `direction` were read: also what the other direction changed.
    ///
    /// `done` says of a transaction whether that side of it is over; `closing` that no byte follows, so that it
    /// is in any case.
    pub fn settle<T: Transaction>(
        &mut self,
        store: &mut Store<T>,
        direction: Direction,
        closing: bool,
        done: impl Fn(&T, Direction) -> bool,
    ) -> Touched {
        let touched = store.take_touched();
        for changed in &mut self.changed {
            *changed = joined(changed, &touched);
        }
        let side = direction as usize;
        let mut seen = std::mem::replace(&mut self.changed[side], 0..0);
        if closing {
            seen = joined(&seen, &store.ids());
        }
        store.make_due(seen.clone(), direction, closing, |tx| {
            let over = closing || done(tx, direction);
            tx.head_mut().stages[side] = if over { Stage::Complete } else { Stage::Body };
        });
        seen
    }
}

fn joined(one: &Touched, other: &Touched) -> Touched {
    match (one.is_empty(), other.is_empty()) {
        (true, _) => other.clone(),
        (_, true) => one.clone(),
        _ => one.start.min(other.start)..one.end.max(other.end),
    }
}
