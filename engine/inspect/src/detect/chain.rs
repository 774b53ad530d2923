//! Evaluates the conditions on one buffer.
//!
//! The conditions form a chain. Each positive content or expression that is found sets the *place*: the
//! offset just past it, from which relative conditions that follow are measured. A chain holds if there is
//! some choice of occurrences under which all its conditions hold. Occurrences are tried from left to right,
//! and an occurrence is given up for the next one only where something behind it depends on its place.
//! Work is bounded by steps and by bytes searched; past either bound the chain does not hold, and that is
//! counted.
use crate::rule::buffer::{
    Base64, ByteExtract, ByteField, ByteJump, ByteMath, ByteTest, Comparison, JumpFrom, Number,
    Operator, Test, MAX_VARIABLES,
};
use std::sync::Arc;

use crate::rule::content::Content;
use crate::rule::dataset::ReputationTest;
use crate::rule::expression::{Match, Room};
use crate::rule::pcre::{Pcre, Variable};

use super::asn1;
use super::learned::Learned;

/// Steps one evaluation may take; Suricata's `inspection-recursion-limit`.
const MAX_STEPS: u32 = 3_000;
/// Bytes one evaluation may search through, over and over.
const MAX_SEARCHED: usize = 64 << 20;

/// Most bytes of a capture that are kept; Suricata's bound.
const MAX_CAPTURE: usize = 0xffff;

/// Digits of a number in text whose count is not given; Suricata's bound.
const MAX_DIGITS: usize = 23;

/// The bytes a chain is evaluated on.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Their offset in the stream they are a part of; 0 for a whole buffer.
    pub offset: u64,
    /// Some occurrence must end past this many bytes; 0 asks nothing.
    pub beyond: usize,
    /// What `dce` stands for: numbers begin with their least significant byte.
    pub little: bool,
}

impl<'a> Subject<'a> {
    /// What of it is new.
    pub fn fresh(self) -> Self {
        let bytes = self.bytes.get(self.beyond..).unwrap_or_default();
        Self {
            bytes,
            offset: self.offset + (self.bytes.len() - bytes.len()) as u64,
            beyond: 0,
            ..self
        }
    }

    /// A whole buffer.
    pub fn whole(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            offset: 0,
            beyond: 0,
            little: false,
        }
    }

    /// What `dce` stands for in it.
    pub fn with_order(self, little: bool) -> Self {
        Self { little, ..self }
    }
}

/// What evaluation leaves behind.
#[derive(Debug, Default)]
pub struct Work {
    /// How many expressions exceeded PCRE2's limits, ever.
    pub pcre: u64,
    /// How many chains exceeded their steps, ever.
    pub steps: u64,
    /// How many bytes chains went through, ever.
    pub searched: u64,
    /// The variables of the signature at hand, shared by its buffers.
    variables: [u64; MAX_VARIABLES],
    /// What its expressions captured.
    pub(super) captured: Vec<(Variable, Vec<u8>)>,
    /// What data sets learned so far.
    learned: Arc<Learned>,
    /// Where automata keep their states.
    room: Room,
}

impl Work {
    /// Forgets what belongs to the signature before.
    pub fn begin(&mut self) {
        self.variables = [0; MAX_VARIABLES];
        self.captured.clear();
    }

    /// Looks data sets up, and changes them, there.
    pub fn learn_in(&mut self, learned: &Arc<Learned>) {
        if !Arc::ptr_eq(&self.learned, learned) {
            self.learned = learned.clone();
        }
    }

    fn capture(&mut self, variable: Variable, text: &[u8]) {
        let text = text[..text.len().min(MAX_CAPTURE)].to_vec();
        match self
            .captured
            .iter_mut()
            .find(|(known, _)| *known == variable)
        {
            Some((_, known)) => *known = text,
            None => self.captured.push((variable, text)),
        }
    }
}

