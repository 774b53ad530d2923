//! Whose message is next, which it is, and how long.
//!
//! Both sides speak in turn, so one state serves both:
//!
//! | state | from | next |
//! |---|---|---|
//! | server's version | server | client's version |
//! | client's version | client | the types; where the client speaks 3.3, the type |
//! | types | server | the choice; where there are none, the reason |
//! | choice, or type | client, or server | by type: challenge, or as behind a result that is good |
//! | challenge, response | server, client | result |
//! | result | server | client's init; where it is bad, the reason |
//! | client's init | client | server's init |
//! | server's init, reason | server | nothing that is read |
use super::transaction::{PixelFormat, Screen, Transaction};
use crate::app::cursor::Cursor;
use crate::Direction::{self, ToClient, ToServer};

/// The longest name and reason that are read; a longer one is taken for malformed.
const MAX_TEXT_BYTES: usize = 16 << 10;
/// `RFB 003.008\n`. Source: RFC 6143, 7.1.1.
const VERSION_BYTES: usize = 12;
/// Size, pixel format and the name's length. Source: RFC 6143, 7.3.2.
const INIT_BYTES: usize = 24;

/// Security types. Source: RFC 6143, 7.1.2.
const NONE: u32 = 1;
const VNC: u32 = 2;

/// Why a handshake is not followed any further, by Suricata's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) enum Oddity {
    /// Bytes that are not the message that is due.
    Malformed,
    /// A security type of which nothing more is known.
    UnimplementedType,
    /// A result that is neither good nor bad.
    UnknownResult,
    /// A message of the side whose turn it is not.
    Confused,
}

impl Oddity {
    /// Suricata's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed_message",
            Self::UnimplementedType => "unimplemented_security_type",
            Self::UnknownResult => "unknown_security_result",
            Self::Confused => "confused_state",
        }
    }
}

/// Which message is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Due {
    #[default]
    ServerVersion,
    ClientVersion,
    Types,
    Type,
    Choice,
    Challenge,
    Response,
    Result,
    Reason,
    ClientInit,
    ServerInit,
    /// What follows is not read.
    Nothing,
}

/// A connection's handshake.
#[derive(Debug, Default)]
pub(in crate::app) struct Handshake {
    due: Due,
    /// The client's minor version, in digits.
    minor: [u8; 3],
}

impl Handshake {
    /// Nothing of it is to come.
    pub fn is_over(&self) -> bool {
        self.due == Due::Nothing
    }

    /// What is due is the reason of a failure, behind which nothing comes.
    pub fn is_failing(&self) -> bool {
        self.due == Due::Reason
    }

    /// Reads the message at the front of what a side sent, notes it, and says how long it was; `None`: it is not
    /// all there.
    ///
    /// Errors: the handshake is not followed any further; with the message's length where it could be read.
    pub fn read(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        tx: &mut Transaction,
    ) -> Result<Option<usize>, (Oddity, Option<usize>)> {
        if self.is_over() {
            return Ok(None);
        }
        if direction != self.sender() {
            self.due = Due::Nothing;
            return Err((Oddity::Confused, None));
        }
        let Some(len) = self.length(bytes) else {
            return Ok(None);
        };
        if len > MAX_TEXT_BYTES + INIT_BYTES {
            self.due = Due::Nothing;
            return Err((Oddity::Malformed, None));
        }
        let Some(message) = bytes.get(..len) else {
            return Ok(None);
        };
        match self.next(message, tx) {
            Ok(next) => {
                self.due = next;
                Ok(Some(len))
            }
            Err(oddity) => {
                self.due = Due::Nothing;
                let read = (oddity != Oddity::Malformed).then_some(len);
                Err((oddity, read))
            }
        }
    }

    /// Whose turn it is.
    fn sender(&self) -> Direction {
        match self.due {
            Due::ClientVersion | Due::Choice | Due::Response | Due::ClientInit => ToServer,
            _ => ToClient,
        }
    }

