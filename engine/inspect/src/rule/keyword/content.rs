//! `content`, its modifiers, and conditions on a buffer's length.
use super::super::buffer::{Number, Test};
use super::super::content::{self, Content, FastPattern};
use super::super::draft::Draft;
use super::super::lexer::{quoted, unquote};
use super::super::number::{parse_up_to, split_once, Range};
use super::super::Reason;
use super::{decimal, flag, http, optional, value, Keyword};

pub(super) const KEYWORDS: &[Keyword] = &[
    value(&["content"], content),
    value(&["uricontent"], uricontent),
    flag(&["nocase"], nocase),
    flag(&["rawbytes"], rawbytes),
    flag(&["startswith"], startswith),
    flag(&["endswith"], endswith),
    value(&["offset"], offset),
    value(&["depth"], depth),
    value(&["distance"], distance),
    value(&["within"], within),
    optional(&["fast_pattern"], fast_pattern),
    value(&["isdataat"], isdataat),
    value(&["bsize"], bsize),
    value(&["urilen"], urilen),
    flag(&["pkt_data"], |draft, _| draft.enter_payload()),
];

/// Furthest offset a rule may name; Suricata's bound.
const MAX_OFFSET: i64 = 65_535;
/// Furthest `distance` and `within`, either way; Suricata's bound.
const MAX_DISTANCE: i64 = 1_048_576;

fn pattern(keyword: &str, value: &[u8]) -> Result<Content, Reason> {
    let (negated, value) = match value.strip_prefix(b"!") {
        Some(rest) => (true, rest.trim_ascii_start()),
        None => (false, value),
    };
    let text = quoted(keyword, value)?;
    Ok(Content::new(
        content::parse_pattern(keyword, text)?,
        negated,
    ))
}

fn content(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    draft.push(Test::Content(pattern(keyword, value)?))
}

fn uricontent(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    draft.push(Test::Content(pattern(keyword, value)?))?;
    draft.move_content(keyword, &http::URI)
}

fn nocase(draft: &mut Draft, keyword: &str) -> Result<(), Reason> {
    draft.modify(keyword, |content| {
        if content.needle.nocase() {
            return Err(Reason::Conflict("two 'nocase' on one content".into()));
        }
        content.needle = content.needle.without_case();
        Ok(())
    })
}

/// Nothing is decoded in place here, so every content sees raw bytes; that it is said twice is an error all the same.
fn rawbytes(draft: &mut Draft, keyword: &str) -> Result<(), Reason> {
    if draft.in_buffer() {
        return Err(Reason::Conflict(
            "'rawbytes' cannot follow a sticky buffer".into(),
        ));
    }
    draft.modify(keyword, |content| {
        match std::mem::replace(&mut content.rawbytes, true) {
            false => Ok(()),
            true => Err(Reason::Conflict("two 'rawbytes' on one content".into())),
        }
    })
}

fn startswith(draft: &mut Draft, keyword: &str) -> Result<(), Reason> {
    draft.modify(keyword, |content| {
        if content.startswith {
            return Err(Reason::Conflict("two 'startswith' on one content".into()));
        }
        if content.offset.is_some() || content.depth.is_some() || content.is_relative() {
            return Err(placed_twice(keyword));
        }
        content.startswith = true;
        Ok(())
    })
}

fn endswith(draft: &mut Draft, keyword: &str) -> Result<(), Reason> {
    draft.modify(keyword, |content| {
        content.endswith = true;
        Ok(())
    })
}

fn placed_twice(keyword: &str) -> Reason {
    Reason::Conflict(format!(
        "'{keyword}' on a content whose place is already given another way \
         (offset and depth, distance and within, or startswith)"
    ))
}

fn checked(keyword: &str, number: Number, low: i64, high: i64) -> Result<Number, Reason> {
    match number {
        Number::Fixed(fixed) if !(low..=high).contains(&fixed) => Err(Reason::bad_value(
            keyword,
            format!("{fixed} is not within {low} to {high}"),
        )),
        _ => Ok(number),
    }
}

