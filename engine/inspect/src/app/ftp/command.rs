//! The client's commands, and the addresses that commands and replies announce.
use std::net::{IpAddr, Ipv4Addr};

/// Commands that are answered, as Suricata knows them, each by how its line begins (in any case).
const COMMANDS: &[&str] = &[
    "PORT", "EPRT", "AUTH TLS", "PASV", "RETR", "EPSV", "ALLO", "ACCT", "APPE", "CDUP", "CHMOD",
    "CWD", "DELE", "HELP", "LIST", "MDTM", "MKD", "MODE", "NLST", "NOOP", "PASS", "PWD", "QUIT",
    "REIN", "REST", "RMD", "RNFR", "RNTO", "SITE", "SIZE", "SMNT", "STAT", "STOR", "STOU", "STRU",
    "SYST", "TYPE", "UMASK", "USER",
];

/// The command of a line, and what follows it and a space.
pub(super) fn split(line: &[u8]) -> Option<(&'static str, &[u8])> {
    let name = COMMANDS.iter().copied().find(|name| {
        line.get(..name.len())
            .is_some_and(|front| front.eq_ignore_ascii_case(name.as_bytes()))
    })?;
    Some((name, line.get(name.len() + 1..).unwrap_or_default()))
}

/// Where a data connection will listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub address: Option<IpAddr>,
    pub port: u16,
}

/// Six numbers parted by commas: four of an IPv4 address, two of a port. Source: RFC 959, 4.1.2 (PORT).
fn six_numbers(text: &[u8]) -> Option<Endpoint> {
    let mut numbers = [0u8; 6];
    let mut parts = text.split(|byte| *byte == b',');
    for (at, number) in numbers.iter_mut().enumerate() {
        let word = parts.next()?.trim_ascii();
        let end = word.iter().position(|byte| !byte.is_ascii_digit());
        let (digits, rest) = word.split_at(end.unwrap_or(word.len()));
        // Only behind the last number may anything follow.
        if !rest.is_empty() && at != 5 {
            return None;
        }
        *number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    }
    let [a, b, c, d, high, low] = numbers;
    Some(Endpoint {
        address: Some(Ipv4Addr::new(a, b, c, d).into()),
        port: u16::from_be_bytes([high, low]),
    })
}

/// `PORT`'s argument.
pub(super) fn port(text: &[u8]) -> Option<Endpoint> {
    six_numbers(text).filter(|it| it.port != 0)
}

/// `EPRT`'s argument: `|2|::1|1234|`, with any delimiter. Source: RFC 2428, 2.
pub(super) fn extended_port(text: &[u8]) -> Option<Endpoint> {
    let text = text.trim_ascii();
    let delimiter = text.first()?;
    let mut parts = text[1..].split(|byte| byte == delimiter);
    let mut word = || std::str::from_utf8(parts.next()?).ok();
    let (_protocol, address, port) = (word()?, word()?, word()?);
    Some(Endpoint {
        address: address.parse().ok(),
        port: port.parse().ok().filter(|port| *port != 0)?,
    })
}

/// The reply to `PASV`, behind its code: the numbers stand anywhere in it. Source: RFC 1123, 4.1.2.6.
pub(super) fn passive(text: &[u8]) -> Option<Endpoint> {
    let starts = (0..text.len())
        .filter(|at| text[*at].is_ascii_digit() && (*at == 0 || !text[at - 1].is_ascii_digit()));
    // Each number of the six is a start, and the text before them may hold a few.
    starts.take(MAX_NUMBERS).find_map(|at| port(&text[at..]))
}

/// Numbers in a reply at which the six may begin.
const MAX_NUMBERS: usize = 16;

/// The reply to `EPSV`: `(|||1234|)`. Source: RFC 2428, 3.
pub(super) fn extended_passive(text: &[u8]) -> Option<Endpoint> {
    let open = memchr::memchr(b'(', text)?;
    let [a, b, c, rest @ ..] = text.get(open + 1..)? else {
        return None;
    };
    if a != b || b != c {
        return None;
    }
    let end = rest.iter().position(|byte| byte == a)?;
    let port = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    (port != 0).then_some(Endpoint {
        address: None,
        port,
    })
}

/// A reply line's three digits, and whether more lines follow; `None` for a line within a reply.
pub(super) fn reply_code(line: &[u8]) -> Option<([u8; 3], bool)> {
    let code: [u8; 3] = line.get(..3)?.try_into().ok()?;
    if !code.iter().all(u8::is_ascii_digit) {
        return None;
    }
    match line.get(3) {
        None | Some(b' ') => Some((code, false)),
        Some(b'-') => Some((code, true)),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v4(port: u16) -> Option<Endpoint> {
        Some(Endpoint {
            address: Some(Ipv4Addr::new(10, 0, 0, 1).into()),
            port,
        })
    }

    #[test]
    fn reads_addresses_in_every_form() {
        assert_eq!(port(b"10,0,0,1,4,1"), v4(1025));
        assert_eq!(port(b"10,0,0,1,4,1\r"), v4(1025));
        assert_eq!(passive(b" Entering Passive Mode (10,0,0,1,4,1)."), v4(1025));
        assert_eq!(passive(b" on 2 ports =10,0,0,1,4,1"), v4(1025));
        assert_eq!(extended_port(b"|1|10.0.0.1|1025|"), v4(1025));
        let v6 = extended_port(b"!2!2001:db8::1!1025!").unwrap();
        assert_eq!((v6.address, v6.port), ("2001:db8::1".parse().ok(), 1025));
        let extended = extended_passive(b"229 Extended (|||1025|)").unwrap();
        assert_eq!((extended.address, extended.port), (None, 1025));
    }

    #[test]
    fn refuses_what_is_no_address() {
        for text in [
            &b"10,0,0,1,4"[..],
            b"10,0,0,256,4,1",
            b"10,0,0,1,0,0",
            b"",
            b"a,b,c,d,e,f",
        ] {
            assert_eq!((port(text), passive(text)), (None, None));
        }
        for text in [&b"|1|10.0.0.1|0|"[..], b"|1|10.0.0.1|70000|", b"|", b""] {
            assert_eq!(extended_port(text), None);
        }
        for text in [
            &b"229 (||1025|)"[..],
            b"229 (|||0|)",
            b"229 (|||1025",
            b"229",
        ] {
            assert_eq!(extended_passive(text), None);
        }
    }

    #[test]
    fn tells_commands_by_how_lines_begin() {
        assert_eq!(split(b"retr  a b"), Some(("RETR", &b" a b"[..])));
        assert_eq!(split(b"PWD"), Some(("PWD", &b""[..])));
        assert_eq!(split(b"XYZZ"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_address_or_none(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (port(&text), extended_port(&text), passive(&text), extended_passive(&text));
            let _ = (split(&text), reply_code(&text));
        }
    }
}
