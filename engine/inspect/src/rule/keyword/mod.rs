//! The keyword tables.
//!
//! Each file holds one table, with everything a keyword is: its names, how its value is read, and for a
//! sticky buffer which side of which protocol has it, when, and where its bytes are. A new keyword is a new
//! row; a new file is one line in [`TABLES`].
mod app;
mod bytes;
mod content;
mod dataset;
mod date;
mod dcerpc;
mod dhcp;
mod dns;
mod effect;
mod event;
mod file;
mod flow;
mod frame;
mod ftp;
mod http;
mod http2;
mod ike;
mod krb5;
mod meta;
mod mqtt;
mod nfs;
mod packet;
mod pcre;
mod protocols;
mod quic;
mod rfb;
mod sip;
mod smb;
mod snmp;
mod ssh;
mod state;
mod tls;
mod transform;

pub use dcerpc::Iface;
pub use packet::{may_fit_empty_segment, only_of_syn};

use std::collections::HashMap;
use std::sync::OnceLock;

use super::buffer::Buffer;
use super::draft::Draft;
use super::lexer::RuleOption;
use super::transform::Transform;
use super::Reason;

const TABLES: &[&[Keyword]] = &[
    app::KEYWORDS,
    bytes::KEYWORDS,
    content::KEYWORDS,
    dataset::KEYWORDS,
    event::KEYWORDS,
    dcerpc::KEYWORDS,
    file::KEYWORDS,
    dhcp::KEYWORDS,
    dns::KEYWORDS,
    effect::KEYWORDS,
    flow::KEYWORDS,
    frame::KEYWORDS,
    ftp::KEYWORDS,
    http::KEYWORDS,
    http2::KEYWORDS,
    meta::KEYWORDS,
    mqtt::KEYWORDS,
    nfs::KEYWORDS,
    packet::KEYWORDS,
    pcre::KEYWORDS,
    state::KEYWORDS,
    ike::KEYWORDS,
    krb5::KEYWORDS,
    quic::KEYWORDS,
    rfb::KEYWORDS,
    ssh::KEYWORDS,
    tls::KEYWORDS,
    smb::KEYWORDS,
    sip::KEYWORDS,
    snmp::KEYWORDS,
    transform::KEYWORDS,
];

/// One keyword.
pub struct Keyword {
    /// Its names, the current one first.
    names: &'static [&'static str],
    /// What it does.
    meaning: Meaning,
}

/// What a keyword does.
enum Meaning {
    /// Makes a buffer the one that following conditions are about.
    Sticky(&'static Buffer),
    /// Moves the content before it into a buffer.
    Modifier(&'static Buffer),
    /// Transforms the sticky buffer before it.
    Transform(fn(&str, &[u8]) -> Result<Transform, Reason>),
    /// Transforms the sticky buffer before it, and takes no value.
    PlainTransform(Transform),
    /// Takes no value.
    Flag(fn(&mut Draft, &str) -> Result<(), Reason>),
    /// Needs a value.
    Value(Read),
    /// May have a value; without one it is empty.
    Optional(Read),
}

/// A keyword's value being read into a draft.
type Read = fn(&mut Draft, &str, &[u8]) -> Result<(), Reason>;

/// A row of a table: a sticky buffer.
const fn sticky(names: &'static [&'static str], buffer: &'static Buffer) -> Keyword {
    let meaning = Meaning::Sticky(buffer);
    Keyword { names, meaning }
}

/// A row of a table: a modifier of the content before it.
const fn modifier(names: &'static [&'static str], buffer: &'static Buffer) -> Keyword {
    let meaning = Meaning::Modifier(buffer);
    Keyword { names, meaning }
}

/// A row of a table: a keyword without a value.
const fn flag(
    names: &'static [&'static str],
    set: fn(&mut Draft, &str) -> Result<(), Reason>,
) -> Keyword {
    let meaning = Meaning::Flag(set);
    Keyword { names, meaning }
}

/// A row of a table: a keyword with a value.
const fn value(names: &'static [&'static str], read: Read) -> Keyword {
    let meaning = Meaning::Value(read);
    Keyword { names, meaning }
}

/// A row of a table: a keyword that may have a value.
const fn optional(names: &'static [&'static str], read: Read) -> Keyword {
    let meaning = Meaning::Optional(read);
    Keyword { names, meaning }
}

const SCRIPT: &str = "no scripts are run; say it with content, pcre, byte_test or a data set";
const HOSTS: &str =
    "name the addresses in the header or in a variable, or look ip.src or ip.dst up in a data set";
const PACKETS: &str = "no packet is rewritten; the action drop or reject stops it";
const MARKS: &str = "the marks are the appliance's own";

const LATER: &str = "it is of Suricata 8; rules are read in Suricata 7's language";

