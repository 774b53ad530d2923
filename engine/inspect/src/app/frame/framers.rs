//! How each protocol is cut into frames, those with a header that says how long they are.
use super::http::Http;
use super::nfs::{self, Nfs};
use super::{Found, Framer, Step};
use crate::app::smb::begins_record;
use crate::app::{rfb, AppProto};
use crate::Direction;

/// The framer of a protocol; `None`: it has the frame `stream` only.
pub fn framer_for(app: AppProto) -> Option<Box<dyn Framer>> {
    match app {
        AppProto::Http => Some(Box::new(Http::default())),
        AppProto::Tls => Some(Box::new(Headed::new(tls))),
        AppProto::Smb => Some(Box::new(Headed {
            step: smb,
            begins: begins_record,
        })),
        AppProto::Mqtt => Some(Box::new(Headed::new(mqtt))),
        AppProto::Dns => Some(Box::new(Headed::new(dns))),
        AppProto::Nfs => Some(Box::new(Nfs::default())),
        AppProto::Telnet => Some(Box::new(Headed::new(telnet))),
        AppProto::Rfb => Some(Box::new(Rfb::default())),
        _ => None,
    }
}

/// A protocol whose units say themselves how long they are.
struct Headed {
    step: fn(Direction, &[u8], &mut Found) -> Option<Step>,
    /// Whether a unit begins there, as far as that can be told.
    begins: fn(&[u8]) -> bool,
}

impl Headed {
    fn new(step: fn(Direction, &[u8], &mut Found) -> Option<Step>) -> Self {
        let begins = |_: &[u8]| false;
        Self { step, begins }
    }
}

impl std::fmt::Debug for Headed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Headed")
    }
}

impl Framer for Headed {
    fn step(&mut self, direction: Direction, bytes: &[u8], found: &mut Found) -> Step {
        (self.step)(direction, bytes, found).unwrap_or(Step::Need)
    }

    fn resume(&mut self, _: Direction, bytes: &[u8]) -> bool {
        (self.begins)(bytes)
    }
}

/// Records. Source: RFC 8446, 5.1; for SSL 2, RFC 6101, E.
fn tls(_: Direction, bytes: &[u8], found: &mut Found) -> Option<Step> {
    let [kind, major, _, high, low] = *bytes.first_chunk()?;
    if (20..=24).contains(&kind) && major == 3 {
        let len = u64::from(u16::from_be_bytes([high, low]));
        found.frame("hdr", 0, 5);
        found.frame("pdu", 0, 5 + len);
        found.frame("data", 5, len);
        match kind {
            21 => found.frame("alert", 5, len),
            24 => found.frame("heartbeat", 5, len),
            _ => {}
        }
        return Some(Step::Pass(5 + len));
    }
    if kind & 0x80 != 0 {
        let len = 2 + u64::from(u16::from_be_bytes([kind & 0x7f, major]));
        found.frame("ssl2.hdr", 0, 5.min(len));
        found.frame("ssl2.pdu", 0, len);
        return Some(Step::Pass(len));
    }
    Some(Step::Lost)
}

/// NetBIOS's session service with SMB in it. Sources: RFC 1002, 4.3; MS-SMB2, 2.2.1; MS-CIFS, 2.2.3.1.
fn smb(_: Direction, bytes: &[u8], found: &mut Found) -> Option<Step> {
    let [_, a, b, c] = *bytes.first_chunk()?;
    let len = u64::from(u32::from_be_bytes([0, a, b, c]));
    let message = &bytes[4..];
    // A message's first words decide what it is; compounds say in each header where the next one lies.
    if len >= 64 && message.len() < 24 || len >= 4 && message.len() < 4 {
        return None;
    }
    found.frame("nbss.pdu", 0, 4 + len);
    found.frame("nbss.hdr", 0, 4);
    found.frame("nbss.data", 4, len);
    match message.get(..4).filter(|_| len >= 4) {
        Some(b"\xffSMB") => headed(found, ["smb1.pdu", "smb1.hdr", "smb1.data"], 4, len, 32),
        Some(b"\xfdSMB") => headed(found, ["smb3.pdu", "smb3.hdr", "smb3.data"], 4, len, 52),
        Some(b"\xfeSMB") => smb2(message, len, found),
        _ => {}
    }
    Some(Step::Pass(4 + len))
}

/// Messages of a compound that are told apart.
const MAX_COMPOUND: usize = 8;

fn smb2(message: &[u8], len: u64, found: &mut Found) {
    let names = ["smb2.pdu", "smb2.hdr", "smb2.data"];
    let mut at = 0u64;
    for _ in 0..MAX_COMPOUND {
        let left = len - at;
        let header = usize::try_from(at).ok().and_then(|at| message.get(at..));
        let next = header
            .and_then(|header| header.get(20..24))
            .map_or(0, |it| u32::from_le_bytes([it[0], it[1], it[2], it[3]]));
        let next = u64::from(next);
        let one = if next >= 64 && next < left {
            next
        } else {
            left
        };
        headed(found, names, 4 + at, one, 64);
        if one == left {
            return;
        }
        at += one;
    }
}

