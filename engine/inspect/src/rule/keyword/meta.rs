//! What a signature is called and how often it speaks.
use super::super::draft::Draft;
use super::super::lexer::{printable, quoted, unquote};
use super::super::signature::Target;
use super::super::threshold::{Threshold, ThresholdKind, Track};
use super::super::Reason;
use super::{decimal, flag, text, value, Keyword};
use crate::event::category;

pub(super) const KEYWORDS: &[Keyword] = &[
    value(&["msg"], msg),
    value(&["sid"], sid),
    value(&["gid"], gid),
    value(&["rev"], rev),
    value(&["classtype"], classtype),
    value(&["priority"], priority),
    value(&["reference"], reference),
    value(&["metadata"], metadata),
    value(&["target"], target),
    value(&["requires"], requires),
    flag(&["noalert"], noalert),
    flag(&["alert"], alert),
    flag(&["bypass"], bypass),
    flag(&["prefilter"], prefilter),
    value(&["threshold"], threshold),
    value(&["detection_filter"], detection_filter),
];

/// The version of Suricata whose language this is: what `requires: version` is measured against.
const LANGUAGE_VERSION: [u32; 3] = [7, 0, 10];

fn msg(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = quoted(keyword, value)?;
    if draft.msg.is_some() {
        return Err(Reason::Conflict("two 'msg'".into()));
    }
    if value.is_empty() {
        return Err(Reason::bad_value(keyword, "is empty"));
    }
    let (mut plain, mut escaped) = (Vec::with_capacity(value.len()), false);
    for byte in value {
        match byte {
            b'\\' if !escaped => escaped = true,
            b':' | b';' | b'\\' | b'"' if escaped => {
                plain.push(*byte);
                escaped = false;
            }
            _ if escaped => {
                plain.extend([b'\\', *byte]);
                escaped = false;
            }
            _ => plain.push(*byte),
        }
    }
    draft.msg = Some(String::from_utf8_lossy(&plain).into_owned());
    Ok(())
}

fn sid(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let sid: u32 = decimal(keyword, unquote(value, false).unwrap_or(value))?;
    match (sid, draft.sid.replace(sid)) {
        (0 | u32::MAX, _) => Err(Reason::bad_value(keyword, "is out of bounds")),
        (_, Some(_)) => Err(Reason::Conflict("two 'sid'".into())),
        (_, None) => Ok(()),
    }
}

fn gid(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    draft.gid = decimal(keyword, unquote(value, false).unwrap_or(value))?;
    Ok(())
}

fn rev(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let rev = decimal(keyword, unquote(value, false).unwrap_or(value))?;
    match (rev, draft.rev.replace(rev)) {
        (0 | u32::MAX, _) => Err(Reason::bad_value(keyword, "is out of bounds")),
        (_, Some(_)) => Err(Reason::Conflict("two 'rev'".into())),
        (_, None) => Ok(()),
    }
}

fn classtype(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, unquote(value, false).unwrap_or(value))?;
    let named = value
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !named || value.is_empty() {
        return Err(Reason::bad_value(
            keyword,
            format!("'{value}' is not a class"),
        ));
    }
    if category(value).is_empty() {
        draft.warn(format!(
            "classtype '{value}' is unknown: no category, and priority 3 unless one is said"
        ));
    }
    draft.classtype = value.into();
    Ok(())
}

fn priority(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    draft.priority = Some(decimal(keyword, unquote(value, false).unwrap_or(value))?);
    Ok(())
}

/// Types of references. Source: `reference.config` of Suricata 7.
const REFERENCES: &[&str] = &[
    "bugtraq",
    "bid",
    "cve",
    "secunia",
    "arachNIDS",
    "McAfee",
    "nessus",
    "url",
    "et",
    "etpro",
    "telus",
    "osvdb",
    "threatexpert",
    "md5",
    "exploitdb",
    "openpacket",
    "securitytracker",
    "xforce",
    "msft",
];

