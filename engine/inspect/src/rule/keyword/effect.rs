//! What a match does to its transaction.
use super::super::draft::Draft;
use super::super::Reason;
use super::{text, value, Keyword};

pub(super) const KEYWORDS: &[Keyword] = &[value(&["config"], config)];

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
        _ => Err(Reason::bad_value(
            keyword,
            format!("'{value}' cannot be read"),
        )),
    }
}
