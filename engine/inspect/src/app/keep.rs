//! What is remembered between messages, within bounds.
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A map that forgets its oldest entries.
#[derive(Debug)]
pub struct Memory<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
    limit: usize,
}

impl<K: Copy + Eq + Hash, V> Memory<K, V> {
    /// Room for `limit` entries.
    pub fn new(limit: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            limit,
        }
    }

    /// Remembers `value`; the oldest entry is forgotten where there are too many.
    pub fn insert(&mut self, key: K, value: V) {
        if self.entries.insert(key, value).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > self.limit {
            if let Some(oldest) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
    }

    /// What was remembered.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    /// Forgets it.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        // Its place in the order stays: at the bound it forgets nothing, or a younger entry of that key.
        self.entries.remove(key)
    }

    /// Bytes of heap held, roughly; values' own heap is added by `heap_bytes`.
    pub fn heap_bytes(&self, heap_bytes: impl Fn(&V) -> usize) -> usize {
        let values: usize = self.entries.values().map(heap_bytes).sum();
        values
            + self.entries.capacity() * (size_of::<K>() + size_of::<V>())
            + self.order.capacity() * size_of::<K>()
    }
}