/// Gives `slot` its number; each modifier may stand once, and the two ways of placing exclude each other.
fn place(
    draft: &mut Draft,
    keyword: &str,
    value: &[u8],
    bounds: (i64, i64),
    slot: fn(&mut Content) -> &mut Option<Number>,
) -> Result<(), Reason> {
    let value = unquote(value, false).unwrap_or(value);
    let number = draft.number(keyword, value)?;
    let number = checked(keyword, number, bounds.0, bounds.1)?;
    let relative = matches!(keyword, "distance" | "within");
    draft.modify(keyword, |content| {
        let absolute = content.offset.is_some() || content.depth.is_some();
        let clash = if relative {
            absolute
        } else {
            content.is_relative()
        };
        if clash || content.startswith {
            return Err(placed_twice(keyword));
        }
        let too_short = matches!((keyword, number), ("depth" | "within", Number::Fixed(room))
            if room < content.needle.len() as i64);
        if too_short {
            return Err(Reason::bad_value(
                keyword,
                "smaller than the content: it can never match",
            ));
        }
        match slot(content).replace(number) {
            None => Ok(()),
            Some(_) => Err(Reason::Conflict(format!("two '{keyword}' on one content"))),
        }
    })
}

fn offset(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    place(draft, keyword, value, (0, MAX_OFFSET), |content| {
        &mut content.offset
    })
}

fn depth(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    place(draft, keyword, value, (0, MAX_OFFSET), |content| {
        &mut content.depth
    })
}

fn distance(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    place(
        draft,
        keyword,
        value,
        (-MAX_DISTANCE, MAX_DISTANCE),
        |content| &mut content.distance,
    )
}

fn within(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    place(
        draft,
        keyword,
        value,
        (-MAX_DISTANCE, MAX_DISTANCE),
        |content| &mut content.within,
    )
}

fn fast_pattern(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let chosen = match value {
        b"" => FastPattern::This,
        b"only" => FastPattern::Only,
        _ => {
            let (offset, length) = split_once(value, b",")
                .ok_or_else(|| Reason::bad_value(keyword, "neither 'only' nor offset,length"))?;
            match (decimal(keyword, offset)?, decimal(keyword, length)?) {
                (0, 0) => FastPattern::This,
                (offset, length) => FastPattern::Part(offset, length),
            }
        }
    };
    draft.modify(keyword, |content| {
        if content.fast_pattern != FastPattern::Unsaid {
            return Err(Reason::Conflict("two 'fast_pattern' on one content".into()));
        }
        if let FastPattern::Part(offset, length) = chosen {
            let end = offset.checked_add(length);
            if end.is_none_or(|end| end > content.needle.len()) {
                return Err(Reason::bad_value(keyword, "not within the content"));
            }
        }
        content.fast_pattern = chosen;
        Ok(())
    })
}

fn isdataat(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = unquote(value, false).unwrap_or(value);
    let (negated, value) = match value.strip_prefix(b"!") {
        Some([b' ', ..]) => return Err(Reason::bad_value(keyword, "a space behind '!'")),
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut parts = value.split(|byte| *byte == b',');
    let at = draft.number(keyword, parts.next().unwrap_or_default())?;
    let at = checked(keyword, at, 0, MAX_OFFSET)?;
    let options: Vec<&[u8]> = parts.map(<[u8]>::trim_ascii).collect();
    let relative = match options[..] {
        [] => false,
        [b"relative"] | [b"relative", b"rawbytes"] => true,
        _ => {
            return Err(Reason::bad_value(
                keyword,
                "only 'relative' follows, and 'rawbytes' that",
            ))
        }
    };
    let test = Test::IsDataAt {
        at,
        relative,
        negated,
    };
    draft.push_relative(relative, test)
}

fn range(keyword: &str, value: &[u8]) -> Result<Range, Reason> {
    Range::parse(unquote(value, false).unwrap_or(value))
        .map_err(|why| Reason::bad_value(keyword, why))
}

fn bsize(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let range = range(keyword, value)?;
    if !draft.in_buffer() {
        return Err(Reason::Conflict(
            "'bsize' needs a sticky buffer before it".into(),
        ));
    }
    draft.push(Test::Size(range))
}

fn urilen(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let (size, kind) = split_once(value, b",").unwrap_or((value, b"norm"));
    let buffer = match kind.trim_ascii() {
        b"norm" => &http::URI,
        b"raw" => &http::URI_RAW,
        _ => return Err(Reason::bad_value(keyword, "neither 'norm' nor 'raw'")),
    };
    let size = parse_up_to(unquote(size, false).unwrap_or(size), u16::MAX.into());
    let size = size.map_err(|why| Reason::bad_value(keyword, why))?;
    draft.push_to(buffer, Test::Size(size))
}
