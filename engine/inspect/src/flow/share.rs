//! Who holds how much of a flow table, so that whoever fills it makes the room that others need.

use std::collections::HashMap;

use super::class::{Kind, CLASSES, KINDS};

/// Marks the end of a list.
pub(super) const NIL: u32 = u32::MAX;

/// Flows of one payer and class; the head was used longest ago.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub head: u32,
    pub tail: u32,
    /// The first that was not told to rest: those before it were.
    pub restless: u32,
}

impl List {
    const EMPTY: Self = Self {
        head: NIL,
        tail: NIL,
        restless: NIL,
    };
}

/// What one payer has of the table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    flows: [u32; KINDS],
    pub memory_bytes: usize,
    /// No flow of this payer can have been idle for its timeout before this.
    pub quiet_until_ns: u64,
}

impl Share {
    /// Flows of a kind.
    pub fn of(&self, kind: Kind) -> usize {
        self.flows[kind as usize] as usize
    }

    /// All flows.
    pub fn all(&self) -> usize {
        self.flows.iter().map(|count| *count as usize).sum()
    }
}

/// The shares, by a number that a payer has as long as it holds anything.
#[derive(Debug, Default)]
pub(super) struct Shares {
    shares: Vec<Share>,
    lists: Vec<[List; CLASSES]>,
    names: Vec<u32>,
    numbers: HashMap<u32, u16>,
}

impl Shares {
    /// The number of whoever has this name.
    pub fn number(&mut self, name: u32) -> u16 {
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        let unused = self.shares.iter().position(|share| share.all() == 0);
        let number = match unused {
            Some(number) => {
                self.numbers.remove(&self.names[number]);
                self.names[number] = name;
                number
            }
            // More than there can be guests.
            None if self.shares.len() >= usize::from(u16::MAX) => return 0,
            None => {
                self.shares.push(Share::default());
                self.lists.push([List::EMPTY; CLASSES]);
                self.names.push(name);
                self.names.len() - 1
            }
        };
        self.numbers.insert(name, number as u16);
        number as u16
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.shares.len()
    }

    pub fn share(&self, number: u16) -> &Share {
        &self.shares[usize::from(number)]
    }

    pub fn share_mut(&mut self, number: u16) -> &mut Share {
        &mut self.shares[usize::from(number)]
    }

    pub fn list(&self, number: u16, class: usize) -> &List {
        &self.lists[usize::from(number)][class]
    }

    pub fn list_mut(&mut self, number: u16, class: usize) -> &mut List {
        &mut self.lists[usize::from(number)][class]
    }

    /// Counts a flow of this class.
    pub fn gain(&mut self, number: u16, class: usize) {
        let share = &mut self.shares[usize::from(number)];
        share.flows[Kind::of(class) as usize] += 1;
    }

    /// Counts one less.
    pub fn lose(&mut self, number: u16, class: usize) {
        let share = &mut self.shares[usize::from(number)];
        share.flows[Kind::of(class) as usize] -= 1;
    }

    /// Who has most, of those who have anything.
    pub fn most(&self, held: impl Fn(u16, &Share) -> usize) -> Option<u16> {
        let numbered = self.shares.iter().enumerate();
        let held = numbered.map(|(number, share)| (held(number as u16, share), number as u16));
        let most = held.filter(|(held, _)| *held > 0).max_by_key(|it| it.0);
        most.map(|(_, number)| number)
    }
}
