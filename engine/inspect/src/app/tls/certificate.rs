//! What is read of a peer's first certificate, and the chain as it was sent.

use sha1::{Digest, Sha1};
use x509_parser::error::X509Error;
use x509_parser::nom;
use x509_parser::parse_x509_certificate;

use super::event;
use super::fingerprint::separated;
use super::hello::Oddities;
use crate::app::cursor::Cursor;

/// Certificates kept of a chain; real ones hold under ten.
const CHAIN_LIMIT: usize = 64;

/// The fields of a certificate, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Subject's distinguished name.
    pub subject: String,
    /// Issuer's distinguished name.
    pub issuer: String,
    /// Serial number: `0A:1B`.
    pub serial: String,
    /// SHA-1 of the whole: `0a:1b`.
    pub fingerprint: String,
    /// Valid from, Unix seconds.
    pub not_before: i64,
    /// Valid until, Unix seconds.
    pub not_after: i64,
}

impl Certificate {
    /// Reads a certificate in DER. Errors: the event that says why not. Source: RFC 5280, 4.1.
    pub fn read(der: &[u8]) -> Result<Self, &'static str> {
        if is_cut_short(der) {
            return Err(event::CERTIFICATE_INVALID_LENGTH);
        }
        let (_, parsed) = parse_x509_certificate(der).map_err(|error| event_of(&error))?;
        let serial = parsed.raw_serial();
        Ok(Self {
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            serial: separated(serial, ":").to_ascii_uppercase(),
            fingerprint: separated(&Sha1::digest(der), ":"),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
        })
    }
}

/// Whether the outermost length leads past the end. Source: X.690, 8.1.3.
fn is_cut_short(der: &[u8]) -> bool {
    let mut bytes = Cursor(der);
    let mut length = || {
        bytes.u8()?;
        let first = bytes.u8()?;
        if first < 0x80 {
            return Some(usize::from(first));
        }
        let digits = bytes.take(usize::from(first & 0x7f))?;
        let value = digits.iter().try_fold(0_usize, |value, digit| {
            Some(value.checked_mul(256)? + usize::from(*digit))
        });
        Some(value.unwrap_or(usize::MAX))
    };
    length().is_none_or(|len| len > bytes.0.len())
}

fn event_of(error: &nom::Err<X509Error>) -> &'static str {
    let error = match error {
        nom::Err::Incomplete(_) => return event::CERTIFICATE_INVALID_LENGTH,
        nom::Err::Error(error) | nom::Err::Failure(error) => error,
    };
    match error {
        X509Error::InvalidVersion => event::CERTIFICATE_INVALID_VERSION,
        X509Error::InvalidSerial => event::CERTIFICATE_INVALID_SERIAL,
        X509Error::InvalidAlgorithmIdentifier => event::CERTIFICATE_INVALID_ALGORITHMIDENTIFIER,
        X509Error::InvalidX509Name => event::CERTIFICATE_INVALID_X509NAME,
        X509Error::InvalidDate => event::CERTIFICATE_INVALID_DATE,
        X509Error::InvalidExtensions => event::CERTIFICATE_INVALID_EXTENSIONS,
        X509Error::Der(_) => event::CERTIFICATE_INVALID_DER,
        _ => event::INVALID_CERTIFICATE,
    }
}

/// A certificate message: its chain, and what the first certificate says.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// All certificates' bytes, one behind the other.
    bytes: Vec<u8>,
    /// Where each ends in `bytes`.
    ends: Vec<usize>,
    /// The first, if it could be read.
    pub first: Option<Box<Certificate>>,
}

impl Chain {
    /// Takes in a certificate message's body; the first certificate that could be read stays the first.
    /// `is_cut`: more followed, which was not kept.
    ///
    /// Source: RFC 5246, 7.4.2.
    pub fn add(&mut self, body: &[u8], is_cut: bool, oddities: &mut Oddities) {
        let mut body = Cursor(body);
        let list = body.u24().and_then(|len| {
            let len = len as usize;
            body.take(if is_cut { len.min(body.0.len()) } else { len })
        });
        let Some(list) = list else {
            return;
        };
        let mut list = Cursor(list);
        let mut is_first = true;
        while !list.is_empty() {
            let Some(der) = list.u24().and_then(|len| list.take(len as usize)) else {
                if !is_cut {
                    oddities.push(event::INVALID_CERTIFICATE);
                }
                return;
            };
            if std::mem::take(&mut is_first) && self.first.is_none() {
                match Certificate::read(der) {
                    Ok(certificate) => self.first = Some(Box::new(certificate)),
                    Err(event) => {
                        oddities.push(event);
                        continue;
                    }
                }
            }
            if self.ends.len() < CHAIN_LIMIT {
                self.bytes.extend_from_slice(der);
                self.ends.push(self.bytes.len());
            }
        }
    }

    /// One certificate in DER.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.bytes.get(start..end)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Lets go of the certificates' bytes; what was read of the first stays.
    pub fn shed(&mut self) {
        self.bytes = Vec::new();
        self.ends = Vec::new();
    }

    /// Bytes of heap held, roughly.
    pub fn heap_bytes(&self) -> usize {
        let fields = self.first.as_ref().map_or(0, |first| {
            size_of::<Certificate>() + 2 * (first.subject.len() + first.issuer.len())
        });
        self.bytes.capacity() + 8 * self.ends.capacity() + fields
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A self-signed certificate for `localhost`, made with openssl.
    pub const DER: &[u8] = include_bytes!("certificate.der");

    /// A certificate message's body with these certificates.
    pub fn message(certificates: &[&[u8]]) -> Vec<u8> {
        let framed = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[1..], bytes].concat();
        let list: Vec<u8> = certificates.iter().flat_map(|it| framed(it)).collect();
        framed(&list)
    }

    #[test]
    fn reads_the_first_certificate_and_keeps_all() {
        let mut chain = Chain::default();
        let mut oddities = Oddities::new();
        chain.add(&message(&[DER, b"second"]), false, &mut oddities);
        assert!(oddities.is_empty());
        let first = chain.first.as_deref().unwrap();
        assert_eq!(first.subject, "C=DE, O=Sekisho, CN=localhost");
        assert_eq!(first.issuer, first.subject);
        assert_eq!(first.serial, "0A:1B:2C");
        assert_eq!(first.not_after - first.not_before, 86_400 * 36_500);
        assert_eq!(
            (chain.get(0), chain.get(1)),
            (Some(DER), Some(&b"second"[..]))
        );
        assert_eq!((chain.get(2), chain.len()), (None, 2));
    }

    #[test]
    fn notes_why_a_certificate_cannot_be_read() {
        for (wanted, bytes) in [
            (event::CERTIFICATE_INVALID_DER, &b"\x02\x01\x05"[..]),
            (event::CERTIFICATE_INVALID_LENGTH, &DER[..DER.len() - 1]),
        ] {
            let mut oddities = Oddities::new();
            Chain::default().add(&message(&[bytes]), false, &mut oddities);
            assert_eq!(oddities[..], [wanted]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic_and_stay_within_their_own_size(body: Vec<u8>, is_cut: bool) {
            let mut chain = Chain::default();
            chain.add(&body, is_cut, &mut Oddities::new());
            prop_assert!(chain.bytes.len() <= body.len());
        }

        #[test]
        fn a_damaged_certificate_never_panics(at in 0..DER.len(), to: u8) {
            let mut der = DER.to_vec();
            der[at] = to;
            let _ = Certificate::read(&der);
        }
    }
}
