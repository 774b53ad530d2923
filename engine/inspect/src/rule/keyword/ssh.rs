//! SSH's buffers and conditions.
use super::super::buffer::{Buffer, Extract, Stage, Transaction};
use super::super::condition::{TxOperand, TxTest};
use super::super::draft::Draft;
use super::super::lexer::unquote;
use super::super::Reason;
use super::{sticky, value, Keyword};
use crate::app::{of, ssh, AppProto, AppSet};
use crate::Direction;

pub(super) const KEYWORDS: &[Keyword] = &[
    sticky(&["ssh.proto", "ssh_proto"], &PROTO),
    sticky(&["ssh.software", "ssh_software"], &SOFTWARE),
    sticky(&["ssh.hassh", "ssh-hassh"], &HASSH),
    sticky(&["ssh.hassh.string", "ssh-hassh-string"], &HASSH_STRING),
    sticky(&["ssh.hassh.server", "ssh-hassh-server"], &HASSH_SERVER),
    sticky(
        &["ssh.hassh.server.string", "ssh-hassh-server-string"],
        &HASSH_SERVER_STRING,
    ),
    value(&["ssh.protoversion"], proto_version),
    value(&["ssh.softwareversion"], software_version),
];

const SSH: AppSet = AppSet::of(&[AppProto::Ssh]);

/// A buffer of either side's banner.
const fn banner(name: &'static str, extract: Extract) -> Buffer {
    Buffer {
        to_server: Some(Stage::Headers),
        to_client: Some(Stage::Headers),
        ..Buffer::both(name, SSH, extract)
    }
}

/// A buffer of what one side offers in the key exchange.
const fn offer(name: &'static str, from: Direction, extract: Extract) -> Buffer {
    let (to_server, to_client) = match from {
        Direction::ToServer => (Some(Stage::Body), None),
        Direction::ToClient => (None, Some(Stage::Body)),
    };
    Buffer {
        to_server,
        to_client,
        ..Buffer::both(name, SSH, extract)
    }
}

/// An extractor for a field of that side's banner; none while it is empty.
macro_rules! field {
    ($field:ident) => {
        |view, direction, index, _| {
            let bytes = &of::<ssh::Transaction>(view)?.peer(direction).$field;
            (index == 0 && !bytes.is_empty()).then_some(bytes.as_slice())
        }
    };
}

/// An extractor for that side's fingerprint.
macro_rules! hassh {
    ($part:expr) => {
        |view, direction, index, _| {
            let peer = of::<ssh::Transaction>(view)?.peer(direction);
            let part: fn(&ssh::Hassh) -> &[u8] = $part;
            peer.hassh.as_deref().filter(|_| index == 0).map(part)
        }
    };
}

static PROTO: Buffer = banner("ssh.proto", field!(protocol));
static SOFTWARE: Buffer = banner("ssh.software", field!(software));
static HASSH: Buffer = Buffer {
    any_case: true,
    validate: super::tls::is_md5,
    ..offer(
        "ssh.hassh",
        Direction::ToServer,
        hassh!(|it| it.hash.as_bytes()),
    )
};
static HASSH_STRING: Buffer = offer(
    "ssh.hassh.string",
    Direction::ToServer,
    hassh!(|it| &it.string),
);
static HASSH_SERVER: Buffer = Buffer {
    any_case: true,
    validate: super::tls::is_md5,
    ..offer(
        "ssh.hassh.server",
        Direction::ToClient,
        hassh!(|it| it.hash.as_bytes()),
    )
};
static HASSH_SERVER_STRING: Buffer = offer(
    "ssh.hassh.server.string",
    Direction::ToClient,
    hassh!(|it| &it.string),
);

/// A version, or `2_compat`: 2 or 1.99, which stands for both.
fn proto_version(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let bytes = unquote(value.trim_ascii(), false).unwrap_or_default();
    let is_version = bytes.first().is_some_and(u8::is_ascii_digit)
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    let holds: fn(&dyn Transaction, Direction, &TxOperand) -> bool = if bytes == b"2_compat" {
        |view, direction, _| {
            let protocol = protocol_of(view, direction).unwrap_or_default();
            protocol.starts_with(b"2") || protocol == b"1.99"
        }
    } else if is_version {
        |view, direction, wanted| match wanted {
            TxOperand::Bytes(wanted) => protocol_of(view, direction) == Some(wanted.as_slice()),
            _ => false,
        }
    } else {
        return Err(Reason::bad_value(keyword, "neither a version nor 2_compat"));
    };
    add(draft, "ssh.protoversion", holds, bytes)
}

/// The software version as a whole.
fn software_version(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let bytes = unquote(value.trim_ascii(), false).unwrap_or_default();
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || b":.-_+ \t".contains(byte);
    if bytes.is_empty() || !bytes.iter().all(known) {
        return Err(Reason::bad_value(keyword, "not the name of a software"));
    }
    let holds = |view: &dyn Transaction, direction, wanted: &TxOperand| match wanted {
        TxOperand::Bytes(wanted) => {
            of::<ssh::Transaction>(view).is_some_and(|tx| tx.peer(direction).software == *wanted)
        }
        _ => false,
    };
    add(draft, "ssh.softwareversion", holds, bytes)
}

fn protocol_of(view: &dyn Transaction, direction: Direction) -> Option<&[u8]> {
    Some(&of::<ssh::Transaction>(view)?.peer(direction).protocol)
}

fn add(
    draft: &mut Draft,
    keyword: &'static str,
    holds: fn(&dyn Transaction, Direction, &TxOperand) -> bool,
    bytes: &[u8],
) -> Result<(), Reason> {
    draft.need_apps(SSH, keyword)?;
    draft.tx_tests.push(TxTest {
        keyword,
        sides: [Some(Stage::Headers); 2],
        holds,
        operand: TxOperand::Bytes(bytes.to_vec()),
    });
    Ok(())
}