fn reference(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = String::from_utf8_lossy(unquote(value, false).unwrap_or(value));
    let (kind, id) = value
        .split_once(',')
        .filter(|(kind, id)| !kind.trim().is_empty() && !id.trim().is_empty())
        .ok_or_else(|| Reason::bad_value(keyword, "not of the form type,id"))?;
    if !REFERENCES
        .iter()
        .any(|known| known.eq_ignore_ascii_case(kind.trim()))
    {
        draft.warn(format!(
            "reference type '{}' is unknown",
            printable(kind.trim().as_bytes())
        ));
    }
    draft
        .references
        .push(format!("{},{}", kind.trim(), id.trim()));
    Ok(())
}

fn metadata(draft: &mut Draft, _keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = String::from_utf8_lossy(unquote(value, false).unwrap_or(value)).into_owned();
    for pair in value.split(',') {
        let (key, value) = pair.trim().split_once(' ').unwrap_or((pair.trim(), ""));
        if !key.is_empty() {
            draft.metadata.push((key.into(), value.trim().into()));
        }
    }
    Ok(())
}

fn target(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let target = match value {
        b"src_ip" => Target::Source,
        b"dest_ip" => Target::Destination,
        _ => return Err(Reason::bad_value(keyword, "neither src_ip nor dest_ip")),
    };
    match draft.target.replace(target) {
        Some(before) if before != target => Err(Reason::Conflict("two different 'target'".into())),
        _ => Ok(()),
    }
}

fn noalert(draft: &mut Draft, _keyword: &str) -> Result<(), Reason> {
    draft.noalert = true;
    Ok(())
}

/// The later of `alert` and `noalert` counts.
fn alert(draft: &mut Draft, _keyword: &str) -> Result<(), Reason> {
    draft.noalert = false;
    Ok(())
}

/// The conditions on packets that Suricata can begin with.
const PREFILTERS: &[&str] = &[
    "tcp.ack",
    "tcp.seq",
    "tcp.flags",
    "fragbits",
    "fragoffset",
    "ttl",
    "itype",
    "icode",
    "icmp_id",
    "icmp_seq",
    "dsize",
    "id",
    "stream_size",
    "flow.age",
    "icmpv6.mtu",
    "tcp.mss",
];

/// What comes first is decided here, so the wish changes nothing but when `app-layer-protocol` is asked; but there must
/// be something to wish it for.
fn prefilter(draft: &mut Draft, keyword: &str) -> Result<(), Reason> {
    if let (None, [.., test]) = (draft.inspections.last(), &mut draft.app_tests[..]) {
        test.once = draft.packet_tests.is_empty();
        return Ok(());
    }
    draft.prefiltered = true;
    match (draft.inspections.last(), draft.packet_tests.last()) {
        (None, None) => Err(Reason::NothingToModify(keyword.into())),
        (None, Some(test)) if !PREFILTERS.contains(&test.keyword) => Err(Reason::Conflict(
            format!("'{keyword}' behind '{}'", test.keyword),
        )),
        _ => Ok(()),
    }
}

/// The flow is not looked at any more, once the signature matched.
fn bypass(draft: &mut Draft, _keyword: &str) -> Result<(), Reason> {
    draft.bypass = true;
    Ok(())
}

/// `version >= 7.0.3 < 8 | >= 9, keyword NAME, feature NAME`.
fn requires(_draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let requirements = text(keyword, value)?.split(',').map(str::trim);
    if requirements
        .clone()
        .filter(|it| it.starts_with("version"))
        .count()
        > 1
    {
        return Err(Reason::bad_value(keyword, "two versions"));
    }
    for requirement in requirements {
        let (kind, rest) = requirement.split_once(' ').unwrap_or((requirement, ""));
        let met = match kind {
            "version" => version_fits(rest).ok_or_else(|| {
                Reason::bad_value(keyword, format!("'{requirement}' cannot be read"))
            })?,
            "keyword" => super::index().contains_key(rest.trim()),
            "feature" => matches!(rest.trim(), "ja3" | "ja4"),
            _ => return Err(Reason::Requirement(format!("the unknown '{kind}'"))),
        };
        if !met {
            return Err(Reason::Requirement(requirement.into()));
        }
    }
    Ok(())
}