/// Whether the chain `tests` holds on `subject`.
pub fn holds(tests: &[Test], subject: Subject<'_>, work: &mut Work) -> bool {
    if subject.beyond > 0 && !may_reach(tests, subject) {
        return false;
    }
    let fills = |test: &Test| matches!(test, Test::ByteExtract(_) | Test::ByteMath(_));
    let mut run = Run {
        subject,
        prune: subject.beyond == 0 && !tests.iter().any(fills),
        leading: 0,
        resume: 0,
        reached: 0,
        steps: 0,
        searched: 0,
        work,
    };
    let matched = matches!(run.follow(tests, Place::START), Outcome::Holds);
    run.account();
    matched
}

/// Where a part of a chain is taken up.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The end of the occurrence before it.
    pub place: usize,
    /// Its first condition is not found before this offset.
    pub resume: usize,
}

/// Where the first occurrence of `tests` ends that begins at `start` or behind it.
pub fn first(tests: &[Test], subject: Subject<'_>, start: Start, work: &mut Work) -> Option<usize> {
    let mut run = Run {
        subject,
        prune: true,
        leading: tests.len(),
        resume: start.resume,
        reached: 0,
        steps: 0,
        searched: 0,
        work,
    };
    let place = Place {
        end: start.place,
        ..Place::START
    };
    let matched = matches!(run.follow(tests, place), Outcome::Holds);
    run.account();
    matched.then_some(run.reached)
}

/// Whether an occurrence of one of these conditions may end past `beyond`.
fn may_reach(tests: &[Test], subject: Subject<'_>) -> bool {
    tests.iter().any(|test| match test {
        Test::Content(content) if !content.negated => {
            let from = (subject.beyond + 1).saturating_sub(content.needle.len());
            let new = subject.bytes.get(from..).unwrap_or_default();
            content.needle.find(new).is_some()
        }
        Test::Pcre(pcre) => !pcre.negated,
        _ => false,
    })
}

/// Where an evaluation stands.
#[derive(Clone, Copy)]
struct Place {
    /// Offset just past the last occurrence.
    end: usize,
    /// The furthest end of any occurrence.
    furthest: usize,
    /// Only contents led here from the buffer's start or an absolute content, so that a later occurrence of
    /// any of them leads further to the right.
    ordered: bool,
}

impl Place {
    const START: Self = Self {
        end: 0,
        furthest: 0,
        ordered: true,
    };

    fn after(self, end: usize, ordered: bool) -> Self {
        Self {
            end,
            furthest: self.furthest.max(end),
            ordered,
        }
    }
}

enum Outcome {
    /// All conditions hold.
    Holds,
    /// Not with these occurrences.
    Fails,
    /// Not with any.
    Hopeless,
}

struct Run<'a, 'l> {
    subject: Subject<'a>,
    /// A failure may rule out occurrences that were not tried: variables and `beyond` don't interfere.
    prune: bool,
    /// So many conditions are left where the one is at hand that is not to be found before `resume`.
    leading: usize,
    resume: usize,
    /// Where the last occurrence ended once all conditions held.
    reached: usize,
    steps: u32,
    searched: usize,
    work: &'l mut Work,
}

