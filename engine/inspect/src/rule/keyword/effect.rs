//! What a match does to its packet or transaction.
use super::super::draft::Draft;
use super::super::lexer::unquote;
use super::super::{content, number, Reason};
use super::{text, value, Keyword};

pub(super) const KEYWORDS: &[Keyword] = &[
    value(&["config"], config),
    value(&["nfq_set_mark"], nfq_set_mark),
    value(&["replace"], replace),
];

/// `logging disable, type tx, scope tx`: the transaction leaves no record. With another type or scope Suricata
/// reads it and does nothing.
fn config(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, value)?;
    let pairs: Option<Vec<_>> = value
        .split(',')
        .map(|pair| pair.trim().split_once(' '))
        .map(|pair| pair.map(|(name, word)| (name, word.trim())))
        .collect();
    match pairs.as_deref() {
        Some(
            [("logging", "disable"), ("type", kind @ ("tx" | "flow")), ("scope", scope @ ("tx" | "flow"))],
        ) => {
            draft.unrecorded |= *kind == "tx" && *scope == "tx";
            Ok(())
        }
        _ => Err(Reason::bad_value(keyword, format!("'{value}'"))),
    }
}

/// `mark/mask`. The marks of packets are the appliance's own, so none is set: the signature matches and that is all.
fn nfq_set_mark(_: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let parts = number::split_once(value, b"/");
    let fits = |part: &[u8]| number::number(part).is_some_and(|it| it <= u32::MAX.into());
    match parts {
        Some((mark, mask)) if fits(mark) && fits(mask) => Ok(()),
        _ => Err(Reason::bad_value(keyword, "not of the form mark/mask")),
    }
}

/// Other bytes for the content before it, which only Suricata behind a queue puts there. Here as in captures the
/// signature matches and the bytes stay: what must not pass is dropped.
fn replace(_: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let bytes = unquote(value, true).ok_or_else(|| Reason::bad_value(keyword, "not in quotes"))?;
    content::parse_pattern(keyword, bytes).map(|_| ())
}
