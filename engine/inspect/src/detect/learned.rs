//! What data sets learned while inspecting.
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::rule::dataset::{Command, Dataset, DatasetTest};

/// Memory for learned values of all sets, in bytes; past it nothing more is learned.
const MAX_BYTES: usize = 64 << 20;
/// What keeping one value takes beyond its bytes, roughly.
const ENTRY_BYTES: usize = 96;

/// Values that were set or unset, by set and value, shared by all workers and bounded.
#[derive(Debug, Default)]
pub struct Learned(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Whether the value is in the set now, whatever its file said.
    values: HashMap<u64, HashMap<Box<[u8]>, bool>>,
    /// How many values each set has beyond (or less than) its file.
    surplus: HashMap<u64, i64>,
    bytes: usize,
}

impl Known {
    fn has(&self, set: &Dataset, key: &[u8]) -> bool {
        let learned = self.values.get(&set.id).and_then(|values| values.get(key));
        learned.copied().unwrap_or_else(|| set.get(key).is_some())
    }

    /// Puts a value into its set, or takes it out; whether there was room.
    fn put(&mut self, set: &Dataset, key: &[u8], present: bool) -> bool {
        let values = self.values.entry(set.id).or_default();
        let surplus = self.surplus.entry(set.id).or_default();
        let cost = key.len() + ENTRY_BYTES;
        let known = values.contains_key(key);
        let full = set.len() as i64 + *surplus >= i64::try_from(set.most).unwrap_or(i64::MAX);
        if present && full || !known && self.bytes + cost > MAX_BYTES {
            return false;
        }
        if !known {
            self.bytes += cost;
        }
        *surplus += if present { 1 } else { -1 };
        values.insert(key.into(), present);
        true
    }
}

impl Learned {
    /// Whether the condition holds for a buffer's bytes; changes the set where it says so.
    pub(super) fn holds(&self, test: &DatasetTest, bytes: &[u8]) -> bool {
        let mut room = Vec::new();
        let Some(key) = test.set.kind.key(bytes, &mut room) else {
            return test.command == Command::IsNotSet;
        };
        // A worker that panicked leaves values behind, not broken invariants.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let present = known.has(&test.set, key);
        match test.command {
            Command::IsSet => present,
            Command::IsNotSet => !present,
            Command::Set => !present && known.put(&test.set, key, true),
            Command::Unset => present && known.put(&test.set, key, false),
        }
    }
}
