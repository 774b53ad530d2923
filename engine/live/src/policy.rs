use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

/// Holds the live policy; clones share it. Swapping never makes a reader wait.
#[derive(Debug)]
pub struct PolicySlot<P> {
    live: Arc<ArcSwap<P>>,
}

impl<P> Clone for PolicySlot<P> {
    fn clone(&self) -> Self {
        Self {
            live: Arc::clone(&self.live),
        }
    }
}

impl<P> PolicySlot<P> {
    /// A slot with its first policy.
    pub fn new(policy: P) -> Self {
        Self {
            live: Arc::new(ArcSwap::from_pointee(policy)),
        }
    }

    /// Makes `policy` the live one: each worker uses it from its next packet on, whole.
    ///
    /// Returns the old one, to be freed when nobody uses it any more.
    pub fn swap(&self, policy: P) -> Arc<P> {
        self.live.swap(Arc::new(policy))
    }

    /// The live policy.
    pub fn load(&self) -> Arc<P> {
        self.live.load_full()
    }

    /// A reader for one worker's packet path.
    pub fn reader(&self) -> PolicyReader<P> {
        PolicyReader {
            cache: Cache::new(Arc::clone(&self.live)),
        }
    }
}

/// One worker's view of a [`PolicySlot`]: looking costs one atomic load while nothing changed.
#[derive(Debug)]
pub struct PolicyReader<P> {
    cache: Cache<Arc<ArcSwap<P>>, Arc<P>>,
}

impl<P> PolicyReader<P> {
    /// The live policy. Ask once a packet, so that a packet sees one policy only.
    pub fn current(&mut self) -> &Arc<P> {
        self.cache.load()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_a_new_policy_at_its_next_look_and_keeps_the_old_one_while_it_holds_it() {
        let slot = PolicySlot::new(1);
        let mut reader = slot.reader();
        let held = Arc::clone(reader.current());
        slot.clone().swap(2);
        assert_eq!((*held, **reader.current(), *slot.load()), (1, 2, 2));
    }

    #[test]
    fn no_reader_ever_sees_half_of_a_policy() {
        let slot = PolicySlot::new([0u64; 64]);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut reader = slot.reader();
                    while reader.current()[0] < 500 {
                        let policy = reader.current();
                        assert!(policy.iter().all(|value| *value == policy[0]));
                    }
                });
            }
            for version in 1..=500 {
                slot.swap([version; 64]);
            }
        });
    }
}
