//! Judges bytes that grow, with every packet that adds to them.
//!
//! Inline the packet that completes a match must not pass, so a body is judged with every packet. Going through
//! all of it each time would cost the square of its length. But what is asked here only ever asks for something
//! to be there: what holds goes on to hold whatever follows. So the conditions are taken one *link* of their
//! chain after the other. A link ends where it does not matter which of several occurrences was found: before a
//! condition that is measured from the buffer's start, and behind contents whose leftmost occurrence leaves the
//! most room to those that follow. A link that was found is settled for good; for one that was not, the new bytes
//! are searched, and as many before them as it may span.
//!
//! An expression does not say how much it spans. Every packet searches for one that begins in the last
//! [`EXPRESSION_SPAN`]; the whole is gone through as often as [`Effort`] allows, and at the message's end.
use crate::rule::buffer::{Number, Test};
use crate::rule::content::Content;

use super::chain::{self, Start, Subject, Work};
use super::effort::Effort;

/// So far back an expression that ends in new bytes is looked for in any case.
const EXPRESSION_SPAN: usize = 4 << 10;
/// Contents that may lie further apart than this are looked for as expressions are: else every packet could
/// make us search this much.
const MAX_SPAN: usize = 16 << 10;

/// How far the conditions on one growing buffer have come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Which of the buffer's instances grows.
    instance: u32,
    /// How many conditions are settled.
    settled: usize,
    /// Where the last occurrence of those ends.
    place: usize,
    /// How many bytes were gone through for the link at hand.
    seen: usize,
    judged: usize,
    effort: Effort,
}

impl Progress {
    /// How many bytes there were, of all instances, when they were judged last.
    pub(super) fn judged(&self) -> usize {
        self.judged
    }

    /// There were so many bytes when they were judged.
    pub(super) fn note_judged(&mut self, length: usize) {
        self.judged = length;
    }

    /// What is spent on going through the whole.
    pub(super) fn effort(&mut self) -> &mut Effort {
        &mut self.effort
    }

    /// The conditions on this buffer hold; what follows is about another one.
    pub(super) fn next_buffer(&mut self) {
        self.effort.begin_anew();
        *self = Self {
            effort: self.effort,
            ..Self::default()
        };
    }

    /// Whether `tests`, which [`may_settle`] allows, hold on one instance of which more came.
    ///
    /// Of several instances only the last one grows.
    pub(super) fn holds(
        &mut self,
        tests: &[Test],
        instance: u32,
        subject: Subject<'_>,
        work: &mut Work,
    ) -> bool {
        if instance < self.instance {
            return false;
        }
        if instance > self.instance {
            let judged = self.judged;
            self.next_buffer();
            (self.instance, self.judged) = (instance, judged);
        }
        while let Some(link) = Link::first(tests.get(self.settled..).unwrap_or_default()) {
            match self.find(&link, subject, work) {
                Some(end) => {
                    self.settled += link.tests.len();
                    (self.place, self.seen) = (end, 0);
                }
                None => {
                    self.seen = subject.bytes.len();
                    return false;
                }
            }
        }
        true
    }

    /// Where the link at hand is found, if it is.
    fn find(&mut self, link: &Link<'_>, subject: Subject<'_>, work: &mut Work) -> Option<usize> {
        let length = subject.bytes.len();
        let resume = match link.span {
            Some(span) => self.seen.saturating_sub(span),
            None if self.effort.is_due(length) => 0,
            None if self.effort.is_dear(length) => return None,
            None => self.seen.saturating_sub(EXPRESSION_SPAN),
        };
        let start = Start {
            place: self.place,
            resume,
        };
        let before = work.searched;
        let found = chain::first(link.tests, subject, start, work);
        let searched = (work.searched - before) as usize;
        match (link.span, resume) {
            (Some(_), _) => {}
            (None, 0) => self.effort.note(length, searched),
            // A search that goes through each byte once or twice is free, however many there are.
            (None, _) => {
                let plain = 2 * length.saturating_sub(resume);
                self.effort.spend(searched.saturating_sub(plain));
            }
        }
        found
    }
}

/// Whether these conditions can be judged link by link: all that is found stays found, and leaves nothing behind
/// that others use.
pub(super) fn may_settle(tests: &[Test]) -> bool {
    tests.iter().all(|test| match test {
        Test::Content(content) => !content.negated && !content.endswith,
        Test::Pcre(pcre) => !pcre.negated && !pcre.sees_end && pcre.captures.is_empty(),
        Test::IsDataAt { negated, .. } => !negated,
        _ => false,
    })
}

/// Conditions at the front of a chain that are found together.
struct Link<'a> {
    tests: &'a [Test],
    /// How far before the end of what was seen an occurrence may begin that more bytes make whole.
    span: Option<usize>,
}

impl<'a> Link<'a> {
    /// The first link of `tests`; `None` where there are none.
    fn first(tests: &'a [Test]) -> Option<Self> {
        let (leading, rest) = tests.split_first()?;
        let mut span = further(0, leading, true);
        let mut leftmost_serves = !matches!(leading, Test::Pcre(_));
        for (at, test) in (1..).zip(rest) {
            if !chain::depends_on_place(&tests[at..]) || leftmost_serves && lies_anywhere(test) {
                let tests = &tests[..at];
                return Some(Self { tests, span });
            }
            leftmost_serves &= !matches!(test, Test::Pcre(_));
            span = span.and_then(|span| further(span, test, false));
        }
        Some(Self { tests, span })
    }
}

/// Whether it is a content with no bound but that it comes behind the one before it.
fn lies_anywhere(test: &Test) -> bool {
    matches!(test, Test::Content(content) if content.distance.is_some() && content.within.is_none())
}

/// What conditions span, of which all before `test` span `span`; `None` if that has no bound.
fn further(span: usize, test: &Test, leads: bool) -> Option<usize> {
    let reach = match test {
        Test::Content(content) if leads => content.needle.len(),
        Test::Content(content) => reach_of(content)?,
        Test::IsDataAt {
            at: Number::Fixed(at),
            ..
        } => usize::try_from(*at).unwrap_or(0),
        _ => return None,
    };
    span.checked_add(reach).filter(|span| *span <= MAX_SPAN)
}

/// How far behind the occurrence before it a content may end.
fn reach_of(content: &Content) -> Option<usize> {
    let fixed = |number| match number {
        None => Some(0),
        Some(Number::Fixed(value)) => Some(value),
        Some(Number::Variable(_)) => None,
    };
    let within = fixed(Some(content.within?))?;
    let reach = fixed(content.distance)?.checked_add(within)?;
    usize::try_from(reach.max(0)).ok()
}

#[cfg(test)]
mod tests;
