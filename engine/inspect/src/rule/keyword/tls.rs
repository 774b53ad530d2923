//! TLS's buffers and conditions.
use super::super::buffer::{Buffer, Extract, Stage, Test, Transaction};
use super::super::condition::{TxOperand, TxTest};
use super::super::content::Content;
use super::super::draft::Draft;
use super::super::lexer::quoted;
use super::super::number::Range;
use super::super::Reason;
use super::date::date_range;
use super::{flag, sticky, text, value, Keyword};
use crate::app::tls::{self, State, SSL2};
use crate::app::{of, quic, AppProto, AppSet};
use crate::Direction;

pub(super) const KEYWORDS: &[Keyword] = &[
    sticky(&["tls.sni", "tls_sni"], &SNI),
    sticky(&["tls.cert_subject", "tls_cert_subject"], &CERT_SUBJECT),
    sticky(&["tls.cert_issuer", "tls_cert_issuer"], &CERT_ISSUER),
    sticky(&["tls.cert_serial", "tls_cert_serial"], &CERT_SERIAL),
    sticky(
        &["tls.cert_fingerprint", "tls_cert_fingerprint"],
        &CERT_FINGERPRINT,
    ),
    sticky(&["tls.certs"], &CERTS),
    sticky(&["tls.random"], &RANDOM),
    sticky(&["tls.random_time"], &RANDOM_TIME),
    sticky(&["tls.random_bytes"], &RANDOM_BYTES),
    sticky(&["ja3.hash", "ja3_hash"], &JA3_HASH),
    sticky(&["ja3.string", "ja3_string"], &JA3_STRING),
    sticky(&["ja3s.hash"], &JA3S_HASH),
    sticky(&["ja3s.string"], &JA3S_STRING),
    sticky(&["ja4.hash", "ja4_hash"], &JA4_HASH),
    value(&["tls.subject"], |draft, keyword, value| {
        named(draft, keyword, value, &CERT_SUBJECT)
    }),
    value(&["tls.issuerdn"], |draft, keyword, value| {
        named(draft, keyword, value, &CERT_ISSUER)
    }),
    value(&["tls.fingerprint"], |draft, keyword, value| {
        named(draft, keyword, value, &CERT_FINGERPRINT)
    }),
    value(&["tls.version"], tls_version),
    value(&["ssl_version"], ssl_version),
    value(&["ssl_state"], ssl_state),
    value(&["tls.cert_chain_len"], chain_length),
    value(&["tls_cert_notbefore"], |draft, keyword, value| {
        let range = TxOperand::Range(date_range(keyword, value)?);
        certificate_test(draft, "tls_cert_notbefore", range, |view, _, range| {
            first_of(view).is_some_and(|first| is_within(range, first.not_before))
        })
    }),
    value(&["tls_cert_notafter"], |draft, keyword, value| {
        let range = TxOperand::Range(date_range(keyword, value)?);
        certificate_test(draft, "tls_cert_notafter", range, |view, _, range| {
            first_of(view).is_some_and(|first| is_within(range, first.not_after))
        })
    }),
    flag(&["tls_cert_expired"], |draft, _| {
        certificate_test(draft, "tls_cert_expired", TxOperand::None, |view, _, _| {
            first_of(view).is_some_and(|first| first.not_after < seen(view))
        })
    }),
    flag(&["tls_cert_valid"], |draft, _| {
        certificate_test(draft, "tls_cert_valid", TxOperand::None, |view, _, _| {
            first_of(view).is_some_and(|first| first.not_after >= seen(view))
        })
    }),
    // Certificates are not stored in files; as in Suricata without `tls-store`, it asks nothing of the traffic.
    flag(&["tls.store", "tls_store"], |draft, keyword| {
        draft.need_apps(TLS, keyword)
    }),
];

const TLS: AppSet = AppSet::of(&[AppProto::Tls]);

/// A buffer of the client's hello.
const fn offered(name: &'static str, extract: Extract) -> Buffer {
    Buffer {
        to_server: Some(Stage::Headers),
        to_client: None,
        ..Buffer::both(name, TLS, extract)
    }
}

/// A buffer of the server's hello.
const fn chosen(name: &'static str, extract: Extract) -> Buffer {
    Buffer {
        to_server: None,
        to_client: Some(Stage::Headers),
        ..Buffer::both(name, TLS, extract)
    }
}

/// A buffer of either side's, once that stage is reached.
const fn either(name: &'static str, stage: Stage, extract: Extract) -> Buffer {
    Buffer {
        to_server: Some(stage),
        to_client: Some(stage),
        ..Buffer::both(name, TLS, extract)
    }
}

