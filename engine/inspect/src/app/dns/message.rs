//! One message: where its parts stand.
use std::ops::Range;

use smallvec::SmallVec;

use super::name::{self, Budget, Malformed, Oddities};

/// Bytes of the header.
pub const HEADER_BYTES: usize = 12;
/// Most bytes of all the names that a message asks for; a message with more is malformed.
///
/// Honest ones ask for one. Without it 13,000 questions of 5 bytes could stand for 13 MB.
const MAX_QUESTION_BYTES: usize = 1 << 16;

/// Record types whose data is more than bytes.
pub mod rrtype {
    #![allow(missing_docs)]
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const NULL: u16 = 10;
    pub const PTR: u16 = 12;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const SSHFP: u16 = 44;
}

/// A message's first twelve bytes. Source: RFC 1035, 4.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Chosen by who asks.
    pub id: u16,
    /// QR, opcode, AA, TC, RD, RA, Z, AD, CD, response code.
    pub flags: u16,
    /// Questions, answers, authorities, additional records.
    pub counts: [u16; 4],
}

impl Header {
    /// The header of `message`, if it is that long.
    pub fn read(message: &[u8]) -> Option<Self> {
        let word = |at| word(message, at);
        Some(Self {
            id: word(0)?,
            flags: word(2)?,
            counts: [word(4)?, word(6)?, word(8)?, word(10)?],
        })
    }

    /// Whether it is an answer.
    pub fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    /// What is asked for: 0 a query, 4 notify, 5 update, …
    pub fn opcode(&self) -> u8 {
        (self.flags >> 11) as u8 & 0xf
    }

    /// The bit that must be zero.
    pub fn z(&self) -> bool {
        self.flags & 0x0040 != 0
    }

    /// Whether a message of `len` bytes can hold what the header counts, at two bytes each.
    pub fn fits(&self, len: usize) -> bool {
        let parts: usize = self.counts.iter().map(|count| usize::from(*count)).sum();
        HEADER_BYTES + 2 * parts <= len
    }
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name, labels joined by dots; empty for the root.
    pub name: Vec<u8>,
    /// The name was cut.
    pub truncated: bool,
    /// Type.
    pub rrtype: u16,
    /// Class; 1 is the Internet.
    pub class: u16,
}

/// A name put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name {
    /// Labels joined by dots.
    pub bytes: Vec<u8>,
    /// It was cut.
    pub truncated: bool,
}

/// One resource record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where its name stands.
    pub name: usize,
    /// Type.
    pub rrtype: u16,
    /// Seconds.
    pub ttl: u32,
    /// Where its data stands.
    pub data: Range<usize>,
}

/// A message that could be read.
#[derive(Clone, Debug)]
pub struct Message {
    /// As sent.
    pub bytes: Vec<u8>,
    /// Header.
    pub header: Header,
    /// Questions.
    pub questions: SmallVec<[Question; 1]>,
    /// Answers.
    pub answers: Vec<Record>,
    /// Records of the servers that know.
    pub authorities: Vec<Record>,
    /// What is odd about its names.
    pub odd: Oddities,
}

impl Message {
    /// Reads a message as far as Suricata does: the questions, and of an answer its answers and authorities.
    ///
    /// Errors: one of those is cut short or contradicts itself, or its names cost more than [`Budget`].
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let header = Header::read(bytes).ok_or(Malformed)?;
        let mut cursor = Cursor::new(bytes);
        let questions = cursor.questions(header.counts[0])?;
        let (mut answers, mut authorities) = (Vec::new(), Vec::new());
        if header.is_response() {
            answers = cursor.records(header.counts[1])?;
            authorities = cursor.records(header.counts[2])?;
        }
        Ok(Self {
            header,
            questions,
            answers,
            authorities,
            odd: cursor.budget.odd,
            bytes: bytes.to_vec(),
        })
    }

    /// Whether a message's header and questions can be read.
    pub fn begins(bytes: &[u8]) -> bool {
        Header::read(bytes).is_some_and(|header| {
            header.fits(bytes.len()) && Cursor::new(bytes).questions(header.counts[0]).is_ok()
        })
    }

    /// Whether all four sections can be read, and nothing follows them.
    pub fn is_whole(bytes: &[u8]) -> bool {
        let mut cursor = Cursor::new(bytes);
        Header::read(bytes).is_some_and(|header| {
            let [questions, sections @ ..] = header.counts;
            cursor.questions(questions).is_ok()
                && sections.iter().all(|count| cursor.skip(*count).is_ok())
                && cursor.at == bytes.len()
        })
    }

    /// The name at `at`, whose own labels end at `end`; empty where there is none.
    pub fn name(&self, at: usize, end: usize) -> Name {
        self.name_and_end(at, end)
            .map_or_else(Name::default, |(name, _)| name)
    }

    /// The name at `at`, whose own labels end at `end`, and the offset just past it.
    pub fn name_and_end(&self, at: usize, end: usize) -> Option<(Name, usize)> {
        let mut bytes = Vec::new();
        let (next, odd) =
            name::read(&self.bytes, at, end, &mut Budget::default(), &mut bytes).ok()?;
        let truncated = odd.truncated;
        Some((Name { bytes, truncated }, next))
    }

    /// Bytes of heap held.
    pub fn heap_bytes(&self) -> usize {
        let names: usize = self.questions.iter().map(|it| it.name.capacity()).sum();
        let records = self.answers.capacity() + self.authorities.capacity();
        self.bytes.capacity() + names + records * size_of::<Record>()
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    budget: Budget,
    scratch: Vec<u8>,
}

