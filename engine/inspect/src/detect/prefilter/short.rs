//! Where in a text a pattern stands that is too short for a gram.
use vector::{Starts, BLOCK};

/// Short patterns.
#[derive(Debug)]
pub struct Short {
    starts: Starts,
    /// Where the entries of each first byte begin; one more at the end.
    firsts: Box<[u32]>,
    entries: Box<[Entry]>,
}

/// How a text begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    first: u8,
    /// `None`: the text has one byte.
    second: Option<u8>,
    text: u32,
}

impl Short {
    /// Of texts, with whether the case of their letters does not count; none is empty.
    pub fn new(texts: &[(&[u8], bool, u32)]) -> Self {
        let mut entries = Vec::new();
        for (bytes, nocase, text) in texts {
            let Some(first) = bytes.first() else {
                continue;
            };
            for first in cases(*first, *nocase) {
                let mut add = |second| {
                    entries.push(Entry {
                        first,
                        second,
                        text: *text,
                    });
                };
                match bytes.get(1) {
                    None => add(None),
                    Some(second) => cases(*second, *nocase)
                        .into_iter()
                        .for_each(|it| add(Some(it))),
                }
            }
        }
        entries.sort_unstable();
        entries.dedup();
        let first = |byte: u32| entries.partition_point(|entry| u32::from(entry.first) < byte);
        Self {
            starts: Starts::new(texts.iter().map(|(bytes, nocase, _)| (*bytes, *nocase))),
            firsts: (0..=256).map(|byte| first(byte) as u32).collect(),
            entries: entries.into(),
        }
    }

    /// Calls `see` with each text that may begin at or past `from`, and where; such a text may reach past the end.
    pub fn scan(&self, bytes: &[u8], from: usize, mut see: impl FnMut(u32, usize)) {
        let mut next = from;
        while let Some((block, mut found)) = self.starts.find(bytes, next) {
            while found != 0 {
                let start = block + found.trailing_zeros() as usize;
                found &= found - 1;
                let texts = bytes.get(start..).map(|rest| self.beginning(rest));
                texts
                    .into_iter()
                    .flatten()
                    .for_each(|text| see(text, start));
            }
            next = block + BLOCK;
        }
    }

    /// The texts whose first two bytes are those of `rest`.
    fn beginning<'a>(&'a self, rest: &'a [u8]) -> impl Iterator<Item = u32> + 'a {
        let first = rest.first().map_or(256, |first| usize::from(*first));
        let end = self.firsts.get(first + 1).copied().unwrap_or_default() as usize;
        let begin = self.firsts[first] as usize;
        let entries = self.entries.get(begin..end).unwrap_or_default().iter();
        let second = rest.get(1).copied();
        entries
            .filter(move |entry| entry.second.is_none() || entry.second == second)
            .map(|entry| entry.text)
    }
}

/// A byte, or it lower-case and upper-case.
fn cases(byte: u8, nocase: bool) -> [u8; 2] {
    match nocase {
        true => [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()],
        false => [byte; 2],
    }
}