impl<'a> Run<'a, '_> {
    fn exhausted(&self) -> bool {
        self.steps > MAX_STEPS || self.searched > MAX_SEARCHED
    }

    /// Adds up what was done.
    fn account(&mut self) {
        self.work.searched += self.searched as u64;
        self.work.steps += u64::from(self.exhausted());
    }

    /// The offset before which a condition is not found, with `rest` behind it.
    fn not_before(&self, rest: &[Test]) -> usize {
        match rest.len() + 1 == self.leading {
            true => self.resume,
            false => 0,
        }
    }

    fn follow(&mut self, tests: &[Test], place: Place) -> Outcome {
        let Some((test, rest)) = tests.split_first() else {
            self.reached = place.end;
            let reached = self.subject.beyond == 0 || place.furthest > self.subject.beyond;
            return if reached {
                Outcome::Holds
            } else {
                Outcome::Fails
            };
        };
        self.steps += 1;
        if self.exhausted() {
            return Outcome::Hopeless;
        }
        match test {
            Test::Content(content) if content.negated => {
                let window = self.window(content, place);
                match window.and_then(|(low, high)| self.find(content, low, high)) {
                    Some(_) => Outcome::Fails,
                    None => self.follow(rest, place),
                }
            }
            Test::Content(content) => self.occurrences(content, rest, place),
            Test::Pcre(pcre) => self.expression(pcre, rest, place),
            other => match self.plain(other, place) {
                Some(place) => self.follow(rest, place),
                None => Outcome::Fails,
            },
        }
    }

    /// Tries the occurrences of a content, with what follows it.
    fn occurrences(&mut self, content: &Content, rest: &[Test], place: Place) -> Outcome {
        let ordered = place.ordered || !content.is_relative();
        let Some((mut low, high)) = self.window(content, place) else {
            return Outcome::Fails;
        };
        low = low.max(self.not_before(rest));
        let matters = depends_on_place(rest);
        let mut found_one = false;
        while let Some(start) = self.find(content, low, high) {
            found_one = true;
            let end = start + content.needle.len();
            match self.follow(rest, place.after(end, ordered)) {
                Outcome::Holds => return Outcome::Holds,
                Outcome::Hopeless => return Outcome::Hopeless,
                // What follows doesn't care where this was found, so it fails whatever was found before.
                Outcome::Fails if !matters && self.prune => return Outcome::Hopeless,
                Outcome::Fails => low = start + 1,
            }
        }
        // A search up to the buffer's end failed from here; from further right it fails as well.
        let unbounded = content.within.is_none() && !content.endswith;
        let rules_out = if content.is_relative() {
            ordered && unbounded
        } else {
            !found_one
        };
        if rules_out && self.prune {
            return Outcome::Hopeless;
        }
        Outcome::Fails
    }

    /// Where a content may lie; `None` where there is no such place.
    fn window(&self, content: &Content, place: Place) -> Option<(usize, usize)> {
        let length = self.subject.bytes.len() as i64;
        let (low, high) = if content.is_relative() {
            let end = place.end as i64;
            let distance = content.distance.map_or(0, |number| self.number(number));
            let from = end.saturating_add(distance);
            let to = content
                .within
                .map_or(length, |within| from.saturating_add(self.number(within)));
            (from, to)
        } else {
            // Of a stream, `depth` counts from its beginning, `offset` from that of what is shown: so Suricata has it.
            let base = i64::try_from(self.subject.offset).unwrap_or(i64::MAX);
            let from = content.offset.map_or(0, |number| self.number(number));
            let depth = match (content.startswith, content.depth) {
                (true, _) => Some(content.needle.len() as i64),
                (false, depth) => depth.map(|number| self.number(number)),
            };
            let to = depth.map_or(length, |depth| {
                from.saturating_add(depth).saturating_sub(base)
            });
            (from, to)
        };
        let (low, high) = (low.max(0), high.min(length));
        (low <= high).then_some((low as usize, high as usize))
    }

    /// Start of the first occurrence of a content that lies within `low..high`.
    fn find(&mut self, content: &Content, low: usize, high: usize) -> Option<usize> {
        let bytes = self.subject.bytes;
        if content.endswith {
            let start = bytes.len().checked_sub(content.needle.len())?;
            let fits =
                high == bytes.len() && start >= low && content.needle.equals(&bytes[start..]);
            return fits.then_some(start);
        }
        let found = content.needle.find(bytes.get(low..high)?);
        self.searched = self
            .searched
            .saturating_add(found.map_or(high - low, |at| at + 1));
        found.map(|at| low + at)
    }

    /// Tries the matches of an expression, with what follows it.
    fn expression(&mut self, pcre: &Pcre, rest: &[Test], place: Place) -> Outcome {
        let base = if pcre.relative {
            place.end.min(self.subject.bytes.len())
        } else {
            0
        };
        let subject = &self.subject.bytes[base..];
        if pcre.negated {
            return match self.match_at(pcre, subject, 0) {
                Ok(None) => self.follow(rest, place),
                Ok(Some(_)) | Err(()) => Outcome::Fails,
            };
        }
        let matters = depends_on_place(rest) || !self.prune;
        let from = self
            .not_before(rest)
            .saturating_sub(base)
            .min(subject.len());
        let mut matched = self.match_at(pcre, subject, from);
        if matches!(matched, Ok(None)) && self.prune && place.ordered && pcre.slides {
            // Nor is it in what is left behind a later occurrence of what stands before it.
            return Outcome::Hopeless;
        }
        while let Ok(Some(found)) = matched {
            match self.follow(rest, place.after(base + found.end, false)) {
                Outcome::Holds => {
                    self.captures(pcre, subject, found);
                    return Outcome::Holds;
                }
                Outcome::Hopeless => return Outcome::Hopeless,
                Outcome::Fails if !matters => return Outcome::Hopeless,
                Outcome::Fails if found.start == subject.len() => break,
                Outcome::Fails => matched = self.match_at(pcre, subject, found.start + 1),
            }
        }
        Outcome::Fails
    }

    /// The first match at or past `from`. Errors: a limit was hit, which is counted.
    fn match_at(&mut self, pcre: &Pcre, subject: &[u8], from: usize) -> Result<Option<Match>, ()> {
        let room = &mut self.work.room;
        let outcome = pcre.expression.find_at(subject, from, room);
        self.searched = self.searched.saturating_add(outcome.bytes);
        outcome.found.map_err(|_| self.work.pcre += 1)
    }

    /// Keeps what the groups of a match captured.
    fn captures(&mut self, pcre: &Pcre, subject: &[u8], found: Match) {
        if pcre.captures.is_empty() {
            return;
        }
        let Some(places) = pcre.expression.groups(subject, found) else {
            return;
        };
        for (group, variable) in &pcre.captures {
            if let Some((start, end)) = places.get(*group) {
                self.work.capture(*variable, &subject[start..end]);
            }
        }
    }

    /// A condition that holds in one way at most: the place after it.
    fn plain(&mut self, test: &Test, place: Place) -> Option<Place> {
        match test {
            Test::IsDataAt {
                at,
                relative,
                negated,
            } => {
                let at = self.number(*at);
                let length = self.subject.bytes.len() as i64;
                let there = match relative {
                    true => (place.end as i64).saturating_add(at) <= length,
                    false => at < length,
                };
                (there != *negated).then_some(place)
            }
            Test::Size(range) => range
                .holds(self.subject.bytes.len() as u64)
                .then_some(place),
            Test::ByteTest(test) => self.byte_test(test, place).then_some(place),
            Test::ByteJump(jump) => self.byte_jump(jump, place),
            Test::ByteExtract(extract) => self.byte_extract(extract, place),
            Test::ByteMath(math) => self.byte_math(math, place),
            Test::Dataset(test) => {
                let bytes = self.subject.bytes;
                self.work.learned.holds(test, bytes).then_some(place)
            }
            Test::Reputation(test) => self.has_reputation(test).then_some(place),
            Test::Base64(base64) => self.base64(base64, place).then_some(place),
            Test::Asn1(asn1) => {
                let base = if asn1.relative { place.end as i64 } else { 0 };
                let from = usize::try_from(base.saturating_add(asn1.offset)).ok()?;
                let bytes = self.subject.bytes.get(from..)?;
                self.searched = self.searched.saturating_add(bytes.len());
                asn1::holds(asn1, bytes).then_some(place)
            }
            Test::Content(_) | Test::Pcre(_) => None,
        }
    }

    fn has_reputation(&self, test: &ReputationTest) -> bool {
        let mut room = Vec::new();
        let key = test.set.kind.key(self.subject.bytes, &mut room);
        let found = key.and_then(|key| test.set.get(key));
        found.is_some_and(|found| found.cmp(&test.with) == test.comparison)
    }

    fn number(&self, number: Number) -> i64 {
        match number {
            Number::Fixed(fixed) => fixed,
            Number::Variable(at) => self.work.variables[usize::from(at)] as i64,
        }
    }

    /// The number that stands in a field, and the offset just past it.
    fn read(&self, field: &ByteField, place: Place) -> Option<(u64, usize)> {
        let base = if field.relative { place.end as i64 } else { 0 };
        let start = usize::try_from(base.checked_add(self.number(field.offset))?).ok()?;
        let count = usize::try_from(self.number(field.count)).ok()?;
        let bytes = self.subject.bytes.get(start..)?;
        let (value, taken) = match field.text_base {
            Some(base) if count == 0 => digits(&bytes[..bytes.len().min(MAX_DIGITS)], base)?,
            Some(base) => digits(bytes.get(..count)?, base)?,
            None if count > 8 => return None,
            None => {
                let bytes = bytes.get(..count)?;
                let join = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
                let value = match field.little || field.dce && self.subject.little {
                    true => bytes.iter().rev().fold(0, join),
                    false => bytes.iter().fold(0, join),
                };
                (value, count)
            }
        };
        Some((value, start + taken))
    }

    fn byte_test(&self, test: &ByteTest, place: Place) -> bool {
        if is_empty(&test.field) {
            return false;
        }
        let Some((found, _)) = self.read(&test.field, place) else {
            return false;
        };
        let found = masked(found, test.field.bitmask);
        let value = match test.value {
            Number::Fixed(fixed) => fixed as u64,
            Number::Variable(at) => self.work.variables[usize::from(at)],
        };
        let holds = match test.comparison {
            Comparison::Less => found < value,
            Comparison::LessOrEqual => found <= value,
            Comparison::Greater => found > value,
            Comparison::GreaterOrEqual => found >= value,
            Comparison::Equal => found == value,
            Comparison::And => found & value != 0,
            Comparison::Xor => found ^ value != 0,
        };
        holds != test.negated
    }

    fn byte_jump(&self, jump: &ByteJump, place: Place) -> Option<Place> {
        let (value, after) = self.read(&jump.field, place)?;
        let mut value = value.wrapping_mul(jump.multiplier);
        if jump.align {
            value = value.wrapping_add(value.wrapping_neg() % 4);
        }
        let length = self.subject.bytes.len();
        let from = match jump.from {
            JumpFrom::Here => after,
            JumpFrom::Beginning => 0,
            JumpFrom::End => length,
        };
        // A number below zero, read as text, leads backwards.
        let target = (value as i64).checked_add(self.number(jump.post_offset))?;
        // Before the beginning is at the beginning.
        let target = (from as i64).checked_add(target)?.max(0) as usize;
        (target <= length).then_some(Place {
            end: target,
            ordered: false,
            ..place
        })
    }

    fn byte_extract(&mut self, extract: &ByteExtract, place: Place) -> Option<Place> {
        if is_empty(&extract.field) {
            return None;
        }
        let (value, after) = self.read(&extract.field, place)?;
        let value = value.checked_mul(extract.multiplier)?;
        let value = value.checked_next_multiple_of(extract.align.max(1))?;
        self.work.variables[usize::from(extract.variable)] = value;
        Some(Place {
            end: after,
            ordered: false,
            ..place
        })
    }

    fn byte_math(&mut self, math: &ByteMath, place: Place) -> Option<Place> {
        let (found, after) = self.read(&math.field, place)?;
        let value = self.number(math.value) as u64;
        let outcome = match math.operator {
            Operator::Add => found.wrapping_add(value),
            Operator::Subtract => found.wrapping_sub(value),
            Operator::Multiply => found.wrapping_mul(value),
            Operator::Divide => found.checked_div(value)?,
            Operator::Left => found.checked_shl(u32::try_from(value).ok()?)?,
            Operator::Right => found.checked_shr(u32::try_from(value).ok()?)?,
        };
        self.work.variables[usize::from(math.variable)] = masked(outcome, math.field.bitmask);
        Some(Place {
            end: after,
            ordered: false,
            ..place
        })
    }

    fn base64(&mut self, base64: &Base64, place: Place) -> bool {
        let base = if base64.relative { place.end } else { 0 };
        let start = base.saturating_add(base64.offset as usize);
        let Some(encoded) = self.subject.bytes.get(start..) else {
            return false;
        };
        let most = base64.bytes.map_or(encoded.len(), |bytes| bytes as usize);
        let encoded = &encoded[..encoded.len().min(most)];
        let decoded = decode_base64(encoded);
        self.searched = self.searched.saturating_add(decoded.len());
        !decoded.is_empty() && holds(&base64.tests, Subject::whole(&decoded), self.work)
    }
}