/// Keywords of Suricata 8: their names, or how they begin.
const LATER_KEYWORDS: [&str; 31] = [
    "absent",
    "dns.additionals.",
    "dns.answers.",
    "dns.authorities.",
    "dns.queries.",
    "dns.query.name",
    "dns.rcode",
    "dns.response.",
    "dns.rrtype",
    "email.",
    "enip.",
    "entropy",
    "flow.bytes",
    "flow.elephant",
    "flow.pkts",
    "from_base64",
    "ftp.",
    "igmp.",
    "ldap.",
    "luaxform",
    "mdns.",
    "pop3.",
    "sdp.",
    "smtp.",
    "subslice",
    "tcp.wscale",
    "tls.alpn",
    "tls.subjectaltname",
    "unhexlify",
    "vlan.",
    "websocket.",
];

/// Keywords of Suricata 7 that are not evaluated here, and what can be written instead.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("cip_service", ""),
    ("detection_filter_by", ""),
    ("dnp3_data", ""),
    ("dnp3_func", ""),
    ("dnp3_ind", ""),
    ("dnp3_obj", ""),
    ("dnp3.data", ""),
    ("enip_command", ""),
    ("geoip", HOSTS),
    ("iprep", HOSTS),
    ("krb5.weak_encryption", ""),
    ("lua", SCRIPT),
    ("luajit", SCRIPT),
    ("modbus", ""),
    ("nfq_set_mark", MARKS),
    ("pgsql.query", ""),
    ("replace", PACKETS),
    ("file.data.raw", ""),
    ("template", ""),
    ("vxlan_vni", ""),
    ("geneve_vni", ""),
    ("krb5.msg_type", ""),
    ("ftpdata", ""),
    ("detect-noalert", ""),
];

/// How values of several parts are written: said where one cannot be read.
const FORMS: &[(&str, &str)] = &[
    (
        "asn1",
        "bitstring_overflow, double_overflow, oversize_length N, absolute_offset N or relative_offset N",
    ),
    (
        "base64_decode",
        "[bytes N][,offset N][,relative], or nothing",
    ),
    (
        "byte_extract",
        "BYTES,OFFSET,NAME[,relative][,multiplier N][,big|little|dce][,string,hex|dec|oct][,align 2|4]",
    ),
    (
        "byte_jump",
        "BYTES,OFFSET[,relative][,multiplier N][,big|little|dce][,string,hex|dec|oct][,align]\
         [,from_beginning|from_end][,post_offset N]",
    ),
    (
        "byte_math",
        "bytes N, offset N, oper +|-|*|/|<<|>>, rvalue N|NAME, result NAME[, relative][, endian big|little]\
         [, string hex|dec|oct][, bitmask N]",
    ),
    (
        "byte_test",
        "BYTES,[!]<|>|=|<=|>=|&|^,VALUE|NAME,OFFSET[,relative][,big|little|dce][,string,hex|dec|oct][,bitmask N]",
    ),
    ("config", "logging disable, type tx, scope tx"),
    ("dcerpc.iface", "UUID[,<|>|=|!VERSION][,any_frag]"),
    ("dcerpc.opnum", "N, FIRST-LAST, or several with commas between"),
    (
        "detection_filter",
        "track by_src|by_dst, count N, seconds N, none of them 0",
    ),
    ("dsize", "N, !N, <N, >N or MIN<>MAX"),
    ("filestore", "[request|response|both[,file|tx|flow]]"),
    ("flags", "[+|*|!]FSRPAUEC0[,IGNORED]"),
    (
        "flow",
        "established|not_established|stateless, to_server|to_client|from_server|from_client, only_stream|no_stream, \
         only_frag|no_frag, with commas between",
    ),
    (
        "flowbits",
        "set|unset|toggle|isset|isnotset,NAME; isset and isnotset take NAME|NAME too; or noalert",
    ),
    (
        "flowint",
        "NAME,=|+|-|==|!=|<|<=|>|>=,N|NAME, or NAME,isset|notset",
    ),
    ("fragbits", "[+|*|!]MDR"),
    ("hostbits", "set|unset|toggle|isset|isnotset,NAME[,src|dst], or noalert"),
    ("isdataat", "[!]N|NAME[,relative][,rawbytes]"),
    ("requires", "version >= 7.0[.N], keyword NAME or feature NAME"),
    ("stream_size", "client|server|both|either,<|<=|>|>=|=|!=,N"),
    ("tag", "session|host[,N,packets|seconds|bytes[,src|dst]]"),
    (
        "threshold",
        "type limit|threshold|both, track by_src|by_dst|by_both|by_rule, count N, seconds N",
    ),
    ("urilen", "N, <N, >N or MIN<>MAX[,raw|norm]"),
    (
        "xbits",
        "set|unset|toggle|isset|isnotset,NAME,track ip_src|ip_dst|ip_pair[,expire SECONDS]",
    ),
];

fn form_of(keyword: &Keyword) -> Option<&'static str> {
    let of = FORMS.iter().find(|(name, _)| keyword.names.contains(name));
    of.map(|(_, form)| *form)
}

