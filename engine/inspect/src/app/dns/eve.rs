//! Messages as EVE shows them, version 2: questions one by one, answers in detail and grouped by type.
use std::fmt;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::message::{rrtype, word, Message, Name, Question, Record};
use super::words::{code_name, type_name};
use super::Transaction;
use crate::event::{AsText, Text};
use crate::Direction;

/// The version of the format that records say they have.
const VERSION: u8 = 2;

/// The object inside an alert.
pub struct Alert<'a>(pub &'a Transaction);

impl Serialize for Alert<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("version", &VERSION)?;
        match self.0.direction {
            _ if !self.0.message.questions.iter().any(is_named) => {}
            Direction::ToServer => map.serialize_entry("query", &Queries(self.0))?,
            Direction::ToClient => {
                map.serialize_entry("answer", &Answer::brief(&self.0.message))?
            }
        }
        map.end()
    }
}

/// Whether alerts show what asks for this type: not where it has no name.
fn is_named(question: &Question) -> bool {
    type_name(question.rrtype).is_some()
}

struct Queries<'a>(&'a Transaction);

impl Serialize for Queries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Suricata stops at the first that it does not show.
        let shown = self
            .0
            .message
            .questions
            .iter()
            .take_while(|it| is_named(it));
        serializer.collect_seq(shown.map(|question| Query {
            transaction: self.0,
            question,
            versioned: false,
        }))
    }
}

/// One question.
pub struct Query<'a> {
    transaction: &'a Transaction,
    question: &'a Question,
    versioned: bool,
}

impl<'a> Query<'a> {
    /// A record of its own.
    pub fn versioned(transaction: &'a Transaction, index: usize) -> Option<Self> {
        Some(Self {
            transaction,
            question: transaction.message.questions.get(index)?,
            versioned: true,
        })
    }
}

impl Serialize for Query<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use crate::app::Transaction as _;
        let header = &self.transaction.message.header;
        let mut map = serializer.serialize_map(None)?;
        if self.versioned {
            map.serialize_entry("version", &VERSION)?;
        }
        map.serialize_entry("type", "query")?;
        map.serialize_entry("id", &header.id)?;
        map.serialize_entry("rrname", &Text(&self.question.name))?;
        if self.question.truncated {
            map.serialize_entry("rrname_truncated", &true)?;
        }
        map.serialize_entry("rrtype", &AsText(Type(self.question.rrtype)))?;
        map.serialize_entry("tx_id", &self.transaction.head().id)?;
        if header.z() {
            map.serialize_entry("z", &true)?;
        }
        map.serialize_entry("opcode", &header.opcode())?;
        map.end()
    }
}

/// An answer.
pub struct Answer<'a> {
    message: &'a Message,
    /// With its answers one by one.
    whole: bool,
}

impl<'a> Answer<'a> {
    /// As a record of its own shows it.
    pub fn whole(message: &'a Message) -> Self {
        Self {
            message,
            whole: true,
        }
    }

    /// As alerts show it.
    fn brief(message: &'a Message) -> Self {
        Self {
            message,
            whole: false,
        }
    }
}

impl Serialize for Answer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { message, whole } = *self;
        let flags = message.header.flags;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("version", &VERSION)?;
        map.serialize_entry("type", "answer")?;
        map.serialize_entry("id", &message.header.id)?;
        map.serialize_entry("flags", &AsText(format_args!("{flags:x}")))?;
        let bits = [
            (0x8000, "qr"),
            (0x0400, "aa"),
            (0x0200, "tc"),
            (0x0100, "rd"),
            (0x0080, "ra"),
            (0x0040, "z"),
        ];
        for (_, name) in bits.iter().filter(|(bit, _)| flags & bit != 0) {
            map.serialize_entry(name, &true)?;
        }
        map.serialize_entry("opcode", &message.header.opcode())?;
        if let Some(question) = message.questions.first() {
            map.serialize_entry("rrname", &Text(&question.name))?;
            if question.truncated {
                map.serialize_entry("rrname_truncated", &true)?;
            }
            map.serialize_entry("rrtype", &AsText(Type(question.rrtype)))?;
        }
        map.serialize_entry("rcode", &AsText(Code(flags)))?;
        if whole && !message.answers.is_empty() {
            map.serialize_entry("answers", &Details(message, &message.answers))?;
            map.serialize_entry("grouped", &Grouped(message))?;
        }
        if !message.authorities.is_empty() {
            map.serialize_entry("authorities", &Details(message, &message.authorities))?;
        }
        map.end()
    }
}