/// A message of `len` bytes whose first `header` are its header.
fn headed(found: &mut Found, names: [&'static str; 3], at: u64, len: u64, header: u64) {
    let [pdu, hdr, data] = names;
    found.frame(pdu, at, len);
    found.frame(hdr, at, header.min(len));
    found.frame(data, at + header, len.saturating_sub(header));
}

/// Control packets. Source: MQTT 3.1.1, 2.2.3.
fn mqtt(_: Direction, bytes: &[u8], found: &mut Found) -> Option<Step> {
    let mut len = 0u64;
    for (at, byte) in bytes.iter().enumerate().skip(1).take(4) {
        len |= u64::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            let header = at as u64 + 1;
            found.frame("pdu", 0, header + len);
            found.frame("header", 0, header);
            found.frame("data", header, len);
            return Some(Step::Pass(header + len));
        }
    }
    (bytes.len() >= 5).then_some(Step::Lost)
}

/// Commands and text: a command ends by itself, a line with its end, and a prompt with the `: ` that it waits behind.
///
/// Source: RFC 854, 855.
fn telnet(_: Direction, bytes: &[u8], found: &mut Found) -> Option<Step> {
    const COMMAND: u8 = 0xff;
    let (name, len) = match bytes {
        [COMMAND, 0xfb..=0xfe, _, ..] => ("ctl", 3),
        [COMMAND, 0xfb..=0xfe] | [COMMAND] | [] => return None,
        // Options that are negotiated go on to the command that ends them.
        [COMMAND, 0xfa, rest @ ..] => ("ctl", 2 + memchr::memchr(COMMAND, rest)?),
        [COMMAND, ..] => ("ctl", 2),
        text => ("data", text_len(text)?),
    };
    found.frame("pdu", 0, len as u64);
    found.frame(name, 0, len as u64);
    Some(Step::Pass(len as u64))
}

fn text_len(text: &[u8]) -> Option<usize> {
    let line = memchr::memchr(b'\n', text).map(|at| at + 1);
    let prompt = memchr::memmem::find(text, b": ").map(|at| at + 2);
    match (line, prompt) {
        (Some(line), Some(prompt)) => Some(line.min(prompt)),
        (line, prompt) => line.or(prompt),
    }
}

/// Messages behind their length. Source: RFC 1035, 4.2.2.
fn dns(_: Direction, bytes: &[u8], found: &mut Found) -> Option<Step> {
    let len = u64::from(u16::from_be_bytes(*bytes.first_chunk()?));
    found.frame("pdu", 2, len);
    Some(Step::Pass(2 + len))
}

/// The frames of a datagram, which is one message.
pub(super) fn datagram(app: AppProto, bytes: &[u8], found: &mut Found) {
    match app {
        AppProto::Nfs => nfs::datagram(bytes, found),
        _ => found.frame("pdu", 0, bytes.len() as u64),
    }
    if app == AppProto::Sip {
        sip(bytes, found);
    }
}

/// A message's first line, header and body. Source: RFC 3261, 7.
fn sip(bytes: &[u8], found: &mut Found) {
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return;
    };
    let line = end + 1;
    // The empty line belongs to neither.
    let blank = memchr::memmem::find(&bytes[end..], b"\n\r\n");
    let head = blank.map_or(bytes.len(), |at| line + at);
    let body = blank.map_or(bytes.len(), |at| line + at + 2);
    let names = if bytes.starts_with(b"SIP/") {
        ["response.line", "response.headers", "response.body"]
    } else {
        ["request.line", "request.headers", "request.body"]
    };
    found.frame(names[0], 0, line as u64);
    found.frame(names[1], line as u64, (head - line) as u64);
    found.frame(names[2], body as u64, (bytes.len() - body) as u64);
}

/// The handshake of a remote framebuffer, a frame a message but for the reason of a failure, as in Suricata.
#[derive(Debug, Default)]
struct Rfb {
    handshake: rfb::Handshake,
    /// What the handshake notes.
    notes: rfb::Transaction,
}

impl Framer for Rfb {
    fn step(&mut self, direction: Direction, bytes: &[u8], found: &mut Found) -> Step {
        if self.handshake.is_over() || self.handshake.is_failing() {
            return Step::Lost;
        }
        match self.handshake.read(direction, bytes, &mut self.notes) {
            Ok(None) => Step::Need,
            Ok(Some(len)) | Err((_, Some(len))) => {
                found.frame("pdu", 0, len as u64);
                Step::Pass(len as u64)
            }
            Err((_, None)) => Step::Lost,
        }
    }
}