/// An extractor for a field of that side's first certificate.
macro_rules! certificate {
    ($field:ident) => {
        |view, direction, index, _| {
            let tx = of::<tls::Transaction>(view)?;
            let first = tx.peer(direction).chain.first.as_deref();
            first.filter(|_| index == 0).map(|it| it.$field.as_bytes())
        }
    };
}

/// An extractor for bytes of that side's random.
macro_rules! random {
    ($range:expr) => {
        |view, direction, index, _| {
            let tx = of::<tls::Transaction>(view)?;
            let hello = tx.peer(direction).hello.as_deref()?;
            hello.random.as_ref()?.get($range).filter(|_| index == 0)
        }
    };
}

static SNI: Buffer = offered("tls.sni", |view, _, index, _| {
    let hello = of::<tls::Transaction>(view)?.client.hello.as_deref()?;
    hello.sni.as_deref().filter(|_| index == 0)
});
static CERT_SUBJECT: Buffer = either("tls.cert_subject", Stage::Body, certificate!(subject));
static CERT_ISSUER: Buffer = either("tls.cert_issuer", Stage::Body, certificate!(issuer));
static CERT_SERIAL: Buffer = Buffer {
    any_case: true,
    validate: |content| {
        let bytes = content.needle.bytes();
        if bytes.len() > 2 && !bytes.contains(&b':') {
            return Err("a serial number is written with colons");
        }
        Ok(())
    },
    ..either("tls.cert_serial", Stage::Body, certificate!(serial))
};
static CERT_FINGERPRINT: Buffer = Buffer {
    any_case: true,
    validate: |content| {
        let bytes = content.needle.bytes();
        if bytes.len() != 59 {
            return Err("a fingerprint is 59 characters long");
        }
        if !bytes.contains(&b':') {
            return Err("a fingerprint is written with colons");
        }
        Ok(())
    },
    ..either(
        "tls.cert_fingerprint",
        Stage::Body,
        certificate!(fingerprint),
    )
};
static CERTS: Buffer = Buffer {
    multiple: true,
    ..either("tls.certs", Stage::Body, |view, direction, index, _| {
        let tx = of::<tls::Transaction>(view)?;
        tx.peer(direction).chain.get(usize::try_from(index).ok()?)
    })
};
static RANDOM: Buffer = either("tls.random", Stage::Headers, random!(..));
static RANDOM_TIME: Buffer = either("tls.random_time", Stage::Headers, random!(..4));
static RANDOM_BYTES: Buffer = either("tls.random_bytes", Stage::Headers, random!(4..));
/// JA3's hash or the numbers it is made of: of the hello that goes that way.
macro_rules! ja3 {
    ($field:ident) => {
        |view, direction, index, _| {
            let made = match of::<tls::Transaction>(view) {
                Some(tx) => tx.ja3(direction),
                None => of::<quic::Transaction>(view)?.ja3.as_deref(),
            };
            made.filter(|_| index == 0).map(|it| it.$field.as_bytes())
        }
    };
}

/// The protocols whose hellos have fingerprints.
const GREETED: AppSet = AppSet::of(&[AppProto::Tls, AppProto::Quic]);

static JA3_HASH: Buffer = Buffer {
    apps: GREETED,
    any_case: true,
    validate: is_md5,
    ..offered("ja3.hash", ja3!(hash))
};
static JA3_STRING: Buffer = Buffer {
    apps: GREETED,
    ..offered("ja3.string", ja3!(string))
};
static JA3S_HASH: Buffer = Buffer {
    apps: GREETED,
    any_case: true,
    validate: is_md5,
    ..chosen("ja3s.hash", ja3!(hash))
};
static JA3S_STRING: Buffer = Buffer {
    apps: GREETED,
    ..chosen("ja3s.string", ja3!(string))
};
static JA4_HASH: Buffer = Buffer {
    apps: GREETED,
    ..offered("ja4.hash", |view, _, index, _| {
        let made = match of::<tls::Transaction>(view) {
            Some(tx) => tx.ja4(),
            None => of::<quic::Transaction>(view)?.ja4(),
        };
        made.filter(|_| index == 0).map(str::as_bytes)
    })
};

pub(super) fn is_md5(content: &Content) -> Result<(), &'static str> {
    let bytes = content.needle.bytes();
    if bytes.len() != 32 {
        return Err("a hash is 32 characters long");
    }
    if !bytes.iter().all(u8::is_ascii_hexdigit) {
        return Err("a hash is hexadecimal");
    }
    Ok(())
}

