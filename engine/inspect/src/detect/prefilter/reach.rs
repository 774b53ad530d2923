//! Where in a buffer a content may lie, told from its modifiers and from those of the contents before it.
use crate::rule::buffer::{Number, Test};
use crate::rule::content::Content;

/// The offsets that a run of bytes' first may have, and that its last must lie before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reach {
    pub from: u32,
    pub to: u32,
}

impl Reach {
    pub const ANYWHERE: Self = Self {
        from: 0,
        to: u32::MAX,
    };

    pub fn is_bounded(self) -> bool {
        self.to != u32::MAX
    }

    pub fn holds(self, start: u64, length: usize) -> bool {
        start >= self.from.into() && !(self.is_bounded() && start + length as u64 > self.to.into())
    }

    /// Where bytes of this length must begin, if there is one such offset.
    pub fn only_place(self, length: usize) -> Option<u32> {
        let only = u64::from(self.from) + length as u64 == u64::from(self.to);
        (only && self.is_bounded()).then_some(self.from)
    }

    /// Of a part that has `before` bytes of the whole before it and `after` behind it.
    pub fn of_part(self, before: usize, after: usize) -> Self {
        Self {
            from: narrow(i64::from(self.from) + before as i64),
            to: match self.is_bounded() {
                true => narrow(i64::from(self.to) - after as i64),
                false => u32::MAX,
            },
        }
    }

    fn new(from: i64, to: Option<i64>) -> Self {
        Self {
            from: narrow(from),
            to: to.map_or(u32::MAX, narrow),
        }
    }
}

fn narrow(value: i64) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}

/// The positive contents of a chain of conditions, each with its reach.
pub fn reaches(tests: &[Test]) -> impl Iterator<Item = (&Content, Reach)> {
    let mut last_match = None;
    tests.iter().filter_map(move |test| match test {
        Test::Content(content) if !content.negated => {
            let reach = reach(content, last_match);
            last_match = Some(LastMatch::of(content, reach));
            Some((content, reach))
        }
        // These leave the place of the last match where it was.
        Test::Content(_) | Test::IsDataAt { .. } | Test::Size(_) | Test::ByteTest(_) => None,
        _ => {
            last_match = None;
            None
        }
    })
}

/// The offsets at which the last match may end.
#[derive(Clone, Copy)]
pub struct LastMatch {
    first: i64,
    last: Option<i64>,
}

impl LastMatch {
    fn of(content: &Content, reach: Reach) -> Self {
        Self {
            first: i64::from(reach.from) + content.needle.len() as i64,
            last: reach.is_bounded().then_some(reach.to.into()),
        }
    }
}

/// Where a content may lie, if the last match before it ends where `last_match` says.
pub fn reach(content: &Content, last_match: Option<LastMatch>) -> Reach {
    let fixed = |number: Option<Number>| match number {
        None => Some(None),
        Some(Number::Fixed(value)) => Some(Some(value)),
        Some(Number::Variable(_)) => None,
    };
    let told = if content.is_relative() {
        let before = last_match.zip(fixed(content.distance).zip(fixed(content.within)));
        before.map(|(before, (distance, within))| {
            let distance = distance.unwrap_or(0);
            let last = before.last.map(|last| last.saturating_add(distance));
            let to = last
                .zip(within)
                .map(|(last, within)| last.saturating_add(within));
            Reach::new(before.first.saturating_add(distance), to)
        })
    } else {
        let places = fixed(content.offset).zip(fixed(content.depth));
        places.map(|(offset, depth)| {
            let offset = offset.unwrap_or(0);
            let depth = match content.startswith {
                true => Some(content.needle.len() as i64),
                false => depth,
            };
            Reach::new(offset, depth.map(|depth| offset.saturating_add(depth)))
        })
    };
    told.unwrap_or(Reach::ANYWHERE)
}
