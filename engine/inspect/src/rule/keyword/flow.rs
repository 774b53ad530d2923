//! `flow`, `flowbits` and `flowint`.
use super::super::condition::FlowbitTest;
use super::super::draft::Draft;
use super::super::lexer::unquote;
use super::super::number::Range;
use super::super::signature::{
    FlowStateTest, FlowbitChange, FlowintChange, FlowintTest, IntegerChange, IntegerTest,
};
use super::super::Reason;
use super::{decimal, text, Keyword, Meaning};
use crate::Direction;

pub(super) const KEYWORDS: &[Keyword] = &[
    Keyword {
        names: &["flow"],
        meaning: Meaning::Value(flow),
    },
    Keyword {
        names: &["flowbits"],
        meaning: Meaning::Value(flowbits),
    },
    Keyword {
        names: &["flowint"],
        meaning: Meaning::Value(flowint),
    },
];

fn flow(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let conflict =
        |word: &str| Reason::Conflict(format!("flow: '{word}' contradicts what is given already"));
    draft.flow.given = true;
    for word in text(keyword, value)?.split(',') {
        let word = word.trim().to_ascii_lowercase();
        let state = match word.as_str() {
            "established" => Some(FlowStateTest::Established),
            "not_established" => Some(FlowStateTest::NotEstablished),
            "stateless" => Some(FlowStateTest::Stateless),
            _ => None,
        };
        let direction = match word.as_str() {
            "to_server" | "from_client" => Some(Direction::ToServer),
            "to_client" | "from_server" => Some(Direction::ToClient),
            _ => None,
        };
        match (word.as_str(), state, direction) {
            (_, Some(state), _) => {
                if draft.flow.state.replace(state).is_some() {
                    return Err(conflict(&word));
                }
            }
            (_, _, Some(direction)) => {
                if draft.flow.direction.replace(direction).is_some() {
                    return Err(conflict(&word));
                }
            }
            ("only_stream", ..) if !draft.needs_packet => draft.only_stream = true,
            ("no_stream", ..) if !draft.only_stream => draft.needs_packet = true,
            ("only_stream" | "no_stream", ..) => return Err(conflict(&word)),
            ("only_frag" | "no_frag", ..) => {
                return Err(Reason::unsupported_form(keyword, format!("'{word}'")))
            }
            _ => return Err(Reason::bad_value(keyword, format!("'{word}' is unknown"))),
        }
    }
    Ok(())
}

fn flowbits(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, unquote(value, false).unwrap_or(value))?;
    let (command, names) = value.split_once(',').unwrap_or((value, ""));
    let command = command.trim();
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
        _ => Err(Reason::bad_value(
            keyword,
            format!("'{command}' takes one name"),
        )),
    };
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

fn flowint(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, unquote(value, false).unwrap_or(value))?;
    let bad = || Reason::bad_value(keyword, format!("'{value}'"));
    let parts: Vec<_> = value.split(',').map(str::trim).collect();
    let (name, operator, operand) = match parts[..] {
        [name, operator] => (bit(keyword, name)?, operator, None),
        [name, operator, operand] => (bit(keyword, name)?, operator, Some(operand)),
        _ => return Err(bad()),
    };
    let named = |test| FlowintTest { name, test };
    let test = match (operator, operand) {
        ("isset", None) => named(IntegerTest::IsSet),
        ("isnotset" | "notset", None) => named(IntegerTest::IsNotSet),
        (_, None) => return Err(bad()),
        ("+" | "-" | "=", Some(operand)) => {
            let amount = decimal(keyword, operand.as_bytes())
                .map_err(|_| Reason::unsupported_form(keyword, "another integer as operand"))?;
            let how = match operator {
                "+" => IntegerChange::Add(amount),
                "-" => IntegerChange::Subtract(amount),
                _ => IntegerChange::Set(amount),
            };
            draft.flowint_changes.push(FlowintChange { name, how });
            return Ok(());
        }
        (comparison, Some(operand)) => {
            let comparison = if comparison == "==" { "=" } else { comparison };
            let range = Range::parse(format!("{comparison}{operand}").as_bytes());
            named(IntegerTest::Compares(range.map_err(|_| bad())?))
        }
    };
    draft.flowint_tests.push(test);
    Ok(())
}

/// A number that stands for a name in every version of a rule set, so that flows outlive a reload.
fn bit(keyword: &str, name: &str) -> Result<u64, Reason> {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let name = name.trim();
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(Reason::bad_value(
            keyword,
            format!("'{name}' is not a name"),
        ));
    }
    // FNV-1a, 64 bits.
    Ok(name.bytes().fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    }))
}
