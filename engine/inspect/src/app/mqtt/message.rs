//! One control packet: read once, its parts kept as places in its body.
use super::property;
use crate::app::cursor::Cursor;

/// Packet types. Source: MQTT 5.0, 2.1.2.
pub(super) mod kind {
    pub const CONNECT: u8 = 1;
    pub const CONNACK: u8 = 2;
    pub const PUBLISH: u8 = 3;
    pub const PUBACK: u8 = 4;
    pub const PUBREC: u8 = 5;
    pub const PUBREL: u8 = 6;
    pub const PUBCOMP: u8 = 7;
    pub const SUBSCRIBE: u8 = 8;
    pub const SUBACK: u8 = 9;
    pub const UNSUBSCRIBE: u8 = 10;
    pub const UNSUBACK: u8 = 11;
    pub const DISCONNECT: u8 = 14;
    pub const AUTH: u8 = 15;
}

/// Their names as EVE has them, and signatures in any case; type 0 is assigned to nothing.
const NAMES: [&str; 16] = [
    "",
    "connect",
    "connack",
    "publish",
    "puback",
    "pubrec",
    "pubrel",
    "pubcomp",
    "subscribe",
    "suback",
    "unsubscribe",
    "unsuback",
    "pingreq",
    "pingresp",
    "disconnect",
    "auth",
];

/// Where a part of a packet's body lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: usize,
    end: usize,
}

/// The flags of a CONNECT. Source: MQTT 5.0, 3.1.2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectFlags;

impl ConnectFlags {
    /// The session begins anew.
    pub const CLEAN_SESSION: u8 = 0x02;
    /// There is a will.
    pub const WILL: u8 = 0x04;
    /// It is to be retained.
    pub const WILL_RETAIN: u8 = 0x20;
    /// There is a password.
    pub const PASSWORD: u8 = 0x40;
    /// There is a user name.
    pub const USERNAME: u8 = 0x80;
}

/// What a client introduces itself with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Connect {
    pub protocol: Span,
    pub version: u8,
    pub flags: u8,
    pub client_id: Span,
    pub properties: Span,
    pub will: Option<Will>,
    pub username: Option<Span>,
    pub password: Option<Span>,
}

/// What is published when the client is gone.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Will {
    pub properties: Span,
    pub topic: Span,
    pub message: Span,
}

/// What a packet says, by its type.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    Connect(Box<Connect>),
    Connack {
        session_present: bool,
        reason: u8,
        properties: Span,
    },
    Publish {
        topic: Span,
        id: Option<u16>,
        properties: Span,
        message: Span,
    },
    /// PUBACK, PUBREC, PUBREL and PUBCOMP.
    Ack {
        id: u16,
        reason: Option<u8>,
        properties: Span,
    },
    Subscribe {
        id: u16,
        properties: Span,
        topics: Span,
    },
    Unsubscribe {
        id: u16,
        topics: Span,
    },
    /// A code for each topic: SUBACK, UNSUBACK.
    Codes {
        id: u16,
        codes: Span,
    },
    /// AUTH, DISCONNECT.
    Reason {
        reason: Option<u8>,
        properties: Span,
    },
    /// PINGREQ, PINGRESP, and what has no type.
    Nothing,
    /// It is longer than what is kept: its whole length.
    Truncated(u64),
}

/// The fixed header. Source: MQTT 5.0, 2.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    first: u8,
    /// Bytes that it takes itself.
    pub bytes: usize,
    /// Bytes behind it.
    pub remaining: usize,
}

/// A header that cannot be one: its length goes on past four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoHeader;

impl Header {
    /// The header at the front; `None`: there are too few bytes.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, NoHeader> {
        let Some((&first, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let mut cursor = Cursor(rest);
        match property::variable(&mut cursor) {
            Some(remaining) => Ok(Some(Self {
                first,
                bytes: bytes.len() - cursor.rest().len(),
                remaining: remaining as usize,
            })),
            None if rest.len() >= 4 => Err(NoHeader),
            None => Ok(None),
        }
    }

    /// The packet's type.
    pub fn kind(self) -> u8 {
        self.first >> 4
    }

    /// 0 to 3, of which 3 is invalid.
    pub fn qos(self) -> u8 {
        self.first >> 1 & 3
    }
}

/// One control packet.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub(super) header: Header,
    pub(super) content: Content,
    body: Vec<u8>,
}

impl Message {
    /// Reads a packet's body; `None`: it is malformed. version: the connection's.
    pub(super) fn read(header: Header, body: &[u8], version: u8) -> Option<Self> {
        let content = Reader::new(body, version).content(header)?;
        let body = match content {
            Content::Nothing => Vec::new(),
            _ => body.to_vec(),
        };
        Some(Self {
            header,
            content,
            body,
        })
    }

    /// A packet that is too long.
    pub(super) fn truncated(header: Header) -> Self {
        Self {
            header,
            content: Content::Truncated((header.bytes + header.remaining) as u64),
            body: Vec::new(),
        }
    }

