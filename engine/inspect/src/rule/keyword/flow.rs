//! `flow`, `flow.age`, `flowbits` and `flowint`.
use std::cmp::Ordering;

use super::super::condition::{FlowbitTest, Operand, PacketTest};
use super::super::draft::Draft;
use super::super::lexer::printable;
use super::super::number::name_hash;
use super::super::signature::{Amount, FlowStateTest, FlowbitChange, Flowint, FlowintStep};
use super::super::Reason;
use super::{text, value, Keyword};
use crate::Direction;

pub(super) const KEYWORDS: &[Keyword] = &[
    value(&["flow"], flow),
    value(&["flow.age"], age),
    value(&["flowbits"], flowbits),
    value(&["flowint"], flowint),
];

/// How many words one `flow` may have.
const MAX_FLOW_WORDS: usize = 3;

/// `to_server,established`: direction, handshake, and which packets. A second `flow` may only repeat a direction.
fn flow(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let conflict =
        |word: &str| Reason::Conflict(format!("flow: '{word}' contradicts what is given already"));
    if draft.flow.given && draft.flow_is_more_than_direction {
        return Err(Reason::Conflict("two 'flow'".into()));
    }
    let words = text(keyword, value)?.split(',');
    if words.clone().count() > MAX_FLOW_WORDS {
        return Err(Reason::bad_value(keyword, "more words than Suricata reads"));
    }
    let mut direction = None;
    for word in words {
        let word = word.trim().to_ascii_lowercase();
        let state = match word.as_str() {
            "established" => Some(FlowStateTest::Established),
            "not_established" => Some(FlowStateTest::NotEstablished),
            "stateless" => Some(FlowStateTest::Stateless),
            _ => None,
        };
        let towards = match word.as_str() {
            "to_server" | "from_client" => Some(Direction::ToServer),
            "to_client" | "from_server" => Some(Direction::ToClient),
            _ => None,
        };
        if let Some(towards) = towards {
            if direction.replace(towards).is_some() || !draft.need_direction(towards) {
                return Err(conflict(&word));
            }
            continue;
        }
        draft.flow_is_more_than_direction = true;
        if let Some(state) = state {
            if draft.flow.state.replace(state).is_some() {
                return Err(conflict(&word));
            }
            continue;
        }
        match word.as_str() {
            "only_stream" if !draft.needs_packet => draft.only_stream = true,
            "no_stream" if !draft.only_stream => draft.needs_packet = true,
            "only_frag" | "no_frag" => {
                let wanted = word == "only_frag";
                if draft.flow.defragmented.replace(wanted).is_some() {
                    return Err(conflict(&word));
                }
            }
            "only_stream" | "no_stream" => return Err(conflict(&word)),
            _ => return Err(Reason::bad_value(keyword, format!("'{word}' is unknown"))),
        }
    }
    draft.flow.given = true;
    Ok(())
}

/// Seconds since the flow's first packet.
fn age(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let range = super::packet::range(keyword, value, u32::MAX.into())?;
    draft.needs_packet = true;
    draft.packet_tests.push(PacketTest {
        keyword: "flow.age",
        needs_header: false,
        holds: |_, flow, operand| match (flow, operand) {
            (Some(flow), Operand::Range(range)) => range.holds(flow.age_s.into()),
            _ => false,
        },
        operand: Operand::Range(range),
    });
    Ok(())
}

