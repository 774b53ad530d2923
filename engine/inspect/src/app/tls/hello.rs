//! The two hellos: what a client offers and what its server chooses of it.

use smallvec::SmallVec;

use super::event;
use crate::app::cursor::{words, Cursor};

/// Names longer than a host name can be are no host names.
const NAME_LIMIT: usize = 255;

/// Which hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The client's.
    Client,
    /// The server's.
    Server,
}

/// Extensions that are looked into. Source: IANA, TLS ExtensionType values.
mod extension {
    pub const SERVER_NAME: u16 = 0;
    pub const GROUPS: u16 = 10;
    pub const POINT_FORMATS: u16 = 11;
    pub const SIGNATURE_ALGORITHMS: u16 = 13;
    pub const ALPN: u16 = 16;
    pub const SESSION_TICKET: u16 = 35;
    pub const EARLY_DATA: u16 = 42;
    pub const SUPPORTED_VERSIONS: u16 = 43;
}

/// A hello, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The version field, which since TLS 1.3 no longer says the version.
    pub legacy_version: u16,
    /// The version: the field's, or the one the supported versions name first.
    pub version: u16,
    /// Random, if the hello was long enough to hold one.
    pub random: Option<[u8; 32]>,
    /// Session identifier, at most 255 bytes.
    pub session_id: Vec<u8>,
    /// Cipher suites offered; the server's one.
    pub ciphers: Vec<u16>,
    /// Types of the extensions, in their order.
    pub extensions: Vec<u16>,
    /// Supported groups.
    pub groups: Vec<u16>,
    /// Elliptic curve point formats.
    pub point_formats: Vec<u8>,
    /// Signature algorithms.
    pub signature_algorithms: Vec<u16>,
    /// Supported versions.
    pub versions: Vec<u16>,
    /// Application protocols.
    pub alpn: Vec<Vec<u8>>,
    /// Host name asked for.
    pub sni: Option<Vec<u8>>,
    /// The client sends data along with its hello.
    pub early_data: bool,
    /// The client offers or the server promises a session ticket.
    pub ticket: bool,
    /// It could be read to its end, so that fingerprints of it mean something.
    pub complete: bool,
}