/// `tls.subject:"…"` is a content of the buffer that took its place.
fn named(
    draft: &mut Draft,
    keyword: &str,
    value: &[u8],
    buffer: &'static Buffer,
) -> Result<(), Reason> {
    let (negated, value) = match value.strip_prefix(b"!") {
        Some(rest) => (true, rest.trim_ascii_start()),
        None => (false, value),
    };
    let bytes = quoted(keyword, value)?;
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || b" \t-.=,*@:_^[]\\`".contains(byte);
    if bytes.is_empty() || !bytes.iter().all(known) {
        return Err(Reason::bad_value(
            keyword,
            "characters that names are not searched for",
        ));
    }
    draft.push_to(buffer, Test::Content(Content::new(bytes.to_vec(), negated)))
}

/// Adds a condition on the transaction, asked of both sides.
fn test(
    draft: &mut Draft,
    keyword: &'static str,
    holds: fn(&dyn Transaction, Direction, &TxOperand) -> bool,
    operand: TxOperand,
) -> Result<(), Reason> {
    draft.need_apps(TLS, keyword)?;
    draft.tx_tests.push(TxTest {
        keyword,
        sides: TxTest::EITHER,
        holds,
        operand,
    });
    Ok(())
}

/// `1.0` … `1.3`, which drafts of it are too, or the number on the wire as `0x0303`.
fn tls_version(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let bad = || Reason::bad_value(keyword, "neither 1.0 to 1.3 nor a number like 0x0303");
    let text = text(keyword, value)?.trim();
    let raw = text
        .strip_prefix("0x")
        .filter(|digits| digits.len() == 4)
        .and_then(|digits| u16::from_str_radix(digits, 16).ok());
    let (version, any_draft) = match (text, raw) {
        (_, Some(raw)) => (raw, false),
        ("1.0", _) => (0x0301, true),
        ("1.1", _) => (0x0302, true),
        ("1.2", _) => (0x0303, true),
        ("1.3", _) => (0x0304, true),
        _ => return Err(bad()),
    };
    let holds: fn(&dyn Transaction, Direction, &TxOperand) -> bool = if any_draft {
        |view, direction, operand| match version_of(view, direction) {
            Some(version) if version >> 8 == 0x7f => *operand == TxOperand::Number(0x0304),
            version => version.is_some_and(|it| *operand == TxOperand::Number(it.into())),
        }
    } else {
        |view, direction, operand| {
            let version = version_of(view, direction);
            version.is_some_and(|it| *operand == TxOperand::Number(it.into()))
        }
    };
    test(
        draft,
        "tls.version",
        holds,
        TxOperand::Number(version.into()),
    )
}

fn version_of(view: &dyn Transaction, direction: Direction) -> Option<u16> {
    Some(of::<tls::Transaction>(view)?.peer(direction).version)
}

/// A list of versions, one of which must be spoken. Suricata takes a list of negated ones too, which then
/// holds for no connection at all.
fn ssl_version(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let text = text(keyword, value)?;
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    let mut wanted = Vec::new();
    let mut negated = Vec::new();
    for word in words {
        let (list, name) = match word.strip_prefix('!') {
            Some(name) => (&mut negated, name),
            None => (&mut wanted, word),
        };
        list.push(Range::Is(match name.to_ascii_lowercase().as_str() {
            "sslv2" => u64::from(SSL2),
            "sslv3" => 0x0300,
            "tls1.0" => 0x0301,
            "tls1.1" => 0x0302,
            "tls1.2" => 0x0303,
            "tls1.3" => 0x0304,
            _ => return Err(Reason::bad_value(keyword, format!("no version '{word}'"))),
        }));
    }
    if wanted.is_empty() == negated.is_empty() {
        return Err(Reason::bad_value(
            keyword,
            "neither only wanted nor only unwanted versions",
        ));
    }
    let holds = |view: &dyn Transaction, direction, operand: &TxOperand| match operand {
        TxOperand::Ranges(versions) => version_of(view, direction)
            .is_some_and(|version| versions.iter().any(|it| it.holds(version.into()))),
        _ => false,
    };
    test(draft, "ssl_version", holds, TxOperand::Ranges(wanted))
}