/// `set,name`, `isset,a|b`, `noalert` and their kin.
fn flowbits(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, value)?;
    let (command, names) = value.split_once(',').unwrap_or((value, ""));
    if command == "noalert" {
        if !names.is_empty() {
            return Err(Reason::UnexpectedValue("flowbits:noalert".into()));
        }
        draft.noalert = true;
        return Ok(());
    }
    let bits = names
        .split('|')
        .map(|name| bit(keyword, name))
        .collect::<Result<Vec<_>, _>>()?;
    let one = || match bits[..] {
        [bit] => Ok(bit),
        // Suricata loads these and changes some bit or other.
        _ => Err(Reason::bad_value(
            keyword,
            format!("'{command}' takes one name"),
        )),
    };
    if matches!(command, "set" | "toggle") {
        draft
            .names
            .extend(bits.first().map(|bit| (*bit, names.trim().to_owned())));
    }
    if matches!(command, "isset" | "isnotset") {
        let called = names
            .split('|')
            .map(|name| printable(name.trim().as_bytes()));
        draft.asked.extend(bits.iter().copied().zip(called));
    }
    match command {
        "isset" => draft.flowbit_tests.push(FlowbitTest {
            bits,
            negated: false,
        }),
        "isnotset" => draft.flowbit_tests.push(FlowbitTest {
            bits,
            negated: true,
        }),
        "set" => draft.flowbit_changes.push(FlowbitChange::Set(one()?)),
        "unset" => draft.flowbit_changes.push(FlowbitChange::Unset(one()?)),
        "toggle" => draft.flowbit_changes.push(FlowbitChange::Toggle(one()?)),
        _ => {
            return Err(Reason::bad_value(
                keyword,
                format!("'{command}' is unknown"),
            ))
        }
    }
    Ok(())
}

/// `name,operator,number or name`, or `name,isset`: conditions and changes, done in the order in which they stand.
fn flowint(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, value)?;
    let bad = || Reason::bad_value(keyword, format!("'{value}' cannot be read"));
    let parts: Vec<_> = value.split(',').map(str::trim).collect();
    let (name, operator, operand) = match parts[..] {
        [name, operator] => (name, operator, ""),
        [name, operator, operand] => (name, operator, operand),
        _ => return Err(bad()),
    };
    let called = name;
    let name = integer_name(called).ok_or_else(|| {
        let why = format!("'{called}' is no name: a letter and at least one more letter or digit");
        Reason::bad_value(keyword, why)
    })?;
    let amount = || {
        let number = operand.parse().ok().map(Amount::Fixed);
        let digits = operand.bytes().all(|byte| byte.is_ascii_digit());
        let amount = match number.filter(|_| digits) {
            None if !digits => integer_name(operand).map(Amount::Of),
            found => found,
        };
        amount.ok_or_else(bad)
    };
    let what = match operator {
        "isset" => FlowintStep::IsSet,
        "isnotset" | "notset" => FlowintStep::IsNotSet,
        "=" => FlowintStep::Set(amount()?),
        "+" => FlowintStep::Add(amount()?),
        "-" => FlowintStep::Subtract(amount()?),
        "==" => FlowintStep::Compares(Ordering::Equal, false, amount()?),
        "!=" => FlowintStep::Compares(Ordering::Equal, true, amount()?),
        "<" => FlowintStep::Compares(Ordering::Less, false, amount()?),
        ">=" => FlowintStep::Compares(Ordering::Less, true, amount()?),
        ">" => FlowintStep::Compares(Ordering::Greater, false, amount()?),
        "<=" => FlowintStep::Compares(Ordering::Greater, true, amount()?),
        _ => return Err(bad()),
    };
    if !what.reads() {
        draft.names.push((name, called.to_owned()));
    }
    draft.flowints.push(Flowint { name, what });
    if draft.flowints.len() > MAX_FLOWINTS {
        return Err(Reason::Conflict(format!(
            "more than {MAX_FLOWINTS} 'flowint'"
        )));
    }
    Ok(())
}

/// How many `flowint` one signature may have.
const MAX_FLOWINTS: usize = 32;

/// A letter and at least one more letter, digit, `_`, `.` or `/`.
fn integer_name(name: &str) -> Option<u64> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/');
    let named = name.len() >= 2
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(fits);
    named.then(|| name_hash(name))
}

/// The number that stands for a name without white space.
pub(super) fn bit(keyword: &str, name: &str) -> Result<u64, Reason> {
    let name = name.trim();
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(Reason::bad_value(
            keyword,
            format!("'{name}' is not a name"),
        ));
    }
    Ok(name_hash(name))
}