/// Records in detail.
struct Details<'a>(&'a Message, &'a [Record]);

impl Serialize for Details<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(message, records) = *self;
        let mut seq = serializer.serialize_seq(None)?;
        for record in records {
            for data in Data::all(message, record) {
                seq.serialize_element(&Detail {
                    message,
                    record,
                    data: &data,
                })?;
            }
        }
        seq.end()
    }
}

struct Detail<'a> {
    message: &'a Message,
    record: &'a Record,
    data: &'a Data<'a>,
}

impl Serialize for Detail<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = self.message.name(self.record.name, usize::MAX);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("rrname", &Text(&name.bytes))?;
        if name.truncated {
            map.serialize_entry("rrname_truncated", &true)?;
        }
        map.serialize_entry("rrtype", &AsText(Type(self.record.rrtype)))?;
        map.serialize_entry("ttl", &self.record.ttl)?;
        if let Some(key) = self.data.key() {
            map.serialize_entry(key, self.data)?;
        }
        if matches!(self.data, Data::Name(name) if name.truncated) {
            map.serialize_entry("rdata_truncated", &true)?;
        }
        map.end()
    }
}

/// Answers by their type, in the order in which the types first come.
struct Grouped<'a>(&'a Message);

impl Serialize for Grouped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut kinds = smallvec::SmallVec::<[u16; 8]>::new();
        for record in &self.0.answers {
            if Data::is_grouped(record.rrtype) && !kinds.contains(&record.rrtype) {
                kinds.push(record.rrtype);
            }
        }
        let mut map = serializer.serialize_map(None)?;
        for kind in kinds {
            map.serialize_entry(&AsText(Type(kind)), &Group(self.0, kind))?;
        }
        map.end()
    }
}

struct Group<'a>(&'a Message, u16);

impl Serialize for Group<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(message, kind) = *self;
        let records = message.answers.iter().filter(|it| it.rrtype == kind);
        serializer.collect_seq(records.flat_map(|record| Data::all(message, record)))
    }
}

/// A record's data.
enum Data<'a> {
    Address(&'a [u8]),
    Name(Name),
    Bytes(&'a [u8]),
    Soa(Soa),
    Srv(Srv),
    Sshfp(Sshfp<'a>),
    /// Not shown.
    Other,
}

impl<'a> Data<'a> {
    /// Whether answers of that type are shown grouped.
    fn is_grouped(kind: u16) -> bool {
        use rrtype::*;
        [A, NS, CNAME, SOA, NULL, PTR, MX, TXT, AAAA, SRV, SSHFP].contains(&kind)
    }

    /// A record's data: one for each string of a TXT record, else one.
    fn all(message: &'a Message, record: &Record) -> impl Iterator<Item = Data<'a>> {
        let data = message.bytes.get(record.data.clone()).unwrap_or_default();
        let strings = (record.rrtype == rrtype::TXT).then(|| strings(data).map(Data::Bytes));
        let single = match strings {
            Some(_) => None,
            None => Some(Self::one(message, record, data)),
        };
        strings.into_iter().flatten().chain(single)
    }

    fn one(message: &'a Message, record: &Record, data: &'a [u8]) -> Self {
        let (start, end) = (record.data.start, record.data.end);
        match record.rrtype {
            rrtype::A | rrtype::AAAA => Self::Address(data),
            rrtype::NS | rrtype::CNAME | rrtype::PTR => Self::Name(message.name(start, end)),
            rrtype::MX => Self::Name(message.name(start + 2, end)),
            rrtype::NULL => Self::Bytes(data),
            rrtype::SOA => Soa::read(message, start, end).map_or(Self::Other, Self::Soa),
            rrtype::SRV => Srv::read(message, start, end).map_or(Self::Other, Self::Srv),
            rrtype::SSHFP => match data {
                [algo, kind, fingerprint @ ..] => Self::Sshfp(Sshfp {
                    fingerprint: AsText(Fingerprint(fingerprint)),
                    algo: *algo,
                    kind: *kind,
                }),
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }

    fn key(&self) -> Option<&'static str> {
        match self {
            Self::Address(_) | Self::Name(_) | Self::Bytes(_) => Some("rdata"),
            Self::Soa(_) => Some("soa"),
            Self::Srv(_) => Some("srv"),
            Self::Sshfp(_) => Some("sshfp"),
            Self::Other => None,
        }
    }
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Address(bytes) => AsText(Address(bytes)).serialize(serializer),
            Self::Name(name) => Text(&name.bytes).serialize(serializer),
            Self::Bytes(bytes) => Text(bytes).serialize(serializer),
            Self::Soa(soa) => soa.serialize(serializer),
            Self::Srv(srv) => srv.serialize(serializer),
            Self::Sshfp(sshfp) => sshfp.serialize(serializer),
            Self::Other => serializer.serialize_unit(),
        }
    }
}

/// The strings of a TXT record, up to one that is cut short.
fn strings(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first()?;
        let (string, behind) = behind.split_at_checked(usize::from(*length))?;
        rest = behind;
        Some(string)
    })
}