/// Whether the outcome of these conditions depends on where the one before them was found.
pub(super) fn depends_on_place(rest: &[Test]) -> bool {
    for test in rest {
        let (relative, sets_place) = match test {
            Test::Content(content) => (content.is_relative(), !content.negated),
            Test::Pcre(pcre) => (pcre.relative, !pcre.negated),
            Test::IsDataAt { relative, .. } => (*relative, false),
            Test::Size(_) | Test::Dataset(_) | Test::Reputation(_) => (false, false),
            Test::ByteTest(test) => (test.field.relative, false),
            Test::ByteJump(jump) => (jump.field.relative, true),
            Test::ByteExtract(extract) => (extract.field.relative, true),
            Test::ByteMath(math) => (math.field.relative, true),
            Test::Base64(base64) => (base64.relative, false),
            Test::Asn1(asn1) => (asn1.relative, false),
        };
        if relative {
            return true;
        }
        if sets_place {
            return false;
        }
    }
    false
}

/// The bits of a number that a mask leaves, shifted down by the mask's empty ones.
fn masked(value: u64, mask: Option<u64>) -> u64 {
    let bits = |mask: u64| (value & mask).checked_shr(mask.trailing_zeros());
    mask.map_or(value, |mask| bits(mask).unwrap_or(0))
}

