//! The request target: split into parts, and normalised into what `http.uri` matches.
//!
//! What Suricata's default configuration does (libhtp's personality `IDS`, not lower-cased), checked against
//! what Suricata 7.0.10 matches:
//!
//! | | path | query | fragment |
//! |---|---|---|---|
//! | `%41` | decoded, once | decoded, once | decoded, once |
//! | `%u0041`, `%uff0e` | decoded, best fit to one byte | left alone | decoded, best fit |
//! | invalid percent code | left alone | left alone | left alone |
//! | `%00`, NUL | decoded; ends nothing | the same | the same |
//! | `+` | left alone | left alone | left alone |
//! | `\`, `%5c` | becomes `/` | left alone | left alone |
//! | `%2f` | becomes `/` | decoded | decoded |
//! | `//` | becomes `/` | left alone | left alone |
//! | UTF-8 | best fit to one byte, overlong forms too, invalid ones become `?`; decoded ones as well | left alone | left alone |
//! | `.`, `..` | resolved (RFC 3986, 5.2.4), after all of the above | left alone | left alone |
//!
//! Scheme, user, host and port of an absolute target are left out. Nothing is decoded twice
//! (`double-decode-path` and `double-decode-query` are off).

/// A request target's parts, as sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Before `://`, without it.
    pub scheme: Option<&'a [u8]>,
    /// `user:password`, without the `@`.
    pub userinfo: Option<&'a [u8]>,
    /// Host and port, if the target is absolute.
    pub authority: Option<&'a [u8]>,
    /// From the first `/`, or all of it where there is neither scheme nor slash.
    pub path: &'a [u8],
    /// Behind `?`.
    pub query: Option<&'a [u8]>,
    /// Behind `#`.
    pub fragment: Option<&'a [u8]>,
}

/// A host and its port out of an authority or a Host header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPort {
    /// Lower-case; an IPv6 literal keeps its brackets. Empty if there is none.
    pub host: Vec<u8>,
    /// The port, if there is a valid one.
    pub port: Option<u16>,
    /// Whether the port is what is wrong.
    pub bad_port: bool,
    /// Whether the host is what is wrong: an empty label, a character no host has, an unclosed bracket.
    pub bad_host: bool,
}