/// Keywords whose value may, or must, stand in quotes.
const QUOTED: &[&str] = &[
    "app-layer-protocol",
    "content",
    "file.name",
    "fileext",
    "filemagic",
    "filename",
    "ip_proto",
    "msg",
    "pcre",
    "pcrexform",
    "ssh.protoversion",
    "ssh.softwareversion",
    "tls.fingerprint",
    "tls.issuerdn",
    "tls.subject",
    "tos",
    "uricontent",
    "xor",
];

fn is_quoted(value: &[u8]) -> bool {
    matches!(value, [b'"', .., b'"'])
}

/// Reads one option into `draft`.
///
/// Errors: the keyword is unknown or unsupported, has a value it should not, or lacks one; or its own.
pub fn apply(draft: &mut Draft, option: &RuleOption<'_>) -> Result<(), Reason> {
    let name = option.name.to_ascii_lowercase();
    let keyword = index().get(name.as_str()).ok_or_else(|| {
        let unsupported = UNSUPPORTED.iter().find(|(known, _)| *known == name);
        let later = || {
            let later = LATER_KEYWORDS.iter().any(|later| name.starts_with(later));
            later.then_some(LATER)
        };
        match unsupported.map(|(_, instead)| *instead).or_else(later) {
            Some(instead) => Reason::UnsupportedKeyword {
                keyword: option.name.into(),
                instead,
            },
            None => Reason::unknown_keyword(option.name, supported()),
        }
    })?;
    let value = option.value.filter(|value| !value.is_empty());
    if value.is_some_and(is_quoted) && !QUOTED.contains(&keyword.names[0]) {
        return Err(Reason::bad_value(&name, "its value stands without quotes"));
    }
    let needed = || value.ok_or_else(|| Reason::MissingValue(name.clone()));
    let none = match value {
        None => Ok(()),
        Some(_) => Err(Reason::UnexpectedValue(name.clone())),
    };
    let applied = match &keyword.meaning {
        Meaning::Sticky(buffer) => none.and_then(|()| draft.enter(buffer)),
        Meaning::Modifier(buffer) => none.and_then(|()| draft.move_content(&name, buffer)),
        Meaning::Transform(parse) => draft.transform(&name, parse(&name, needed()?)?),
        Meaning::PlainTransform(transform) => {
            none.and_then(|()| draft.transform(&name, transform.clone()))
        }
        Meaning::Flag(set) => none.and_then(|()| set(draft, &name)),
        Meaning::Value(parse) => parse(draft, &name, needed()?),
        Meaning::Optional(parse) => parse(draft, &name, value.unwrap_or_default()),
    };
    applied.map_err(|reason| match (reason, form_of(keyword)) {
        (Reason::BadValue { keyword, why }, Some(form)) => {
            Reason::bad_value(&keyword, format!("{why}; write {name}:{form}"))
        }
        (reason, _) => reason,
    })
}

/// The names of all keywords that are evaluated.
pub fn supported() -> impl Iterator<Item = &'static str> {
    TABLES
        .iter()
        .copied()
        .flatten()
        .flat_map(|keyword| keyword.names.iter().copied())
}

fn index() -> &'static HashMap<&'static str, &'static Keyword> {
    static INDEX: OnceLock<HashMap<&'static str, &'static Keyword>> = OnceLock::new();
    INDEX.get_or_init(|| {
        let rows = TABLES.iter().copied().flatten();
        rows.flat_map(|keyword| keyword.names.iter().map(move |name| (*name, keyword)))
            .collect()
    })
}

/// What a message does not have is no buffer, rather than an empty one.
fn given(bytes: &[u8]) -> Option<&[u8]> {
    Some(bytes).filter(|bytes| !bytes.is_empty())
}

/// A value that must be text.
fn text<'a>(keyword: &str, value: &'a [u8]) -> Result<&'a str, Reason> {
    std::str::from_utf8(value).map_err(|_| Reason::bad_value(keyword, "not text"))
}

/// A decimal number that fits.
fn decimal<T: std::str::FromStr>(keyword: &str, value: &[u8]) -> Result<T, Reason> {
    let digits = text(keyword, value)?.trim();
    let number = digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())
        .flatten();
    number
        .ok_or_else(|| Reason::bad_value(keyword, format!("'{digits}' is not a number that fits")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_in_two_tables() {
        assert_eq!(index().len(), supported().count());
    }

    #[test]
    fn a_form_is_of_a_keyword_that_there_is() {
        let stray: Vec<_> = FORMS
            .iter()
            .filter(|(name, _)| !index().contains_key(name))
            .collect();
        assert!(stray.is_empty(), "{stray:?}");
    }

    #[test]
    fn nothing_supported_is_listed_as_unsupported() {
        let both: Vec<_> = supported()
            .filter(|name| UNSUPPORTED.iter().any(|(known, _)| known == name))
            .collect();
        assert!(both.is_empty(), "{both:?}");
    }
}