/// Whether a field has no bytes, and is not digits of any number.
fn is_empty(field: &ByteField) -> bool {
    field.count == Number::Fixed(0) && field.text_base.is_none()
}

/// The number at the start of `text`, as C's `strtoull` reads it, and how many bytes it takes: a minus makes it what is
/// left to the greatest one, which is how an overflow looks.
fn digits(text: &[u8], base: u32) -> Option<(u64, usize)> {
    let is_blank = |byte: &&u8| byte.is_ascii_whitespace() || **byte == 0x0b;
    let blank = text.iter().take_while(is_blank).count();
    let sign = text.get(blank).filter(|byte| b"+-".contains(byte));
    let body = &text[blank + usize::from(sign.is_some())..];
    let hexadecimal =
        body.len() > 2 && body[0] == b'0' && body[1] | 0x20 == b'x' && body[2].is_ascii_hexdigit();
    let (base, prefix) = match base {
        0 | 16 if hexadecimal => (16, 2),
        0 if body.first() == Some(&b'0') => (8, 0),
        0 => (10, 0),
        base => (base, 0),
    };
    let mut value = 0u64;
    let mut rest = &body[prefix..];
    while let Some(digit) = rest.first().and_then(|byte| (*byte as char).to_digit(base)) {
        value = value.checked_mul(base.into())?.checked_add(digit.into())?;
        rest = &rest[1..];
    }
    if sign == Some(&b'-') {
        value = value.wrapping_neg();
    }
    (rest.len() < body.len() - prefix).then_some((value, text.len() - rest.len()))
}