    /// The type that is called so, in any case.
    pub fn kind_named(name: &str) -> Option<u8> {
        let named = |known: &&str| !known.is_empty() && known.eq_ignore_ascii_case(name);
        let at = NAMES.iter().position(named)?;
        u8::try_from(at).ok()
    }

    /// 0, which is assigned to nothing, to 15.
    pub fn kind(&self) -> u8 {
        self.header.kind()
    }

    /// EVE's name of its type; empty where that is assigned to nothing.
    pub(super) fn name(&self) -> &'static str {
        NAMES.get(usize::from(self.kind())).copied().unwrap_or("")
    }

    /// Quality of service: 0 to 3.
    pub fn qos(&self) -> u8 {
        self.header.qos()
    }

    /// It was sent before.
    pub fn is_duplicate(&self) -> bool {
        self.header.first & 8 != 0
    }

    /// It is to be retained.
    pub fn is_retained(&self) -> bool {
        self.header.first & 1 != 0
    }

    /// The number by which packets of one transaction find together.
    pub(super) fn id(&self) -> Option<u16> {
        match self.content {
            Content::Publish { id, .. } => id,
            Content::Ack { id, .. }
            | Content::Subscribe { id, .. }
            | Content::Unsubscribe { id, .. }
            | Content::Codes { id, .. } => Some(id),
            _ => None,
        }
    }

    /// A CONNECT's flags, see [`ConnectFlags`].
    pub fn connect_flags(&self) -> Option<u8> {
        self.connect().map(|connect| connect.flags)
    }

    /// A CONNECT's client identifier.
    pub fn client_id(&self) -> Option<&[u8]> {
        self.connect().map(|connect| self.bytes(connect.client_id))
    }

    /// A CONNECT's user name.
    pub fn username(&self) -> Option<&[u8]> {
        let span = self.connect()?.username?;
        Some(self.bytes(span))
    }

    /// A CONNECT's password.
    pub fn password(&self) -> Option<&[u8]> {
        let span = self.connect()?.password?;
        Some(self.bytes(span))
    }

    /// The topic of a CONNECT's will.
    pub fn will_topic(&self) -> Option<&[u8]> {
        let will = self.connect()?.will.as_ref()?;
        Some(self.bytes(will.topic))
    }

    /// The message of a CONNECT's will.
    pub fn will_message(&self) -> Option<&[u8]> {
        let will = self.connect()?.will.as_ref()?;
        Some(self.bytes(will.message))
    }

    /// Whether a CONNACK says that the server knows the session.
    pub fn session_present(&self) -> Option<bool> {
        match self.content {
            Content::Connack {
                session_present, ..
            } => Some(session_present),
            _ => None,
        }
    }

    /// What a PUBLISH is about.
    pub fn publish_topic(&self) -> Option<&[u8]> {
        match self.content {
            Content::Publish { topic, .. } => Some(self.bytes(topic)),
            _ => None,
        }
    }

    /// What a PUBLISH carries.
    pub fn publish_message(&self) -> Option<&[u8]> {
        match self.content {
            Content::Publish { message, .. } => Some(self.bytes(message)),
            _ => None,
        }
    }

    /// The topics of a SUBSCRIBE, or of an UNSUBSCRIBE; none of other packets.
    pub fn topics(&self) -> impl Iterator<Item = &[u8]> {
        self.topic_options().map(|(topic, _)| topic)
    }

    /// Likewise, with a SUBSCRIBE's options (its QoS in the lowest bits) and 0 for UNSUBSCRIBE.
    pub(super) fn topic_options(&self) -> impl Iterator<Item = (&[u8], u8)> {
        let (topics, optioned) = match self.content {
            Content::Subscribe { topics, .. } => (self.bytes(topics), true),
            Content::Unsubscribe { topics, .. } => (self.bytes(topics), false),
            _ => (&[][..], false),
        };
        let mut rest = Cursor(topics);
        std::iter::from_fn(move || one_topic(&mut rest, optioned))
    }

    /// Whether it says that code, of what became of the request or one of its topics.
    pub fn has_reason(&self, wanted: u8) -> bool {
        match self.content {
            Content::Connack { reason, .. } => reason == wanted,
            Content::Ack { reason, .. } | Content::Reason { reason, .. } => reason == Some(wanted),
            Content::Codes { codes, .. } => self.bytes(codes).contains(&wanted),
            _ => false,
        }
    }

    /// Bytes of heap held.
    pub(super) fn heap_bytes(&self) -> usize {
        let boxed = match self.content {
            Content::Connect(_) => size_of::<Connect>(),
            _ => 0,
        };
        self.body.capacity() + boxed
    }

    /// A part of its body.
    pub(super) fn bytes(&self, span: Span) -> &[u8] {
        self.body.get(span.start..span.end).unwrap_or_default()
    }

    fn connect(&self) -> Option<&Connect> {
        match &self.content {
            Content::Connect(connect) => Some(connect),
            _ => None,
        }
    }
}

/// A topic, and the byte behind it where there is one to each.
fn one_topic<'a>(rest: &mut Cursor<'a>, optioned: bool) -> Option<(&'a [u8], u8)> {
    let topic = rest.long()?;
    let options = if optioned { rest.u8()? } else { 0 };
    Some((topic, options))
}

