//! A connection's two streams, read as far as the handshake goes.
use super::handshake::{Handshake, Oddity};
use super::transaction::Transaction;
use crate::app::single::Single;
use crate::app::{Parser, Stage, Touched, Transactions};
use crate::Direction;

/// One connection.
#[derive(Debug, Default)]
pub struct Connection {
    single: Single<Transaction>,
    handshake: Handshake,
    /// What each side sent of a message that is not all there.
    buffers: [Vec<u8>; 2],
    /// What follows is not looked at.
    over: bool,
}

impl Connection {
    fn read(&mut self, direction: Direction, bytes: &[u8]) {
        let side = direction as usize;
        let mut held = std::mem::take(&mut self.buffers[side]);
        held.extend_from_slice(bytes);
        let mut rest = &held[..];
        while !rest.is_empty() && !self.over {
            let mut outcome = Ok(None);
            let handshake = &mut self.handshake;
            self.single
                .change(|tx| outcome = handshake.read(direction, rest, tx));
            match outcome {
                Ok(Some(len)) => rest = rest.get(len..).unwrap_or_default(),
                Ok(None) => break,
                Err((oddity, _)) => self.give_up(oddity),
            }
            if self.handshake.is_over() {
                self.end();
            }
        }
        if !self.over {
            self.buffers[side] = rest.to_vec();
        }
    }

    fn give_up(&mut self, oddity: Oddity) {
        self.single.raise(oddity.name());
        if !matches!(oddity, Oddity::UnimplementedType | Oddity::Malformed) {
            self.single.change(|tx| tx.whole = true);
        }
    }

    /// Nothing more is read.
    fn end(&mut self) {
        self.over = true;
        self.buffers = Default::default();
        self.single.change(|tx| tx.whole |= tx.screen.is_some());
    }

    fn touched(&mut self, direction: Direction) -> Touched {
        if !self.single.has_news(direction) {
            return 0..0;
        }
        let whole = self.single.get().is_some_and(|tx| tx.whole);
        let stage = if whole { Stage::Complete } else { Stage::Body };
        self.single.show(direction, stage)
    }
}

impl Parser for Connection {
    fn feed(&mut self, direction: Direction, bytes: &[u8]) -> Touched {
        if !self.over {
            self.read(direction, bytes);
        }
        self.touched(direction)
    }

    fn gap(&mut self, direction: Direction, _len: u64) -> Touched {
        if !self.over {
            self.end();
        }
        self.touched(direction)
    }

    fn close(&mut self, direction: Direction) -> Touched {
        self.single.show(direction, Stage::Complete)
    }

    fn transactions(&self) -> &dyn Transactions {
        self.single.transactions()
    }

    fn transactions_mut(&mut self) -> &mut dyn Transactions {
        self.single.transactions_mut()
    }

    fn skippable(&self, _direction: Direction) -> u64 {
        if self.over {
            u64::MAX
        } else {
            0
        }
    }

    fn heap_bytes(&self) -> usize {
        let buffers = self.buffers.iter().map(Vec::capacity);
        size_of::<Self>() + buffers.sum::<usize>() + self.single.heap_bytes()
    }
}