/// Splits a request target.
///
/// What does not begin with a slash has a scheme up to the first colon; an authority is read only behind a
/// scheme and exactly two slashes. Source: libhtp.
pub fn split(target: &[u8]) -> Parts<'_> {
    let mut parts = Parts::default();
    let mut rest = target;
    if target.first() != Some(&b'/') {
        if let Some(colon) = memchr::memchr(b':', target) {
            parts.scheme = Some(&target[..colon]);
            rest = &target[colon + 1..];
        }
    }
    if parts.scheme.is_some() && rest.len() > 2 && rest.starts_with(b"//") && rest[2] != b'/' {
        let end = rest[2..]
            .iter()
            .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
            .map_or(rest.len(), |at| at + 2);
        let authority = &rest[2..end];
        rest = &rest[end..];
        parts.authority = Some(match memchr::memchr(b'@', authority) {
            Some(at) => {
                parts.userinfo = Some(&authority[..at]);
                &authority[at + 1..]
            }
            None => authority,
        });
    }
    if let Some(hash) = memchr::memchr(b'#', rest) {
        parts.fragment = Some(&rest[hash + 1..]);
        rest = &rest[..hash];
    }
    if let Some(mark) = memchr::memchr(b'?', rest) {
        parts.query = Some(&rest[mark + 1..]);
        rest = &rest[..mark];
    }
    parts.path = rest;
    parts
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`.
pub fn host_port(text: &[u8]) -> HostPort {
    let text = text.trim_ascii();
    let (host, port) = if text.first() == Some(&b'[') {
        match memchr::memchr(b']', text) {
            None => {
                return HostPort {
                    host: text.to_ascii_lowercase(),
                    bad_host: true,
                    ..HostPort::default()
                }
            }
            Some(end) => (&text[..=end], &text[end + 1..]),
        }
    } else {
        let colon = memchr::memchr(b':', text).unwrap_or(text.len());
        (&text[..colon], &text[colon..])
    };
    let host = host.trim_ascii_end();
    let mut found = HostPort {
        host: host.to_ascii_lowercase(),
        bad_host: !is_host(host),
        ..HostPort::default()
    };
    match port.split_first() {
        None => {}
        Some((&b':', digits)) => {
            found.port = parse_port(digits.trim_ascii());
            found.bad_port = found.port.is_none();
        }
        Some(_) => found.bad_host = true,
    }
    found
}

fn parse_port(digits: &[u8]) -> Option<u16> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits)
        .ok()?
        .parse()
        .ok()
        .filter(|&port| port != 0)
}

/// Whether a host is an IPv6 literal or labels of letters, digits, `-` and `_`, at most 63 bytes each, 255 in all.
fn is_host(host: &[u8]) -> bool {
    if let Some(literal) = host.strip_prefix(b"[") {
        let address = literal
            .strip_suffix(b"]")
            .and_then(|inside| std::str::from_utf8(inside).ok());
        return address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let is_label = |label: &[u8]| {
        (1..=63).contains(&label.len())
            && label
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let host = host.strip_suffix(b".").unwrap_or(host);
    host.len() <= 255 && host.split(|&byte| byte == b'.').all(is_label)
}

/// Appends the normalised form of a request target (`http.uri`); the table above says how.
pub fn normalise(target: &[u8], out: &mut Vec<u8>) {
    let parts = split(target);
    normalise_path(&parts, out);
    if let Some(query) = parts.query {
        out.push(b'?');
        decode_percent(query, false, out);
    }
    if let Some(fragment) = parts.fragment {
        out.push(b'#');
        decode_percent(fragment, true, out);
    }
}

/// Appends the normalised path of a request target.
pub(super) fn normalise_path(parts: &Parts<'_>, out: &mut Vec<u8>) {
    let mut path = Vec::with_capacity(parts.path.len());
    decode_path(parts.path, &mut path);
    if !path.is_ascii() {
        path = best_fit(&path);
    }
    remove_dot_segments(&path, out);
}

/// Percent codes out, backslashes turned, runs of slashes compressed.
fn decode_path(path: &[u8], out: &mut Vec<u8>) {
    let mut rest = path;
    let mut after_slash = false;
    while let Some((byte, next)) = decode_one(rest, true) {
        rest = next;
        let byte = if byte == b'\\' { b'/' } else { byte };
        if byte == b'/' && after_slash {
            continue;
        }
        after_slash = byte == b'/';
        out.push(byte);
    }
}

fn decode_percent(text: &[u8], u_codes: bool, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((byte, next)) = decode_one(rest, u_codes) {
        out.push(byte);
        rest = next;
    }
}

/// The first byte of `text`, percent-decoded, and what follows it.
fn decode_one(text: &[u8], u_codes: bool) -> Option<(u8, &[u8])> {
    let (&first, rest) = text.split_first()?;
    if first != b'%' {
        return Some((first, rest));
    }
    if u_codes && matches!(rest.first(), Some(b'u' | b'U')) {
        let code = hex_byte(&rest[1..]).zip(rest.get(3..).and_then(hex_byte));
        return Some(match code {
            Some((0, low)) => (low, &rest[5..]),
            Some((high, low)) => (
                best_fit_char(u32::from(high) << 8 | u32::from(low)),
                &rest[5..],
            ),
            None => (first, rest),
        });
    }
    Some(hex_byte(rest).map_or((first, rest), |byte| (byte, &rest[2..])))
}

/// The byte two leading hexadecimal digits stand for.
fn hex_byte(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    Some((digit(0)? << 4 | digit(1)?) as u8)
}

/// UTF-8, overlong forms included, as one byte a character; invalid bytes become `?`.
fn best_fit(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&lead, _)) = rest.split_first() {
        let (length, bits): (usize, u8) = match lead {
            0x00..=0x7f => (1, lead),
            0xc0..=0xdf => (2, lead & 0x1f),
            0xe0..=0xef => (3, lead & 0x0f),
            0xf0..=0xf7 => (4, lead & 0x07),
            _ => (0, 0),
        };
        let tail = rest.iter().skip(1).take(length.saturating_sub(1));
        let valid = tail.clone().take_while(|&byte| byte & 0xc0 == 0x80).count();
        if length > 0 && valid + 1 == rest.len() && rest.len() < length {
            break; // Cut off at the end: nothing comes of it.
        }
        if length == 0 || valid + 1 < length {
            out.push(b'?');
            rest = &rest[valid + 1..];
            continue;
        }
        let code = tail.fold(u32::from(bits), |code, byte| {
            code << 6 | u32::from(byte & 0x3f)
        });
        out.push(best_fit_char(code));
        rest = &rest[length..];
    }
    out
}

/// A code point as the byte of Windows-1252 that looks most like it; `?` if none does.
fn best_fit_char(code: u32) -> u8 {
    match code {
        0..=0xff => code as u8,
        0xff01..=0xff5e => (code - 0xff01) as u8 + b'!',
        0x2000..=0x2006 => b' ',
        0x2074..=0x2078 => (code - 0x2074) as u8 + b'4',
        0x2080..=0x2089 => (code - 0x2080) as u8 + b'0',
        0x2552..=0x255d | 0x256a..=0x256c => b'+',
        0x2564..=0x2569 => b'-',
        _ => {
            let wanted = char::from_u32(code);
            let row = LOOKALIKES
                .iter()
                .find(|row| row.chars().skip(1).any(|char| Some(char) == wanted));
            row.map_or(b'?', |row| row.as_bytes()[0])
        }
    }
}

/// What looks like each row's first character. Source: Unicode's `bestfit1252.txt`.
const LOOKALIKES: &[&str] = &[
    "AĀĂĄǍǞ",
    "BℬƁ",
    "CĆĈĊČℂℭ",
    "DĎ",
    "EĒĔĖĘĚℇℰ",
    "FΦℱ",
    "GĜĞĠĢǤǦΓ",
    "HĤĦℋℌℍ",
    "IĨĪĬĮİƗǏℐℑ",
    "JĴ",
    "KĶǨ\u{212a}",
    "LĹĻĽŁℒ",
    "Mℳ",
    "NŃŅŇℕ",
    "OŌŎŐƟƠǑǪǬ\u{3a9}",
    "P₧℘ℙ",
    "Qℚ",
    "RŔŖŘℛℜℝ",
    "SŚŜŞΣ",
    "TŢŤŦƮΘ",
    "UŨŪŬŮŰŲƯǓǕǗǙǛ",
    "WŴ",
    "YŶ",
    "ZŹŻℤℨ",
    "aāăąǎǟα",
    "bƀ",
    "cćĉċč",
    "dďđδ",
    "eēĕėęěε℮ℯ",
    "fφ",
    "gĝğġģǥǧɡℊ",
    "hĥħһℎ",
    "iĩīĭįıǐ",
    "jĵǰ",
    "kķǩ",
    "lĺļľłƚℓ",
    "nńņňⁿ∩",
    "oōŏőơǒǫǭℴ",
    "pπ",
    "rŕŗř",
    "sśŝşσ",
    "tţťŧƫτ",
    "uũūŭůűųưǔǖǘǚǜ",
    "v√",
    "wŵ",
    "yŷ",
    "zźżƶ",
    "!ǃ",
    "\"ʺ\u{30e}",
    "%\u{66a}",
    "'ʹʼˈ′",
    "(⌠",
    ")⌡",
    "*∗",
    "+┌┐└┘├┼",
    "-‐‑−─┬┴═",
    "/⁄∕",
    "8∞",
    ":\u{589}∶",
    ";\u{37e}",
    "<\u{2329}〈",
    "=‗≡≤≥",
    ">\u{232a}〉",
    "[〚",
    "\\∖",
    "]〛",
    "^˄\u{302}⌃",
    "_ˍ\u{331}\u{332}▄",
    "`ˋ\u{300}‵",
    "|ǀ∣❘",
    "~\u{303}∼",
    " \u{3000}",
];