    /// Length of the message that is due; `None` while its first bytes are too few to say.
    fn length(&self, bytes: &[u8]) -> Option<usize> {
        let text = |at: usize| {
            let length = Cursor(bytes.get(at..)?).u32()?;
            Some((at + 4).saturating_add(usize::try_from(length).ok()?))
        };
        Some(match self.due {
            Due::ServerVersion | Due::ClientVersion => VERSION_BYTES,
            Due::Types => 1 + usize::from(*bytes.first()?),
            Due::Type | Due::Result => 4,
            Due::Choice | Due::ClientInit => 1,
            Due::Challenge | Due::Response => 16,
            Due::Reason => text(0)?,
            Due::ServerInit => text(INIT_BYTES - 4)?,
            Due::Nothing => return None,
        })
    }

    /// Notes a message; what is due then.
    fn next(&mut self, message: &[u8], tx: &mut Transaction) -> Result<Due, Oddity> {
        let number = Cursor(message).u32();
        Ok(match self.due {
            Due::ServerVersion => {
                tx.server_version = Some(version(message)?);
                Due::ClientVersion
            }
            Due::ClientVersion => {
                let [major, minor] = version(message)?;
                tx.client_version = Some([major, minor]);
                self.minor = minor;
                match &minor {
                    b"003" => Due::Type,
                    _ => Due::Types,
                }
            }
            Due::Types if message == [0] => Due::Reason,
            Due::Types => Due::Choice,
            Due::Type => self.chosen(number.unwrap_or(0), tx)?,
            Due::Choice => self.chosen(message.first().map_or(0, |byte| u32::from(*byte)), tx)?,
            Due::Challenge => {
                tx.challenge = message.try_into().ok();
                Due::Response
            }
            Due::Response => {
                tx.response = message.try_into().ok();
                Due::Result
            }
            Due::Result => match number {
                Some(0) => {
                    tx.result = number;
                    Due::ClientInit
                }
                Some(1) => Due::Reason,
                _ => return Err(Oddity::UnknownResult),
            },
            Due::Reason => {
                tx.failure = Some(message.get(4..).unwrap_or_default().to_vec());
                Due::Nothing
            }
            Due::ClientInit => {
                tx.shared = message.first().map(|byte| *byte != 0);
                Due::ServerInit
            }
            Due::ServerInit => {
                tx.screen = Some(screen(message).ok_or(Oddity::Malformed)?);
                Due::Nothing
            }
            Due::Nothing => Due::Nothing,
        })
    }

    /// What is due behind a security type.
    ///
    /// Since 3.8 there is a result even where there was nothing to authenticate (RFC 6143, 7.1.3 and A.2);
    /// Suricata 7 takes it for a server that is confused.
    fn chosen(&self, kind: u32, tx: &mut Transaction) -> Result<Due, Oddity> {
        tx.security_type = Some(kind);
        match kind {
            0 => Ok(Due::Reason),
            NONE if self.minor >= *b"008" => Ok(Due::Result),
            NONE => Ok(Due::ClientInit),
            VNC => Ok(Due::Challenge),
            _ => Err(Oddity::UnimplementedType),
        }
    }
}

/// Major and minor version, three digits each.
fn version(message: &[u8]) -> Result<[[u8; 3]; 2], Oddity> {
    match *message {
        [b'R', b'F', b'B', b' ', a, b, c, b'.', d, e, f, b'\n'] => Ok([[a, b, c], [d, e, f]]),
        _ => Err(Oddity::Malformed),
    }
}

fn screen(message: &[u8]) -> Option<Screen> {
    let mut rest = Cursor(message);
    let (width, height) = (rest.u16()?, rest.u16()?);
    let format = PixelFormat {
        bits_per_pixel: rest.u8()?,
        depth: rest.u8()?,
        big_endian: rest.u8()? != 0,
        true_color: rest.u8()? != 0,
        red_max: rest.u16()?,
        green_max: rest.u16()?,
        blue_max: rest.u16()?,
        red_shift: rest.u8()?,
        green_shift: rest.u8()?,
        blue_shift: rest.u8()?,
    };
    rest.skip(3 + 4)?;
    Some(Screen {
        width,
        height,
        name: rest.rest().to_vec(),
        format,
    })
}
