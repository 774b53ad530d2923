//! A table that never holds more than its bound.
use std::collections::HashMap;
use std::hash::Hash;

/// What such a table keeps.
pub trait Entry {
    /// When it began to count.
    fn since_ns(&self) -> u64;
    /// Until when it says anything.
    fn until_ns(&self) -> u64;
}

/// Entries by key: past the bound the ones that ran out go first, then the older half.
#[derive(Debug)]
pub struct Bounded<K, V> {
    entries: HashMap<K, V>,
    most: usize,
}

impl<K: Eq + Hash, V: Entry> Bounded<K, V> {
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
        let before = self.entries.len();
        self.entries.retain(|_, entry| entry.until_ns() > now_ns);
        if self.entries.len() < before {
            return;
        }
        let mut ages: Vec<_> = self.entries.values().map(Entry::since_ns).collect();
        let middle = ages.len() / 2;
        let (_, median, _) = ages.select_nth_unstable(middle);
        let median = *median;
        let mut room = before / 2 + 1;
        self.entries.retain(|_, entry| {
            let goes = room > 0 && entry.since_ns() <= median;
            room -= usize::from(goes);
            !goes
        });
    }
}