/// What is odd about a hello, by event name.
pub type Oddities = SmallVec<[&'static str; 2]>;

/// Why reading stopped.
enum Stop {
    /// A length leads past the end, or is none.
    Length,
    /// The extensions end here for another reason, which was noted; what was read stands.
    Enough,
}

impl Hello {
    /// Reads the body of a hello, as far as it goes. Source: RFC 8446, 4.1; RFC 5246, 7.4.1.
    pub fn read(kind: Kind, body: &[u8], oddities: &mut Oddities) -> Self {
        let mut hello = Self::default();
        match hello.fill(kind, Cursor(body), oddities) {
            Some(()) => hello.complete = true,
            None => note(oddities, event::HANDSHAKE_INVALID_LENGTH),
        }
        hello
    }

    fn fill(&mut self, kind: Kind, mut rest: Cursor<'_>, oddities: &mut Oddities) -> Option<()> {
        self.legacy_version = rest.u16()?;
        self.version = self.legacy_version;
        self.random = Some(rest.array()?);
        // Drafts of TLS 1.3 that name it in this field have neither session id nor compression.
        let draft = kind == Kind::Server && is_draft(self.legacy_version);
        if !draft {
            self.session_id = rest.short()?.to_vec();
        }
        match kind {
            Kind::Client => {
                let suites = rest.long()?;
                if suites.len() % 2 != 0 {
                    return None;
                }
                self.ciphers = words(suites).collect();
                rest.short()?;
            }
            Kind::Server => {
                self.ciphers = vec![rest.u16()?];
                if !draft {
                    rest.u8()?;
                }
            }
        }
        if rest.0.len() < 2 {
            return Some(());
        }
        let mut extensions = Cursor(rest.long()?);
        while !extensions.is_empty() {
            let kind_of = extensions.u16()?;
            let value = extensions.long()?;
            match self.extension(kind, kind_of, Cursor(value), oddities) {
                Ok(()) => self.extensions.push(kind_of),
                Err(Stop::Enough) => break,
                Err(Stop::Length) => {
                    note(oddities, event::HANDSHAKE_INVALID_LENGTH);
                    break;
                }
            }
        }
        Some(())
    }

    fn extension(
        &mut self,
        kind: Kind,
        number: u16,
        mut value: Cursor<'_>,
        oddities: &mut Oddities,
    ) -> Result<(), Stop> {
        if value.is_empty() {
            match number {
                extension::EARLY_DATA => self.early_data = kind == Kind::Client,
                extension::SESSION_TICKET => self.ticket = true,
                _ => {}
            }
            return Ok(());
        }
        match number {
            extension::SERVER_NAME => self.server_name(value, oddities)?,
            extension::GROUPS => self.groups = words(value.long().ok_or(Stop::Length)?).collect(),
            extension::POINT_FORMATS => {
                self.point_formats = value.short().ok_or(Stop::Length)?.to_vec();
            }
            extension::SIGNATURE_ALGORITHMS => {
                self.signature_algorithms = words(value.long().unwrap_or_default()).collect();
            }
            extension::ALPN => self.protocols(Cursor(value.long().unwrap_or_default())),
            extension::SESSION_TICKET => self.ticket = true,
            extension::EARLY_DATA => self.early_data = kind == Kind::Client,
            extension::SUPPORTED_VERSIONS => {
                let list = match kind {
                    Kind::Client => value.short(),
                    Kind::Server => value.take(2),
                };
                let list = list.filter(|list| list.len() >= 2).ok_or(Stop::Length)?;
                self.versions = words(list).collect();
                self.version = self.versions[0];
            }
            _ => {}
        }
        Ok(())
    }

    /// Source: RFC 6066, 3.
    fn server_name(&mut self, mut value: Cursor<'_>, oddities: &mut Oddities) -> Result<(), Stop> {
        value.u16().ok_or(Stop::Length)?;
        if value.u8().ok_or(Stop::Length)? != 0 {
            note(oddities, event::INVALID_SNI_TYPE);
            return Err(Stop::Enough);
        }
        let len = usize::from(value.u16().ok_or(Stop::Length)?);
        let name = value.take(len).filter(|_| (1..=NAME_LIMIT).contains(&len));
        let Some(name) = name else {
            note(oddities, event::INVALID_SNI_LENGTH);
            return Err(Stop::Enough);
        };
        if self.sni.is_some() {
            note(oddities, event::MULTIPLE_SNI_EXTENSIONS);
        } else {
            self.sni = Some(name.to_vec());
        }
        Ok(())
    }

    fn protocols(&mut self, mut list: Cursor<'_>) {
        while let Some(name) = list.short() {
            if !name.is_empty() {
                self.alpn.push(name.to_vec());
            }
        }
    }

    /// Bytes of heap held, roughly.
    pub fn heap_bytes(&self) -> usize {
        let words = [
            &self.ciphers,
            &self.extensions,
            &self.groups,
            &self.signature_algorithms,
            &self.versions,
        ];
        words.iter().map(|list| 2 * list.capacity()).sum::<usize>()
            + self.session_id.capacity()
            + self.point_formats.capacity()
            + self
                .alpn
                .iter()
                .map(|name| 24 + name.capacity())
                .sum::<usize>()
            + self.sni.as_ref().map_or(0, Vec::capacity)
    }
}

/// Versions of TLS 1.3 before its hello got its final form: draft 21 and earlier name it in the version field.
pub(super) fn is_draft(version: u16) -> bool {
    version == 0x0304 || version >> 8 == 0x7f
}

fn note(oddities: &mut Oddities, name: &'static str) {
    if !oddities.contains(&name) {
        oddities.push(name);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An extension in its bytes.
    pub fn extension(number: u16, value: &[u8]) -> Vec<u8> {
        [
            &number.to_be_bytes()[..],
            &(value.len() as u16).to_be_bytes(),
            value,
        ]
        .concat()
    }

    /// A server name extension.
    pub fn sni(name: &[u8]) -> Vec<u8> {
        let len = name.len() as u16;
        let value = [&(len + 3).to_be_bytes()[..], &[0], &len.to_be_bytes(), name];
        extension(0, &value.concat())
    }

    /// A client hello's body with these extensions.
    pub fn client(extensions: &[Vec<u8>]) -> Vec<u8> {
        let extensions = extensions.concat();
        let fixed = [
            &[3, 3][..],
            &[7; 32],
            &[2, 1, 2],
            &[0, 4, 0x13, 1, 0x0a, 0x0a],
            &[1, 0],
        ];
        [
            &fixed.concat()[..],
            &(extensions.len() as u16).to_be_bytes(),
            &extensions,
        ]
        .concat()
    }

    fn read(body: &[u8]) -> (Hello, Oddities) {
        let mut oddities = Oddities::new();
        (Hello::read(Kind::Client, body, &mut oddities), oddities)
    }

    #[test]
    fn reads_what_a_client_offers() {
        let body = client(&[
            sni(b"a.example"),
            extension(43, &[4, 3, 4, 3, 3]),
            extension(16, b"\0\x0c\x02h2\x08http/1.1"),
            extension(10, &[0, 2, 0, 29]),
            extension(11, &[1, 0]),
        ]);
        let (hello, oddities) = read(&body);
        assert!(oddities.is_empty() && hello.complete);
        assert_eq!(hello.sni.as_deref(), Some(&b"a.example"[..]));
        assert_eq!((hello.legacy_version, hello.version), (0x303, 0x304));
        assert_eq!(hello.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        assert_eq!(hello.extensions, [0, 43, 16, 10, 11]);
        assert_eq!((hello.groups, hello.point_formats), (vec![29], vec![0]));
        assert_eq!(hello.session_id, [1, 2]);
    }

    #[test]
    fn notes_names_that_are_none() {
        let rows: &[(&str, Vec<u8>)] = &[
            (
                event::INVALID_SNI_TYPE,
                extension(0, &[0, 4, 1, 0, 1, b'a']),
            ),
            (event::INVALID_SNI_LENGTH, sni(b"")),
            (event::INVALID_SNI_LENGTH, sni(&[b'a'; 256])),
            (
                event::MULTIPLE_SNI_EXTENSIONS,
                [sni(b"a"), sni(b"b")].concat(),
            ),
            (
                event::HANDSHAKE_INVALID_LENGTH,
                extension(10, &[0, 9, 0, 1]),
            ),
        ];
        for (wanted, bytes) in rows {
            let (_, oddities) = read(&client(std::slice::from_ref(bytes)));
            assert_eq!(oddities[..], [*wanted]);
        }
    }

    #[test]
    fn every_prefix_is_read_as_far_as_it_goes() {
        let body = client(&[sni(b"a.example"), extension(35, b"")]);
        let without_extensions = 2 + 32 + 3 + 6 + 2;
        for end in 0..body.len() {
            let (hello, oddities) = read(&body[..end]);
            let whole = (without_extensions..without_extensions + 2).contains(&end);
            assert_eq!(
                (hello.complete, oddities.is_empty()),
                (whole, whole),
                "{end}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic_and_stay_within_their_own_size(body: Vec<u8>, server: bool) {
            let kind = if server { Kind::Server } else { Kind::Client };
            let hello = Hello::read(kind, &body, &mut Oddities::new());
            prop_assert!(hello.heap_bytes() <= 30 * body.len() + 64);
        }
    }
}