impl<'a> Cursor<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: HEADER_BYTES,
            budget: Budget::default(),
            scratch: Vec::new(),
        }
    }

    fn questions(&mut self, count: u16) -> Result<SmallVec<[Question; 1]>, Malformed> {
        let mut questions = SmallVec::new();
        let mut held = 0;
        for _ in 0..count {
            let mut name = Vec::new();
            let (next, odd) =
                name::read(self.bytes, self.at, usize::MAX, &mut self.budget, &mut name)?;
            self.at = next;
            held += name.len();
            if held > MAX_QUESTION_BYTES {
                return Err(Malformed);
            }
            let (rrtype, class) = (self.word()?, self.word()?);
            questions.push(Question {
                name,
                truncated: odd.truncated,
                rrtype,
                class,
            });
        }
        Ok(questions)
    }

    fn records(&mut self, count: u16) -> Result<Vec<Record>, Malformed> {
        let mut records = Vec::new();
        for _ in 0..count {
            let record = self.record()?;
            self.check(record.rrtype, record.data.clone())?;
            records.push(record);
        }
        Ok(records)
    }

    fn skip(&mut self, count: u16) -> Result<(), Malformed> {
        (0..count).try_for_each(|_| self.record().map(|_| ()))
    }

    fn record(&mut self) -> Result<Record, Malformed> {
        let name = self.at;
        self.at = self.skip_name(name, usize::MAX)?;
        let rrtype = self.word()?;
        self.word()?;
        let ttl = u32::from(self.word()?) << 16 | u32::from(self.word()?);
        let start = self.at + 2;
        let end = start + usize::from(self.word()?);
        if end > self.bytes.len() {
            return Err(Malformed);
        }
        self.at = end;
        Ok(Record {
            name,
            rrtype,
            ttl,
            data: start..end,
        })
    }

    /// Whether a record's data is what its type promises. Source: RFC 1035, 3.3; RFC 2782; RFC 4255.
    fn check(&mut self, kind: u16, data: Range<usize>) -> Result<(), Malformed> {
        let need = |bytes: usize| {
            if data.len() >= bytes {
                Ok(())
            } else {
                Err(Malformed)
            }
        };
        match kind {
            _ if data.is_empty() => Err(Malformed),
            rrtype::NS | rrtype::CNAME | rrtype::PTR => {
                self.skip_name(data.start, data.end).map(|_| ())
            }
            rrtype::MX => {
                need(2)?;
                self.skip_name(data.start + 2, data.end).map(|_| ())
            }
            rrtype::SRV => {
                need(6)?;
                self.skip_name(data.start + 6, data.end).map(|_| ())
            }
            rrtype::SOA => {
                let next = self.skip_name(data.start, data.end)?;
                let next = self.skip_name(next, data.end)?;
                match data.end.checked_sub(next) {
                    Some(20..) => Ok(()),
                    _ => Err(Malformed),
                }
            }
            rrtype::TXT => need(1 + usize::from(self.bytes[data.start])),
            rrtype::SSHFP => need(2),
            _ => Ok(()),
        }
    }

    fn skip_name(&mut self, at: usize, end: usize) -> Result<usize, Malformed> {
        self.scratch.clear();
        name::read(self.bytes, at, end, &mut self.budget, &mut self.scratch).map(|(next, _)| next)
    }

    fn word(&mut self) -> Result<u16, Malformed> {
        let word = word(self.bytes, self.at).ok_or(Malformed)?;
        self.at += 2;
        Ok(word)
    }
}

/// The number in the two bytes at `at`.
pub fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}