struct Soa {
    names: [Name; 2],
    numbers: [u32; 5],
}

impl Soa {
    fn read(message: &Message, start: usize, end: usize) -> Option<Self> {
        let (mname, next) = message.name_and_end(start, end)?;
        let (rname, next) = message.name_and_end(next, end)?;
        let mut numbers = [0; 5];
        for (number, at) in numbers.iter_mut().zip((next..).step_by(4)) {
            let (high, low) = (word(&message.bytes, at)?, word(&message.bytes, at + 2)?);
            *number = u32::from(high) << 16 | u32::from(low);
        }
        Some(Self {
            names: [mname, rname],
            numbers,
        })
    }
}

impl Serialize for Soa {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const NAMES: [(&str, &str); 2] =
            [("mname", "mname_truncated"), ("rname", "rname_truncated")];
        const NUMBERS: [&str; 5] = ["serial", "refresh", "retry", "expire", "minimum"];
        let mut map = serializer.serialize_map(None)?;
        for (name, (key, truncated)) in self.names.iter().zip(NAMES) {
            map.serialize_entry(key, &Text(&name.bytes))?;
            if name.truncated {
                map.serialize_entry(truncated, &true)?;
            }
        }
        for (number, key) in self.numbers.iter().zip(NUMBERS) {
            map.serialize_entry(key, number)?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Srv {
    priority: u16,
    weight: u16,
    port: u16,
    name: Target,
}

impl Srv {
    fn read(message: &Message, start: usize, end: usize) -> Option<Self> {
        Some(Self {
            priority: word(&message.bytes, start)?,
            weight: word(&message.bytes, start + 2)?,
            port: word(&message.bytes, start + 4)?,
            name: Target(message.name(start + 6, end)),
        })
    }
}

#[derive(Serialize)]
struct Sshfp<'a> {
    fingerprint: AsText<Fingerprint<'a>>,
    algo: u8,
    #[serde(rename = "type")]
    kind: u8,
}

/// A name of which is not said that it was cut.
struct Target(Name);

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Text(&self.0.bytes).serialize(serializer)
    }
}

struct Fingerprint<'a>(&'a [u8]);

impl fmt::Display for Fingerprint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let colon = if at > 0 { ":" } else { "" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

/// An address as Suricata writes it: IPv6 in full; other lengths not at all.
struct Address<'a>(&'a [u8]);

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [a, b, c, d] => write!(f, "{a}.{b}.{c}.{d}"),
            bytes if bytes.len() == 16 => {
                for (at, pair) in bytes.chunks_exact(2).enumerate() {
                    let colon = if at > 0 { ":" } else { "" };
                    write!(f, "{colon}{:02x}{:02x}", pair[0], pair[1])?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A record type: its name, or its number.
struct Type(u16);

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match type_name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

/// The response code in a header's flags: its name, or its number.
struct Code(u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match code_name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0 & 0xf),
        }
    }
}
