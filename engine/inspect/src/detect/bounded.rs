//! A table that never holds more than its bound.
use std::collections::HashMap;
use std::hash::Hash;

/// What such a table keeps by a `K`.
pub trait Entry<K> {
    /// The number of the guest that it is kept for.
    fn guest(&self, key: &K) -> u32;
    /// When it began to count.
    fn since_ns(&self) -> u64;
    /// Until when it says anything.
    fn until_ns(&self) -> u64;
}

/// One in so many entries is made room for at a time: to look through all of them costs.
const ROOM_ONE_IN: usize = 8;

/// Entries by key: past the bound the ones that ran out go first, then the oldest of the guests that have most, so that
/// one's crowd of peers does not have others' counts forgotten.
#[derive(Debug)]
pub struct Bounded<K, V> {
    entries: HashMap<K, V>,
    most: usize,
}

impl<K: Eq + Hash, V: Entry<K>> Bounded<K, V> {
    /// An empty table of at most `most` entries.
    pub fn new(most: usize) -> Self {
        Self {
            entries: HashMap::new(),
            most: most.max(1),
        }
    }

    /// The entry behind `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    /// The entry behind `key`, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    /// The entry behind `key`, `fresh` where there is none.
    pub fn entry(&mut self, key: K, fresh: V, now_ns: u64) -> &mut V {
        if self.entries.len() >= self.most && !self.entries.contains_key(&key) {
            self.make_room(now_ns);
        }
        self.entries.entry(key).or_insert(fresh)
    }

    /// Forgets the entry behind `key`.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key)
    }

    /// How many entries there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn make_room(&mut self, now_ns: u64) {
        self.entries.retain(|_, entry| entry.until_ns() > now_ns);
        let kept = self.most - (self.most / ROOM_ONE_IN).max(1);
        if self.entries.len() <= kept {
            return;
        }
        let mut held: HashMap<u32, Vec<u64>> = HashMap::new();
        for (key, entry) in &self.entries {
            held.entry(entry.guest(key))
                .or_default()
                .push(entry.since_ns());
        }
        let level = water_level(held.values().map(Vec::len), kept);
        held.retain(|_, ages| ages.len() > level);
        // Of each: until when what goes began, and how many go.
        let mut going: HashMap<u32, (u64, usize)> = HashMap::new();
        for (guest, mut ages) in held {
            let goes = ages.len() - level;
            let (_, last, _) = ages.select_nth_unstable(goes - 1);
            going.insert(guest, (*last, goes));
        }
        self.entries.retain(|key, entry| {
            let Some((last, left)) = going.get_mut(&entry.guest(key)) else {
                return true;
            };
            let goes = *left > 0 && entry.since_ns() <= *last;
            *left -= usize::from(goes);
            !goes
        });
    }
}

/// The most that anyone may keep so that all together keep no more than `kept`.
fn water_level(held: impl Iterator<Item = usize>, kept: usize) -> usize {
    let mut held: Vec<_> = held.collect();
    held.sort_unstable();
    let (mut left, mut who) = (kept, held.len());
    for each in held {
        let level = left / who;
        if each > level {
            return level;
        }
        left -= each;
        who -= 1;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct At(u64, u64);

    impl Entry<(u32, u64)> for At {
        fn guest(&self, key: &(u32, u64)) -> u32 {
            key.0
        }

        fn since_ns(&self) -> u64 {
            self.0
        }

        fn until_ns(&self) -> u64 {
            self.1
        }
    }

    fn fill(table: &mut Bounded<(u32, u64), At>, guest: u32, numbers: std::ops::Range<u64>) {
        for number in numbers {
            table.entry((guest, number), At(number, u64::MAX), number);
            assert!(table.len() <= table.most);
        }
    }

    #[test]
    fn who_brings_a_crowd_forgets_its_own_oldest_and_nobody_elses() {
        let mut table = Bounded::new(100);
        fill(&mut table, 1, 0..10);
        fill(&mut table, 2, 10..20);
        fill(&mut table, 3, 20..5_000);
        for number in 0..10 {
            assert!(table.get(&(1, number)).is_some() && table.get(&(2, 10 + number)).is_some());
        }
        let youngest = (4_935..5_000).all(|number| table.get(&(3, number)).is_some());
        assert!(youngest, "the youngest of its own stay");
    }

    #[test]
    fn what_ran_out_goes_before_anything_that_counts() {
        let mut table = Bounded::new(16);
        for number in 0..8 {
            table.entry((1, number), At(number, 50), number);
        }
        for number in 8..16 {
            table.entry((1, number), At(number, 500), number);
        }
        table.entry((2, 0), At(100, 500), 100);
        assert_eq!(table.len(), 9);
        assert!((8..16).all(|number| table.get(&(1, number)).is_some()));
    }

    #[test]
    fn a_table_of_one_holds_the_last() {
        let mut table = Bounded::new(1);
        fill(&mut table, 1, 0..50);
        assert!(table.get(&(1, 49)).is_some());
    }
}
