//! A connection that is one transaction from its beginning to its end, shown to both directions.
//!
//! Signatures are evaluated on one direction at a time, so what either direction changes is news to both until
//! each has been looked at.
use super::{Stage, Store, Touched, Transaction, Transactions};
use crate::Direction;

/// The one transaction, and which directions have not been looked at since it changed.
#[derive(Debug)]
pub struct Single<T> {
    store: Store<T>,
    news: [bool; 2],
}

impl<T: Transaction + Default> Default for Single<T> {
    fn default() -> Self {
        let mut store = Store::new(1);
        store.open(T::default());
        Self {
            store,
            news: [false; 2],
        }
    }
}

impl<T: Transaction> Single<T> {
    /// The transaction; `None` once the engine has taken it away.
    pub fn get(&self) -> Option<&T> {
        self.store.get(0)
    }

    /// Changes it, which is news to both directions.
    pub fn change(&mut self, change: impl FnOnce(&mut T)) {
        self.news = [true; 2];
        self.quietly(change);
    }

    /// Changes what no signature looks at any more.
    pub fn quietly(&mut self, change: impl FnOnce(&mut T)) {
        if let Some(transaction) = self.store.change(0) {
            change(transaction);
        }
        self.store.take_touched();
    }

    /// Notes an oddity.
    pub fn raise(&mut self, event: &'static str) {
        self.change(|transaction| transaction.head_mut().raise(event));
    }

    /// Whether it changed since that direction was last looked at.
    pub fn has_news(&self, direction: Direction) -> bool {
        self.news[direction as usize]
    }

    /// Has that direction looked at, which was read at least so far.
    pub fn show(&mut self, direction: Direction, stage: Stage) -> Touched {
        self.news[direction as usize] = false;
        if let Some(transaction) = self.store.change(0) {
            transaction.head_mut().reach(direction, stage);
        }
        self.store.take_touched()
    }

    /// As the engine sees it.
    pub fn transactions(&self) -> &dyn Transactions {
        &self.store
    }

    /// The same, mutable.
    pub fn transactions_mut(&mut self) -> &mut dyn Transactions {
        &mut self.store
    }

    /// Bytes of heap held, roughly.
    pub fn heap_bytes(&self) -> usize {
        self.store.heap_bytes()
    }
}