/// Handshake messages, one of which was read last; `!`: was not.
fn ssl_state(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let text = text(keyword, value)?;
    let mut states = Vec::new();
    for word in text.split([',', '|']).map(str::trim) {
        let (negated, name) = match word.strip_prefix('!') {
            Some(name) => (true, name),
            None => (false, word),
        };
        let state = match name {
            "client_hello" => State::ClientHello,
            "server_hello" => State::ServerHello,
            "client_keyx" => State::ClientKeyExchange,
            "server_keyx" => State::ServerKeyExchange,
            "unknown" => {
                // A state that is never reached.
                states.push(Range::Is(u64::MAX));
                continue;
            }
            _ => return Err(Reason::bad_value(keyword, format!("no state '{word}'"))),
        };
        states.push(match negated {
            true => Range::Not(state as u64),
            false => Range::Is(state as u64),
        });
    }
    let holds = |view: &dyn Transaction, _, operand: &TxOperand| match operand {
        TxOperand::Ranges(states) => of::<tls::Transaction>(view)
            .is_some_and(|tx| states.iter().any(|it| it.holds(tx.state as u64))),
        _ => false,
    };
    test(draft, "ssl_state", holds, TxOperand::Ranges(states))
}

/// How many certificates the server sent, once it has, or the peers have agreed without.
fn chain_length(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let range = Range::parse(value).map_err(|why| Reason::bad_value(keyword, why))?;
    let holds = |view: &dyn Transaction, _, operand: &TxOperand| match operand {
        TxOperand::Range(range) => of::<tls::Transaction>(view).is_some_and(|tx| {
            let sent = tx.server.chain.len() as u64;
            (tx.done || sent > 0) && range.holds(sent)
        }),
        _ => false,
    };
    certificate_test(draft, "tls.cert_chain_len", TxOperand::Range(range), holds)
}

/// Adds a condition on the server's certificates.
fn certificate_test(
    draft: &mut Draft,
    keyword: &'static str,
    operand: TxOperand,
    holds: fn(&dyn Transaction, Direction, &TxOperand) -> bool,
) -> Result<(), Reason> {
    draft.need_apps(TLS, keyword)?;
    draft.tx_tests.push(TxTest {
        keyword,
        sides: [None, Some(Stage::Body)],
        holds,
        operand,
    });
    Ok(())
}

/// The server's first certificate.
fn first_of(view: &dyn Transaction) -> Option<&tls::Certificate> {
    of::<tls::Transaction>(view)?.server.chain.first.as_deref()
}

/// When the packet came that is being looked at, Unix seconds.
fn seen(view: &dyn Transaction) -> i64 {
    i64::try_from(view.head().seen_s).unwrap_or(i64::MAX)
}

fn is_within(range: &TxOperand, unix_s: i64) -> bool {
    match range {
        TxOperand::Range(range) => range.holds(unix_s.max(0) as u64),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::rule::{check, Reason};

    fn refusal(rule: &str) -> Option<Reason> {
        let (_, refused) = check(&[("test.rules".into(), rule.into())]);
        refused.into_iter().next().map(|refused| refused.reason)
    }

    #[test]
    fn refuses_what_could_never_match() {
        for options in [
            "ja3.hash; content:\"abc\";",
            "tls.cert_fingerprint; content:\"aa:bb\";",
            "tls.cert_serial; content:\"AABB\";",
            "ssl_version:sslv2,!tls1.0;",
            "ssl_version:\"tls1.2\";",
            "ssl_state:! client_hello;",
            "tls.version:\"1.2\";",
            "tls.version:sslv3;",
            "tls.subject:CN;",
            "tls_cert_notbefore:>10:20;",
            "flow:to_server; tls.cert_chain_len:>0;",
            "flow:to_client; tls.sni; content:\"a\";",
        ] {
            assert!(
                refusal(&format!("alert tls any any -> any any ({options} sid:1;)")).is_some(),
                "{options}"
            );
        }
    }

    #[test]
    fn accepts_what_suricata_accepts() {
        for options in [
            "ja3_hash; content:\"A9b3e4b3e4b3e4b3e4b3e4b3e4b3e4b3\"; nocase;",
            "tls_sni; content:\"a\";",
            "tls.cert_serial; content:\"5C:19\";",
            "ssl_version:!sslv2,!tls1.0;",
            "ssl_version:TLS1.2, tls1.3;",
            "ssl_state:client_hello|!server_hello, unknown;",
            "tls.version:0x0303;",
            "tls.issuerdn:!\"CN=x\"; tls.store;",
            "tls_cert_notbefore:2015-06-01<>2015-07-01 10:20;",
            "tls_cert_notafter:>2015-06; tls_cert_valid;",
            "tls.cert_chain_len:0<>4; tls_cert_expired;",
        ] {
            let rule = format!("alert tls any any -> any any ({options} sid:1;)");
            assert_eq!(refusal(&rule), None, "{options}");
        }
    }
}
