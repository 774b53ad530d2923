//! Who sets up a session: NTLMSSP's and Kerberos's names, bare or inside SPNEGO.
use crate::app::cursor::Cursor;

/// Longest name that is kept.
const NAME_BYTES: usize = 1024;
/// Components of a service's name that are kept.
const NAME_PARTS: usize = 16;

/// NTLMSSP's last message. Source: MS-NLMP, 2.2.1.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ntlmssp {
    /// The domain, zero bytes left out.
    pub domain: Vec<u8>,
    /// The user.
    pub user: Vec<u8>,
    /// The host it comes from.
    pub host: Vec<u8>,
    /// Major, minor, build and revision of the client's system, if it says so.
    pub version: Option<(u8, u8, u16, u8)>,
}

/// The service that a Kerberos ticket is for. Source: RFC 4120, 5.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The realm.
    pub realm: Vec<u8>,
    /// The service's name, in its parts.
    pub service: Vec<Vec<u8>>,
}

/// What a security blob says of its sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// By NTLMSSP.
    pub ntlmssp: Option<Ntlmssp>,
    /// By Kerberos.
    pub ticket: Option<Ticket>,
}

/// `1.3.6.1.5.5.2`.
const SPNEGO: &[u8] = &[0x2b, 6, 1, 5, 5, 2];
/// `1.3.6.1.4.1.311.2.2.10`.
const NTLMSSP: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 2, 0x0a];
/// `1.2.840.113554.1.2.2`.
const KERBEROS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2];

const APPLICATION_0: u8 = 0x60;
const APPLICATION_1: u8 = 0x61;
const APPLICATION_14: u8 = 0x6e;
const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const CONTEXT: u8 = 0xa0;

impl Credentials {
    /// Reads a security blob; what is not there stays empty.
    pub fn read(blob: &[u8]) -> Self {
        let Some(offer) = Offer::read(blob) else {
            // An answer, or NTLMSSP without SPNEGO around it.
            return Self {
                ntlmssp: ntlmssp(blob),
                ticket: None,
            };
        };
        let kerberos = offer.token.filter(|_| offer.kerberos);
        let ticket = kerberos.and_then(ticket);
        let wanted = offer.ntlmssp && ticket.is_none();
        let ntlmssp = offer.token.filter(|_| wanted).and_then(ntlmssp);
        Self { ntlmssp, ticket }
    }
}

/// SPNEGO's first message. Source: RFC 4178, 4.2.1.
#[derive(Default)]
struct Offer<'a> {
    kerberos: bool,
    ntlmssp: bool,
    token: Option<&'a [u8]>,
}

impl<'a> Offer<'a> {
    fn read(blob: &'a [u8]) -> Option<Self> {
        let mut body = inside(Cursor::new(blob), APPLICATION_0)?;
        let (tag, oid) = element(&mut body)?;
        if tag != OID || oid.rest() != SPNEGO {
            return None;
        }
        let mut fields = inside(element(&mut body)?.1, SEQUENCE)?;
        let mut offer = Self::default();
        while let Some((_, mut field)) = element(&mut fields) {
            match element(&mut field) {
                Some((SEQUENCE, mut mechanisms)) => {
                    while let Some((_, oid)) = element(&mut mechanisms) {
                        offer.kerberos |= oid.rest() == KERBEROS;
                        offer.ntlmssp |= oid.rest() == NTLMSSP;
                    }
                }
                Some((OCTETS, token)) if offer.token.is_none() => offer.token = Some(token.rest()),
                _ => {}
            }
        }
        Some(offer)
    }
}

/// A GSS-API token that holds Kerberos's AP-REQ. Source: RFC 4121, 4.1; RFC 4120, 5.5.1.
fn ticket(token: &[u8]) -> Option<Ticket> {
    let mut body = inside(Cursor::new(token), APPLICATION_0)?;
    let (_, oid) = element(&mut body)?;
    if oid.rest() != KERBEROS {
        return None;
    }
    body.skip(2)?;
    let mut fields = inside(inside(body, APPLICATION_14)?, SEQUENCE)?;
    let ticket = field(&mut fields, 3)?;
    let mut fields = inside(inside(ticket, APPLICATION_1)?, SEQUENCE)?;
    let mut realm = field(&mut fields, 1)?;
    let realm = bounded(element(&mut realm)?.1.rest());
    let mut name = inside(field(&mut fields, 2)?, SEQUENCE)?;
    let mut parts = inside(field(&mut name, 1)?, SEQUENCE)?;
    let mut service = Vec::new();
    while let Some((_, part)) = element(&mut parts) {
        if service.len() == NAME_PARTS {
            break;
        }
        service.push(bounded(part.rest()));
    }
    Some(Ticket { realm, service })
}

/// The message of type 3, wherever it begins. Source: MS-NLMP, 2.2.1.3.
fn ntlmssp(blob: &[u8]) -> Option<Ntlmssp> {
    let start = memchr::memmem::find(blob, b"NTLMSSP\0")?;
    let message = &blob[start..];
    let mut at = Cursor::new(message);
    at.skip(8)?;
    if at.le32()? != 3 {
        return None;
    }
    at.skip(16)?;
    let mut name = || {
        let len = at.le16()?;
        at.skip(2)?;
        let offset = at.le32()? as usize;
        let bytes = message.get(offset..)?.get(..usize::from(len))?;
        let mut bytes = bounded(bytes);
        bytes.retain(|byte| *byte != 0);
        Some(bytes)
    };
    let (domain, user, host) = (name()?, name()?, name()?);
    at.skip(8)?;
    let flags = at.le32()?;
    let version = (flags & 0x0200_0000 != 0).then(|| {
        let (major, minor, build) = (at.u8()?, at.u8()?, at.le16()?);
        at.skip(3)?;
        Some((major, minor, build, at.u8()?))
    });
    Some(Ntlmssp {
        domain,
        user,
        host,
        version: version.flatten(),
    })
}

fn bounded(name: &[u8]) -> Vec<u8> {
    name[..name.len().min(NAME_BYTES)].to_vec()
}

/// The context-specific field of that number, once those before it are passed.
fn field<'a>(fields: &mut Cursor<'a>, number: u8) -> Option<Cursor<'a>> {
    loop {
        let (tag, body) = element(fields)?;
        if tag == CONTEXT | number {
            return Some(body);
        }
    }
}

/// What is in the next element, which must be of that tag.
fn inside(mut at: Cursor<'_>, wanted: u8) -> Option<Cursor<'_>> {
    let (tag, body) = element(&mut at)?;
    (tag == wanted).then_some(body)
}

/// The next element's tag and content. Source: X.690, 8.1.
fn element<'a>(at: &mut Cursor<'a>) -> Option<(u8, Cursor<'a>)> {
    let tag = at.u8()?;
    let first = at.u8()?;
    let len = match first {
        0..=0x7f => usize::from(first),
        0x81..=0x84 => at
            .take(usize::from(first & 0x0f))?
            .iter()
            .fold(0, |len, byte| len << 8 | usize::from(*byte)),
        _ => return None,
    };
    Some((tag, Cursor::new(at.take(len)?)))
}
