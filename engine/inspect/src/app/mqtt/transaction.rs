//! A packet and those that acknowledge it.
use super::eve::Object;
use super::message::Message;
use crate::app::{self, AppProto, Description, Head, Purpose, Stage};
use crate::Direction;

/// Packets of one transaction that are kept; four make the longest that is in order.
const MAX_MESSAGES: usize = 16;

/// A packet and those that acknowledge it.
#[derive(Debug)]
pub struct Transaction {
    pub(super) head: Head,
    /// Which way its first packet went; the other way it is never looked at.
    pub(super) direction: Direction,
    /// The connection's version when it began: 3, 4, 5; 0 before a CONNECT was read.
    pub version: u8,
    /// Its packets in their order.
    pub messages: Vec<Message>,
    /// Whether more of it is to come.
    pub(super) state: State,
}

/// How far a transaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A packet that acknowledges is to come.
    Waiting,
    /// Nothing is.
    Whole,
    /// Too much waited.
    GivenUp,
}

impl Transaction {
    pub(super) fn new(direction: Direction, version: u8) -> Self {
        Self {
            head: Head::default(),
            direction,
            version,
            messages: Vec::new(),
            state: State::Waiting,
        }
    }

    pub(super) fn push(&mut self, message: Message) {
        if self.messages.len() < MAX_MESSAGES {
            self.messages.push(message);
        }
    }

    /// Its first packet.
    pub(super) fn first(&self) -> Option<&Message> {
        self.messages.first()
    }

    /// Whether nothing of it is awaited any more; conditions on its packets hold from then on.
    pub fn is_whole(&self) -> bool {
        self.state == State::Whole
    }

    /// The part that `find` finds first; none while it is empty.
    pub fn part<'a>(&'a self, find: impl Fn(&'a Message) -> Option<&'a [u8]>) -> Option<&'a [u8]> {
        let mut parts = self.messages.iter().filter_map(find);
        parts.find(|part| !part.is_empty())
    }
}

impl app::Transaction for Transaction {
    fn head(&self) -> &Head {
        &self.head
    }
    fn head_mut(&mut self) -> &mut Head {
        &mut self.head
    }
    fn app(&self) -> AppProto {
        AppProto::Mqtt
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }

    fn sent(&self) -> Option<Direction> {
        Some(self.direction)
    }

    fn stage(&self, direction: Direction) -> Stage {
        match direction == self.direction {
            true => self.head.stages[direction as usize],
            false => Stage::NotStarted,
        }
    }

    fn is_tellable(&self) -> bool {
        self.state != State::Waiting
    }

    fn is_complete(&self) -> bool {
        self.stage(self.direction) == Stage::Complete
    }

    fn describe(&self, _purpose: Purpose) -> Option<Description<'_>> {
        Some(("mqtt", Box::new(Object(self))))
    }

    fn heap_bytes(&self) -> usize {
        let messages = self.messages.iter().map(Message::heap_bytes);
        self.messages.capacity() * size_of::<Message>() + messages.sum::<usize>()
    }
}