/// What the base64 at the start of `text` says, up to a byte that is none. A `=` takes a byte from its four digits,
/// wherever it stands, and ends nothing; a digit left alone before a byte that is none says one all the same.
/// Source: Suricata's decoder (RFC 4648 mode).
fn decode_base64(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut bits, mut count, mut pads) = (0u32, 0usize, 0usize);
    let mut put = |bits: u32, bytes: usize| out.extend_from_slice(&bits.to_be_bytes()[1..=bytes]);
    let mut least = 1;
    for byte in text {
        let Some(digit) = base64_digit(*byte) else {
            least = 2;
            break;
        };
        pads += usize::from(digit.is_none());
        bits = bits << 6 | u32::from(digit.unwrap_or(0));
        count += 1;
        if count == 4 {
            put(bits, 3usize.saturating_sub(pads));
            (bits, count, pads) = (0, 0, 0);
        }
    }
    if count > 0 {
        put(bits << (6 * (4 - count)), count.max(least) - 1);
    }
    out
}

/// What a digit of base64 stands for; `Some(None)` for `=`, `None` for a byte that is none.
fn base64_digit(byte: u8) -> Option<Option<u8>> {
    Some(match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        b'=' => None,
        _ => return None,
    })
}

#[cfg(test)]
mod forms;
#[cfg(test)]
mod tests;
