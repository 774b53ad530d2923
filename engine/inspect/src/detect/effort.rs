//! How often something that grows may be gone through as a whole.
//!
//! Most of what is asked of a body is judged bit by bit (`growing`). What cannot be is judged on the whole with
//! every packet, and that would cost the square of its length; whoever sends it chooses how often what a
//! signature looks for lies in a new packet. So a number of bytes for every byte of it is free, far more than
//! traffic needs that was not made to cost; past that the whole is gone through only when it grew by a share of
//! itself, and past several times as much only when it doubled. At the message's end it is always judged, before the
//! packet that ends it passes.

/// Bytes that may be gone through in any case.
const FREE_BYTES: usize = 4 << 20;
/// So many times its length may be gone through; and then each time it grew by this fraction.
const SHARE: usize = 32;
/// Past so many times what is free it is gone through only when it doubled.
const DEAR: usize = 8;

/// What was spent on one thing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Effort {
    looked_at: usize,
    spent: usize,
}

impl Effort {
    /// Whether it may be gone through now that it is `length` long.
    pub(super) fn is_due(&self, length: usize) -> bool {
        let grown = length.saturating_sub(self.looked_at);
        let enough = match self.spent / Self::free(length) {
            0 => 0,
            1..DEAR => self.looked_at / SHARE,
            _ => self.looked_at,
        };
        grown > enough
    }

    /// Whether so much was spent that not even a part is gone through with every packet.
    pub(super) fn is_dear(&self, length: usize) -> bool {
        self.spent / Self::free(length) >= DEAR
    }

    fn free(length: usize) -> usize {
        FREE_BYTES.saturating_add(length.saturating_mul(SHARE))
    }

    /// Something else grows now; what was spent stays spent.
    pub(super) fn begin_anew(&mut self) {
        self.looked_at = 0;
    }

    /// It was gone through, for so many bytes.
    pub(super) fn note(&mut self, length: usize, searched: usize) {
        self.looked_at = length;
        self.spend(searched);
    }

    /// A part of it was gone through, for so many bytes.
    pub(super) fn spend(&mut self, searched: usize) {
        self.spent = self.spent.saturating_add(searched);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_with_the_length_and_not_with_its_square() {
        let spent = |length: usize, step: usize| {
            let mut effort = Effort::default();
            for now in (step..=length).step_by(step) {
                if effort.is_due(now) {
                    effort.note(now, now);
                }
            }
            effort.spent
        };
        for length in [1 << 20, 1 << 23, 1 << 26] {
            let bound = FREE_BYTES + (2 * SHARE + 2) * length;
            assert!(spent(length, 1 + length / 10_000) <= bound, "{length}");
        }
    }

    #[test]
    fn what_is_dear_is_gone_through_when_it_doubled() {
        let mut effort = Effort::default();
        let mut times = 0;
        for now in (1 << 10..=1 << 20).step_by(1 << 10) {
            if effort.is_due(now) {
                effort.note(now, 64 << 20);
                times += 1;
            }
        }
        assert!((10..=20).contains(&times), "{times}");
        assert!(effort.is_dear(1 << 20));
    }

    #[test]
    fn what_did_not_grow_is_not_gone_through_again() {
        let mut effort = Effort::default();
        assert!(effort.is_due(1));
        effort.note(1, 1);
        assert!(!effort.is_due(1));
        assert!(effort.is_due(2));
    }
}
