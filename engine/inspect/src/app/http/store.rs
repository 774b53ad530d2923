//! The open transactions of a connection, and which of them a call has changed.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::connection::Settings;
use super::events::HttpEvent;
use super::transaction::Transaction;
use crate::app::{self, File, FileSettings};

/// Open transactions, oldest first; ids are contiguous. Each in a box of its own, which leaves whole: a connection
/// that is kept alive holds no room for them.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) open: VecDeque<Box<Transaction>>,
    next_id: u64,
    settings: Arc<Settings>,
    touched: Range<u64>,
    /// More were opened than there is room for.
    pub(super) overflowed: bool,
}

impl Store {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self {
            open: VecDeque::new(),
            next_id: 0,
            settings,
            touched: 0..0,
            overflowed: false,
        }
    }

    /// Opens a transaction; `None` past the bound, and from then on.
    pub(super) fn open_next(&mut self) -> Option<&mut Transaction> {
        if self.overflowed || self.open.len() >= self.settings.open_transactions.max(1) {
            if let Some(last) = self.open.back_mut() {
                last.events.raise(HttpEvent::TooManyTransactions);
            }
            self.touch(self.next_id.saturating_sub(1));
            self.overflowed = true;
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.touch(id);
        let kept = |depth_bytes| FileSettings {
            depth_bytes,
            ..self.settings.files
        };
        let request = kept(self.settings.request_depth_bytes);
        let response = kept(self.settings.response_depth_bytes);
        let mut transaction = Box::<Transaction>::default();
        transaction.head.id = id;
        transaction.request.body.file = File::open(&[], &request);
        transaction.response.body.file = File::open(&[], &response);
        self.open.push_back(transaction);
        self.open.back_mut().map(Box::as_mut)
    }

    /// Takes the oldest; where it was the last, the room for others goes with it.
    pub(super) fn pop(&mut self) -> Option<Box<Transaction>> {
        let oldest = self.open.pop_front();
        if self.open.is_empty() {
            self.open = VecDeque::new();
        }
        oldest
    }

    /// The id the next transaction will get.
    pub(super) fn next_id(&self) -> u64 {
        self.next_id
    }

    pub(super) fn get(&self, id: u64) -> Option<&Transaction> {
        let first = self.open.front()?.head.id;
        let at = usize::try_from(id.checked_sub(first)?).ok()?;
        self.open.get(at).map(Box::as_ref)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Transaction> {
        let first = self.open.front()?.head.id;
        let at = usize::try_from(id.checked_sub(first)?).ok()?;
        self.open.get_mut(at).map(Box::as_mut)
    }

    /// The same, and the transaction counts as changed.
    pub(super) fn change(&mut self, id: u64) -> Option<&mut Transaction> {
        self.touch(id);
        self.get_mut(id)
    }

    pub(super) fn touch(&mut self, id: u64) {
        if self.touched.is_empty() {
            self.touched = id..id + 1;
        } else {
            self.touched = self.touched.start.min(id)..self.touched.end.max(id + 1);
        }
    }

    /// What was changed since the last call.
    pub(super) fn take_touched(&mut self) -> Range<u64> {
        std::mem::replace(&mut self.touched, 0..0)
    }
}

impl app::Transactions for Store {
    fn find(&self, id: u64) -> Option<&dyn app::Transaction> {
        self.get(id).map(|it| it as &dyn app::Transaction)
    }

    fn find_mut(&mut self, id: u64) -> Option<&mut dyn app::Transaction> {
        self.get_mut(id).map(|it| it as &mut dyn app::Transaction)
    }

    fn ids(&self) -> Range<u64> {
        self.next_id - self.open.len() as u64..self.next_id
    }

    fn pop_finished(&mut self) -> Option<Box<dyn app::Transaction>> {
        if !app::Transaction::is_complete(self.open.front()?.as_ref()) {
            return None;
        }
        let done = self.pop()?;
        Some(done)
    }
}
