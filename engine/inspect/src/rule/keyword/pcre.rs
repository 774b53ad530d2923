//! `pcre`.
use super::super::buffer::{Buffer, Test};
use super::super::draft::Draft;
use super::super::pcre;
use super::super::Reason;
use super::{file, http, value, Keyword};
use crate::app::{AppProto, AppSet};

pub(super) const KEYWORDS: &[Keyword] = &[value(&["pcre"], parse)];

fn parse(draft: &mut Draft, _keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let parsed = pcre::parse(value, &draft.load.shared)?;
    draft.names.extend(parsed.names);
    let relative = parsed.pcre.relative;
    let test = Test::Pcre(parsed.pcre);
    match parsed.buffer_flag.and_then(buffer) {
        None if relative && !draft.in_buffer() && !draft.has_match_in(None) => {
            Err(Reason::NothingToModify("pcre with flag R".into()))
        }
        None => draft.push(test),
        Some(buffer) if draft.is_in(buffer) => draft.push(test),
        // To this flag a response's body and a file's bytes are one.
        Some(_) if parsed.buffer_flag == Some(b'Q') && draft.is_in(&file::FILE_DATA) => {
            draft.push(test)
        }
        Some(_) if draft.in_buffer() => Err(Reason::Conflict(
            "pcre: a flag that names a buffer cannot follow a sticky buffer".into(),
        )),
        Some(buffer) if relative && !draft.has_match_in(Some(buffer)) => {
            Err(Reason::NothingToModify("pcre with flag R".into()))
        }
        Some(_) if draft.apps == AppSet::of(&[AppProto::Http2]) => Err(Reason::Conflict(
            "pcre: a flag names a buffer of HTTP/1, but the signature is about HTTP/2".into(),
        )),
        Some(buffer) => draft.push_to(buffer, test),
    }
}

/// The buffer that a flag names.
fn buffer(flag: u8) -> Option<&'static Buffer> {
    Some(match flag {
        b'U' => &http::URI,
        b'I' => &http::URI_RAW,
        b'P' => &http::REQUEST_BODY,
        b'Q' => &http::RESPONSE_BODY,
        b'H' => &http::HEADER,
        b'D' => &http::HEADER_RAW,
        b'M' => &http::METHOD,
        b'C' => &http::COOKIE,
        b'S' => &http::STAT_CODE,
        b'Y' => &http::STAT_MSG,
        b'V' => &http::USER_AGENT,
        b'W' => &http::HOST,
        b'Z' => &http::HOST_RAW,
        _ => return None,
    })
}