/// Reads a body, saying where its parts are.
struct Reader<'a> {
    len: usize,
    rest: Cursor<'a>,
    version: u8,
}

impl<'a> Reader<'a> {
    fn new(body: &'a [u8], version: u8) -> Self {
        Self {
            len: body.len(),
            rest: Cursor(body),
            version,
        }
    }

    fn content(&mut self, header: Header) -> Option<Content> {
        Some(match header.kind() {
            kind::CONNECT => Content::Connect(Box::new(self.connect()?)),
            kind::CONNACK => {
                let session_present = self.rest.u8()? & 1 != 0;
                Content::Connack {
                    session_present,
                    reason: self.rest.u8()?,
                    properties: self.properties()?,
                }
            }
            kind::PUBLISH => {
                let topic = self.text()?;
                let id = match header.qos() {
                    0 => None,
                    _ => Some(self.rest.u16()?),
                };
                Content::Publish {
                    topic,
                    id,
                    properties: self.properties()?,
                    message: self.all(),
                }
            }
            kind::PUBACK | kind::PUBREC | kind::PUBREL | kind::PUBCOMP => self.ack()?,
            kind::SUBSCRIBE => {
                let id = self.rest.u16()?;
                Content::Subscribe {
                    id,
                    properties: self.properties()?,
                    topics: self.topics(true)?,
                }
            }
            kind::UNSUBSCRIBE => {
                let id = self.rest.u16()?;
                self.properties()?;
                let topics = self.topics(false)?;
                Content::Unsubscribe { id, topics }
            }
            kind::SUBACK | kind::UNSUBACK => {
                let id = self.rest.u16()?;
                self.properties()?;
                let codes = self.all();
                Content::Codes { id, codes }
            }
            kind::AUTH => Content::Reason {
                reason: Some(self.rest.u8()?),
                properties: self.property_list()?,
            },
            kind::DISCONNECT => self.disconnect()?,
            _ => Content::Nothing,
        })
    }

    /// Source: MQTT 5.0, 3.1.
    fn connect(&mut self) -> Option<Connect> {
        let mut connect = Connect {
            protocol: self.text()?,
            version: self.rest.u8()?,
            flags: self.rest.u8()?,
            ..Connect::default()
        };
        let _keep_alive = self.rest.u16()?;
        self.version = connect.version;
        connect.properties = self.properties()?;
        connect.client_id = self.text()?;
        if connect.flags & ConnectFlags::WILL != 0 {
            connect.will = Some(Will {
                properties: self.properties()?,
                topic: self.text()?,
                message: self.text()?,
            });
        }
        if connect.flags & ConnectFlags::USERNAME != 0 {
            connect.username = Some(self.text()?);
        }
        if connect.flags & ConnectFlags::PASSWORD != 0 {
            connect.password = Some(self.text()?);
        }
        Some(connect)
    }

    /// Before version 5 there is the identifier only; since, what is 0 may be left out. Source: MQTT 5.0, 3.4.2.
    fn ack(&mut self) -> Option<Content> {
        let id = self.rest.u16()?;
        let mut reason = None;
        let mut properties = Span::default();
        if self.version == 5 && !self.rest.is_empty() {
            reason = self.rest.u8();
            if !self.rest.is_empty() {
                properties = self.properties()?;
            }
        }
        Some(Content::Ack {
            id,
            reason,
            properties,
        })
    }

    /// Source: MQTT 5.0, 3.14.2. As in Suricata a code that no properties follow is not read.
    fn disconnect(&mut self) -> Option<Content> {
        let mut properties = Span::default();
        let reason = match (self.version, self.len) {
            (5, 0 | 1) => Some(0),
            (5, _) => {
                let reason = self.rest.u8()?;
                properties = self.properties()?;
                Some(reason)
            }
            _ => None,
        };
        Some(Content::Reason { reason, properties })
    }

    /// Topics as long as they can be read; at least one.
    fn topics(&mut self, optioned: bool) -> Option<Span> {
        let start = self.at();
        one_topic(&mut self.rest, optioned)?;
        loop {
            let end = self.at();
            if one_topic(&mut self.rest, optioned).is_none() {
                return Some(Span { start, end });
            }
        }
    }

    /// The properties' list, which is there since version 5.
    fn properties(&mut self) -> Option<Span> {
        match self.version {
            5 => self.property_list(),
            _ => Some(Span::default()),
        }
    }

    fn property_list(&mut self) -> Option<Span> {
        let len = property::variable(&mut self.rest)? as usize;
        let start = self.at();
        let list = self.rest.take(len)?;
        let end = start + len;
        property::are_valid(list).then_some(Span { start, end })
    }

    /// Bytes behind a length of two.
    fn text(&mut self) -> Option<Span> {
        let len = usize::from(self.rest.u16()?);
        let start = self.at();
        self.rest.skip(len)?;
        let end = start + len;
        Some(Span { start, end })
    }

    fn all(&mut self) -> Span {
        let start = self.at();
        self.rest = Cursor(&[]);
        let end = self.len;
        Span { start, end }
    }

    fn at(&self) -> usize {
        self.len - self.rest.rest().len()
    }
}
