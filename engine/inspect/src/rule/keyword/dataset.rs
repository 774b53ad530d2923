//! `dataset` and `datarep`.
use std::borrow::Cow;
use std::cmp::Ordering;

use super::super::buffer::Test;
use super::super::dataset::{Command, DatasetTest, Described, Kind, ReputationTest};
use super::super::draft::Draft;
use super::super::Reason;
use super::{decimal, text, value, Keyword};

pub(super) const KEYWORDS: &[Keyword] =
    &[value(&["dataset"], dataset), value(&["datarep"], datarep)];

/// A description and whether its file may be missing (`state`: what an earlier run learned).
struct Read {
    described: Described,
    may_be_missing: bool,
}

/// Reads `name,type string,load FILE,…`. What is learned is not written back, so `save` and `state` say only where
/// the set begins.
fn describe(
    draft: &mut Draft,
    keyword: &str,
    name: &str,
    options: &[&str],
) -> Result<Read, Reason> {
    let bad = |what: &str, known: &str| {
        Reason::bad_value(keyword, format!("'{}' is none of {known}", what.trim()))
    };
    let unknown = |option: &str| {
        let known = "type T, load FILE, save FILE, state FILE, memcap N, hashsize N";
        bad(option, known)
    };
    let no_size = |option: &str| {
        Reason::bad_value(
            keyword,
            format!("'{}' is no size, such as 10mb", option.trim()),
        )
    };
    let mut described = Described {
        name: name.into(),
        ..Described::default()
    };
    let (mut state, mut saves) = (false, false);
    for option in options {
        let (key, value) = option
            .trim()
            .split_once(' ')
            .ok_or_else(|| unknown(option))?;
        let value = value.trim();
        match key {
            "type" => {
                let known = "the types string, md5, sha256, ipv4, ipv6 and ip";
                let kind = Kind::named(value);
                described.kind = Some(kind.ok_or_else(|| bad(value, known))?);
            }
            "load" | "state" => {
                state |= key == "state";
                if described.source.replace(value.into()).is_some() {
                    return Err(Reason::Conflict(format!("{keyword}: two files")));
                }
            }
            "save" => saves = true,
            "memcap" => described.capacity.memory = size(value).ok_or_else(|| no_size(option))?,
            "hashsize" => {
                described.capacity.buckets = size(value).ok_or_else(|| no_size(option))?
            }
            _ => return Err(unknown(option)),
        }
    }
    if state && saves {
        return Err(Reason::Conflict(format!(
            "{keyword}: 'state' beside 'save'"
        )));
    }
    if state || saves {
        draft.warn(format!(
            "{keyword}: what set '{name}' learns is not written to a file"
        ));
    }
    Ok(Read {
        described,
        may_be_missing: state,
    })
}

/// A number of bytes: `100`, `10kb`, `10mb`, `1gb`.
fn size(value: &str) -> Option<u64> {
    let value = value.to_ascii_lowercase();
    let (digits, unit) = match value.find(|letter: char| !letter.is_ascii_digit()) {
        Some(at) => value.split_at(at),
        None => (value.as_str(), ""),
    };
    let factor: u64 = match unit.trim() {
        "" => 1,
        "kb" => 1 << 10,
        "mb" => 1 << 20,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn needs_buffer(draft: &Draft, keyword: &str) -> Result<(), Reason> {
    if draft.in_buffer() {
        return Ok(());
    }
    Err(Reason::Conflict(format!(
        "'{keyword}' needs a sticky buffer before it"
    )))
}

fn set_of(
    draft: &Draft,
    keyword: &str,
    read: &Read,
    with_reputation: bool,
) -> Result<std::sync::Arc<super::super::dataset::Dataset>, Reason> {
    let may_be_missing = read.may_be_missing && !with_reputation;
    let set = (draft.load.datasets).get(&read.described, with_reputation, |source| {
        match draft.attachment(source) {
            Err(_) if may_be_missing => Ok(Cow::default()),
            read => read,
        }
    });
    set.map_err(|why| Reason::bad_value(keyword, why))
}

/// `isset,name,type string,load FILE`.
fn dataset(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    needs_buffer(draft, keyword)?;
    let value = text(keyword, value)?;
    let parts: Vec<_> = value.split(',').collect();
    let [command, name, options @ ..] = &parts[..] else {
        return Err(Reason::bad_value(keyword, "needs a command and a name"));
    };
    let command = match *command {
        "isset" => Command::IsSet,
        "isnotset" => Command::IsNotSet,
        "set" => Command::Set,
        "unset" => Command::Unset,
        other => {
            let why = format!("'{other}' is none of isset, isnotset, set and unset");
            return Err(Reason::bad_value(keyword, why));
        }
    };
    let read = describe(draft, keyword, name.trim(), options)?;
    let set = set_of(draft, keyword, &read, false)?;
    draft.push(Test::Dataset(DatasetTest { set, command }))
}

/// `name,>,200,load FILE,type md5`.
fn datarep(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    needs_buffer(draft, keyword)?;
    let value = text(keyword, value)?;
    let parts: Vec<_> = value.split(',').map(str::trim).collect();
    let [name, operator, number, options @ ..] = &parts[..] else {
        return Err(Reason::bad_value(
            keyword,
            "needs a name, an operator and a value",
        ));
    };
    let comparison = match *operator {
        "<" => Ordering::Less,
        ">" => Ordering::Greater,
        "==" => Ordering::Equal,
        other => {
            return Err(Reason::bad_value(
                keyword,
                format!("'{other}' is not an operator"),
            ))
        }
    };
    let with = decimal(keyword, number.as_bytes())?;
    let read = describe(draft, keyword, name, options)?;
    if read.described.source.is_some() && read.described.kind.is_none() {
        return Err(Reason::bad_value(keyword, "'load' needs a 'type'"));
    }
    let set = set_of(draft, keyword, &read, true)?;
    draft.push(Test::Reputation(ReputationTest {
        set,
        comparison,
        with,
    }))
}