/// Whether the language's version fits one of the alternatives; `None` where they cannot be read.
fn version_fits(alternatives: &str) -> Option<bool> {
    let mut fits = false;
    for alternative in alternatives.split('|') {
        let mut words = alternative.split_whitespace().peekable();
        words.peek()?;
        let mut all = true;
        while let Some(operator) = words.next() {
            let version = version(words.next()?)?;
            all &= match operator {
                ">=" => LANGUAGE_VERSION >= version,
                ">" => LANGUAGE_VERSION > version,
                "<=" => LANGUAGE_VERSION <= version,
                "<" => LANGUAGE_VERSION < version,
                _ => return None,
            };
        }
        fits |= all;
    }
    Some(fits)
}

fn version(text: &str) -> Option<[u32; 3]> {
    let mut parts = [0; 3];
    let mut words = text.split('-').next()?.split('.');
    for (at, part) in parts.iter_mut().enumerate() {
        match words.next() {
            Some(word) => *part = word.parse().ok()?,
            None if at > 0 => {}
            None => return None,
        }
    }
    words.next().is_none().then_some(parts)
}

fn threshold(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let kind = |word: &str| match word {
        "limit" => Some(ThresholdKind::Limit),
        "threshold" => Some(ThresholdKind::Threshold),
        "both" => Some(ThresholdKind::Both),
        _ => None,
    };
    set_threshold(draft, keyword, value, None, kind)
}

fn detection_filter(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    set_threshold(
        draft,
        keyword,
        value,
        Some(ThresholdKind::DetectionFilter),
        |_| None,
    )
}

fn set_threshold(
    draft: &mut Draft,
    keyword: &str,
    value: &[u8],
    mut kind: Option<ThresholdKind>,
    named_kind: impl Fn(&str) -> Option<ThresholdKind>,
) -> Result<(), Reason> {
    let bad = |what: &str| Reason::bad_value(keyword, format!("'{what}' cannot be read"));
    let (mut track, mut count, mut seconds) = (None, None, None);
    for part in text(keyword, value)?.split(',') {
        let (name, word) = part.trim().split_once(' ').ok_or_else(|| bad(part))?;
        let word = word.trim();
        match name {
            "type" if kind.is_none() => kind = Some(named_kind(word).ok_or_else(|| bad(part))?),
            "track" => {
                track = Some(match word {
                    "by_src" => Track::Source,
                    "by_dst" => Track::Destination,
                    "by_both" if keyword == "threshold" => Track::Both,
                    "by_rule" if keyword == "threshold" => Track::Rule,
                    _ => return Err(bad(part)),
                })
            }
            "count" => count = Some(decimal(keyword, word.as_bytes())?),
            "seconds" => seconds = Some(decimal(keyword, word.as_bytes())?),
            _ => return Err(bad(part)),
        }
    }
    match (kind, track, count, seconds) {
        (Some(kind), Some(track), Some(count), Some(seconds))
            if seconds > 0 && (count > 0 || kind != ThresholdKind::DetectionFilter) =>
        {
            let threshold = Threshold {
                kind,
                track,
                count,
                seconds,
            };
            // Behind a sticky buffer Suricata does not look for another one, and asks both.
            if !draft.thresholds.is_empty() && !draft.in_buffer() {
                return Err(Reason::Conflict(
                    "more than one 'threshold' or 'detection_filter'".into(),
                ));
            }
            draft.thresholds.push(threshold);
            Ok(())
        }
        _ => Err(Reason::bad_value(
            keyword,
            format!("'{}' is incomplete", printable(value)),
        )),
    }
}