/// Resolves `.` and `..`. Source: RFC 3986, 5.2.4, with its steps' letters; as libhtp does it, a last segment
/// of dots takes the slashes around it along.
fn remove_dot_segments(path: &[u8], out: &mut Vec<u8>) {
    let base = out.len();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest
            .strip_prefix(b"../")
            .or_else(|| rest.strip_prefix(b"./"))
        {
            rest = after; // A
        } else if rest == b"/." || rest == b"/./" {
            rest = b""; // B
        } else if rest.starts_with(b"/./") {
            rest = &rest[2..]; // B
        } else if rest == b"/.." || rest.starts_with(b"/../") {
            rest = if rest.len() > 4 { &rest[3..] } else { b"" }; // C
            let kept = out[base..].iter().rposition(|&byte| byte == b'/');
            out.truncate(base + kept.unwrap_or(0));
        } else if rest == b"." || rest == b".." {
            rest = b""; // D
        } else {
            // E
            let end = rest[1..].iter().position(|&byte| byte == b'/');
            let (segment, behind) = rest.split_at(end.map_or(rest.len(), |at| at + 1));
            out.extend_from_slice(segment);
            rest = behind;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(target: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        normalise(target, &mut out);
        out
    }

    #[test]
    fn normalises_as_suricata_does() {
        let rows: &[(&[u8], &[u8])] = &[
            (b"/", b"/"),
            (b"/a%41b", b"/aAb"),
            (b"/a%2541", b"/a%41"),
            (b"/%", b"/%"),
            (b"/%4", b"/%4"),
            (b"/%zz", b"/%zz"),
            (b"/%41", b"/A"),
            (b"/%u0041", b"/A"),
            (b"/%U0041%u00e9%e9", b"/A?"),
            (b"/%uff0e%uff0e/%uff0e%uff0e/x", b"/x"),
            (b"/%u004", b"/%u004"),
            (b"/a?%u0041", b"/a?%u0041"),
            (b"/a\\b%5cc", b"/a/b/c"),
            (b"/a?b\\c%5c", b"/a?b\\c\\"),
            (b"//a///b%2f%2Fc", b"/a/b/c"),
            (b"/a?b//c%2f", b"/a?b//c/"),
            (b"/a/./b/../c", b"/a/c"),
            (b"/a/%2e%2e/b", b"/b"),
            (b"/cgi-bin/.%2e/.%2e/etc/passwd", b"/etc/passwd"),
            (b"/cgi-bin/%%32%65%%32%65/etc", b"/cgi-bin/%2e%2e/etc"),
            (b"/..", b""),
            (b"/../../x", b"/x"),
            (b"/a/..", b""),
            (b"/a/.", b"/a"),
            (b"/a/./", b"/a"),
            (b"/a/b/../", b"/a"),
            (b"/...", b"/..."),
            (b"..", b""),
            (b"/a/..\\..\\b", b"/b"),
            (b"/a%00b\0c", b"/a\0b\0c"),
            (b"/a+b?c+d", b"/a+b?c+d"),
            (b"/a?x=%3Cscript%3e", b"/a?x=<script>"),
            (b"/a#b%41%u0042", b"/a#bAB"),
            (b"/a?b#c?d", b"/a?b#c?d"),
            (b"/a?", b"/a?"),
            (b"/A/B", b"/A/B"),
            (b"http://Host:80/x/../y?z", b"/y?z"),
            (b"http://host", b""),
            (b"http://host?x", b"?x"),
            (b"http:///x", b"/x"),
            (b"*", b"*"),
            (b"host:443", b"443"),
            (b"/\xc0\xae\xc0\xae/x", b"/x"),
            (b"/\xc0\xafx", b"//x"),
            (b"/\xc3\xa9", b"/\xe9"),
            (b"/\xe9", b"/"),
            (b"/\xe9a", b"/?a"),
            (b"/\xef\xbc\xa1", b"/A"),
            (b"/\xf0\x9f\x98\x80x", b"/?x"),
            (b"/\x80\xff", b"/??"),
            (b"/${jndi:ldap://x/a}", b"/${jndi:ldap:/x/a}"),
            (b"/%24%7Bjndi:%6cdap://x%7d", b"/${jndi:ldap:/x}"),
        ];
        for (target, wanted) in rows {
            let got = shown(target);
            assert_eq!(
                got,
                *wanted,
                "{} gave {}",
                target.escape_ascii(),
                got.escape_ascii()
            );
        }
    }

    #[test]
    fn splits_absolute_targets() {
        let parts = split(b"http://u:p@Host:8080/a/b?c=d#e");
        assert_eq!(parts.scheme, Some(&b"http"[..]));
        assert_eq!(parts.userinfo, Some(&b"u:p"[..]));
        assert_eq!(parts.authority, Some(&b"Host:8080"[..]));
        assert_eq!(
            (parts.path, parts.query, parts.fragment),
            (&b"/a/b"[..], Some(&b"c=d"[..]), Some(&b"e"[..]))
        );
        assert_eq!(split(b"/x://y").authority, None);
    }

    #[test]
    fn reads_hosts() {
        let rows: &[(&str, &str, Option<u16>, bool, bool)] = &[
            ("Example.COM", "example.com", None, false, false),
            ("example.com:8080", "example.com", Some(8080), false, false),
            (" example.com : 80 ", "example.com", Some(80), false, false),
            ("[::1]", "[::1]", None, false, false),
            ("[FE80::1]:443", "[fe80::1]", Some(443), false, false),
            ("[::1", "[::1", None, false, true),
            ("[zz]:1", "[zz]", Some(1), false, true),
            ("a:", "a", None, true, false),
            ("a:0", "a", None, true, false),
            ("a:99999", "a", None, true, false),
            ("a:+1", "a", None, true, false),
            ("a..b", "a..b", None, false, true),
            ("", "", None, false, true),
            ("a b", "a b", None, false, true),
            ("${jndi:ldap://x}", "${jndi", None, true, true),
        ];
        for (text, host, port, bad_port, bad_host) in rows {
            let wanted = HostPort {
                host: host.as_bytes().to_vec(),
                port: *port,
                bad_port: *bad_port,
                bad_host: *bad_host,
            };
            assert_eq!(host_port(text.as_bytes()), wanted, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_grows_and_never_leaves_dot_segments(target: Vec<u8>) {
            let got = shown(&target);
            prop_assert!(got.len() <= target.len() + 1);
            let path = got.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap();
            let dotted = memchr::memmem::find(path, b"/../").is_some();
            prop_assert!(!dotted || target.contains(&b'%'), "{}", got.escape_ascii());
        }

        #[test]
        fn plain_targets_stay(path in "(/[a-z0-9_~-]{1,8}){1,5}", query in "[a-z0-9=&+]{0,20}") {
            let target = format!("{path}?{query}");
            prop_assert_eq!(shown(target.as_bytes()), target.as_bytes());
        }
    }
}
