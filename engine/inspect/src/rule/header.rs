//! The part of a rule before its parentheses.
use crate::app::AppProto;

use super::address::AddressRange;
use super::group::{self, Group};
use super::lexer::{printable, trim};
use super::port::PortRange;
use super::{Action, Protocol, Reason};

/// A rule's header.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Where packets come from.
    pub src: Group<AddressRange>,
    /// From which ports.
    pub src_ports: Group<PortRange>,
    /// Where they go.
    pub dst: Group<AddressRange>,
    /// To which ports.
    pub dst_ports: Group<PortRange>,
    /// `<>`: or the other way around.
    pub both_ways: bool,
}

/// A rule cut into its parts; the options are still text.
pub struct Parts<'a> {
    /// Action.
    pub action: Action,
    /// It says nothing (`config`).
    pub silent: bool,
    /// Protocol.
    pub protocol: Protocol,
    /// Addresses and ports.
    pub header: Header,
    /// Text between the parentheses.
    pub options: &'a [u8],
}

/// Reads a rule's header and finds its options.
///
/// Errors: which part cannot be read.
pub fn parse(text: &[u8]) -> Result<Parts<'_>, Reason> {
    let mut rest = trim(text);
    let name = word(&mut rest)?;
    let silent = name.eq_ignore_ascii_case("config");
    let action = if silent {
        Action::Alert
    } else {
        action(&name)?
    };
    let protocol = protocol(&word(&mut rest)?)?;
    let src = group::parse(&word(&mut rest)?)?;
    let src_ports = group::parse(&word(&mut rest)?)?;
    let arrow = word(&mut rest)?;
    let both_ways = match arrow.as_str() {
        "->" => false,
        "<>" => true,
        other => return Err(Reason::BadHeader(format!("'{other}' is not a direction"))),
    };
    let dst = group::parse(&word(&mut rest)?)?;
    let dst_ports = group::parse(&word(&mut rest)?)?;
    let options = rest
        .strip_prefix(b"(")
        .and_then(|inner| inner.strip_suffix(b")"))
        .ok_or_else(|| Reason::BadHeader("options are not in parentheses".into()))?;
    let header = Header {
        src,
        src_ports,
        dst,
        dst_ports,
        both_ways,
    };
    Ok(Parts {
        action,
        silent,
        protocol,
        header,
        options,
    })
}

/// Takes the next word; brackets hold it together.
fn word(rest: &mut &[u8]) -> Result<String, Reason> {
    let mut depth = 0i32;
    let end = rest.iter().position(|byte| {
        match byte {
            b'[' => depth += 1,
            b']' => depth -= 1,
            _ => {}
        }
        depth <= 0 && byte.is_ascii_whitespace()
    });
    let (found, left) = rest.split_at(end.unwrap_or(rest.len()));
    // A rule may write its ports and the parenthesis without a space between them.
    let (found, left) = match found.iter().position(|byte| *byte == b'(') {
        Some(at) if at > 0 => rest.split_at(at),
        _ => (found, left),
    };
    if found.is_empty() || found[0] == b'(' {
        return Err(Reason::BadHeader("incomplete".into()));
    }
    *rest = trim(left);
    match std::str::from_utf8(found) {
        Ok(text) => Ok(text.into()),
        Err(_) => Err(Reason::BadHeader(format!(
            "'{}' is not text",
            printable(found)
        ))),
    }
}

fn action(name: &str) -> Result<Action, Reason> {
    let mut named = Action::NAMED.iter();
    let found = named.find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map_or_else(
        || Err(Reason::UnknownAction(name.into())),
        |(_, action)| Ok(*action),
    )
}

fn protocol(name: &str) -> Result<Protocol, Reason> {
    /// Protocols of Suricata 7 that are neither parsed nor told apart here.
    const OTHERS: &[&str] = &[
        "bittorrent-dht",
        "dnp3",
        "enip",
        "ftp-data",
        "imap",
        "jabber",
        "modbus",
        "mqtt",
        "msn",
        "nfs",
        "nfs2",
        "nfs3",
        "pgsql",
        "rdp",
        "rfb",
        "smb1",
        "ssl",
        "telnet",
        "template",
        "decode",
    ];
    let lower = name.to_ascii_lowercase();
    Ok(match lower.as_str() {
        "ip" | "ip4" | "ip6" | "ipv4" | "ipv6" | "any" | "pkthdr" => match lower.as_str() {
            "ip4" | "ipv4" => Protocol::Ip4,
            "ip6" | "ipv6" => Protocol::Ip6,
            _ => Protocol::Ip,
        },
        "tcp" => Protocol::Tcp,
        "tcp-pkt" => Protocol::TcpPkt,
        "tcp-stream" => Protocol::TcpStream,
        "udp" => Protocol::Udp,
        "icmp" => Protocol::Icmp,
        "icmpv4" | "icmp4" => Protocol::Icmpv4,
        "icmpv6" | "icmp6" => Protocol::Icmpv6,
        "sctp" => Protocol::Sctp,
        "http1" => Protocol::Http1,
        "ikev2" => Protocol::App(AppProto::Ike),
        other => match AppProto::from_name(other) {
            Some(app) => Protocol::App(app),
            None if OTHERS.contains(&other) => {
                return Err(Reason::UnsupportedProtocol(name.into()))
            }
            None => return Err(Reason::UnknownProtocol(name.into())),
        },
    })
}
