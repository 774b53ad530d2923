//! What outlives a packet: `xbits`, `hostbits`, `flowvar`, `pktvar` and `tag`.
use super::super::content::{parse_pattern, Needle};
use super::super::draft::Draft;
use super::super::lexer::unquote;
use super::super::number::name_hash;
use super::super::pcre::{Life, Variable};
use super::super::signature::{
    HostChange, HostStep, HostTest, Owner, Tag, TagMetric, TagScope, VariableTest,
};
use super::super::Reason;
use super::{decimal, text, value, Keyword};

pub(super) const KEYWORDS: &[Keyword] = &[
    value(&["xbits"], xbits),
    value(&["hostbits"], hostbits),
    value(&["flowvar"], |draft, keyword, value| {
        variable(draft, keyword, value, Life::Flow)
    }),
    value(&["pktvar"], |draft, keyword, value| {
        variable(draft, keyword, value, Life::Packet)
    }),
    value(&["tag"], tag),
];

/// How long a bit stays set where `expire` does not say. Suricata's defaults.
const XBITS_EXPIRE_S: u32 = 30;
const HOSTBITS_EXPIRE_S: u32 = 300;
/// How many bits one signature may change or look at, and how many tags it may set.
const MAX_STEPS: usize = 32;

/// `set,name,track ip_src,expire 60`.
fn xbits(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, value)?;
    let bad = || Reason::bad_value(keyword, format!("'{value}' cannot be read"));
    let parts: Vec<_> = value.split(',').collect();
    let [command, name, track, rest @ ..] = &parts[..] else {
        return Err(bad());
    };
    let owner = match track.trim().strip_prefix("track").map(str::trim_start) {
        Some("ip_src") => Owner::Source,
        Some("ip_dst") => Owner::Destination,
        Some("ip_pair") => Owner::Pair,
        _ => return Err(bad()),
    };
    let expire = rest.first().map_or("", |word| word.trim());
    let expire_s = match expire.strip_prefix("expire ").map(str::trim_start) {
        Some(seconds) => decimal::<u32>(keyword, seconds.as_bytes())?,
        None => XBITS_EXPIRE_S,
    };
    if expire_s == 0 {
        return Err(Reason::bad_value(keyword, "expire must not be 0"));
    }
    let name = name.trim();
    if name.is_empty() {
        return Err(bad());
    }
    host_step(draft, command, (owner, name_hash(name)), expire_s, false).ok_or_else(bad)?;
    check_bounds(draft)
}

/// `set,name,src`, or `noalert`.
fn hostbits(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    let value = text(keyword, value)?;
    let bad = || Reason::bad_value(keyword, format!("'{value}' cannot be read"));
    let parts: Vec<_> = value.split(',').map(str::trim).collect();
    let (command, name, side) = match parts[..] {
        ["noalert"] => {
            draft.noalert = true;
            return Ok(());
        }
        [command, name] => (command, name, "src"),
        [command, name, side] => (command, name, side),
        _ => return Err(bad()),
    };
    let owner = match side {
        "src" => Owner::Source,
        "dst" => Owner::Destination,
        _ => return Err(bad()),
    };
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(bad());
    }
    let bit = (owner, name_hash(name));
    host_step(draft, command, bit, HOSTBITS_EXPIRE_S, true).ok_or_else(bad)?;
    check_bounds(draft)
}

/// Adds one condition or change; `None` where there is no such command.
fn host_step(
    draft: &mut Draft,
    command: &str,
    (owner, name): (Owner, u64),
    expire_s: u32,
    hostbits: bool,
) -> Option<()> {
    let test = |negated| HostTest {
        owner,
        name,
        negated,
        hostbits,
    };
    let change = |step| HostChange {
        owner,
        name,
        step,
        expire_s,
        hostbits,
    };
    match command {
        "isset" => draft.host_tests.push(test(false)),
        "isnotset" => draft.host_tests.push(test(true)),
        "set" => draft.host_changes.push(change(HostStep::Set)),
        "unset" => draft.host_changes.push(change(HostStep::Unset)),
        "toggle" => draft.host_changes.push(change(HostStep::Toggle)),
        _ => return None,
    }
    Some(())
}

fn check_bounds(draft: &Draft) -> Result<(), Reason> {
    let steps = draft.host_tests.len() + draft.host_changes.len();
    if steps > MAX_STEPS || draft.tags.len() > MAX_STEPS || draft.variable_tests.len() > MAX_STEPS {
        return Err(Reason::Conflict(format!(
            "more than {MAX_STEPS} bits, variables or tags"
        )));
    }
    Ok(())
}

/// `name,"content"`: what an expression captured holds these bytes.
fn variable(draft: &mut Draft, keyword: &str, value: &[u8], life: Life) -> Result<(), Reason> {
    let bad = |why: &str| Reason::bad_value(keyword, why);
    let comma = value
        .iter()
        .position(|byte| *byte == b',')
        .ok_or_else(|| bad("not of the form name,content"))?;
    let name = text(keyword, &value[..comma])?.trim();
    let pattern = value[comma + 1..].trim_ascii();
    if pattern.first() == Some(&b'!') && life == Life::Flow {
        return Err(bad("the content cannot be negated"));
    }
    let pattern = match unquote(pattern, true) {
        Some(inner) => inner,
        None if pattern.contains(&b'"') => return Err(bad("quotes don't pair")),
        None => pattern,
    };
    let needle = Needle::new(parse_pattern(keyword, pattern)?, false);
    let name = name_hash(name);
    draft.variable_tests.push(VariableTest {
        variable: Variable { life, name },
        needle,
    });
    check_bounds(draft)
}

/// `session`, or `host,100,packets,src`.
fn tag(draft: &mut Draft, keyword: &str, value: &[u8]) -> Result<(), Reason> {
    /// What is logged where the rule does not say how much. Suricata's default.
    const DEFAULT_PACKETS: u32 = 256;
    let value = text(keyword, value)?;
    let bad = || Reason::bad_value(keyword, format!("'{value}' cannot be read"));
    let parts: Vec<_> = value.split(',').map(str::trim).collect();
    let (scope, rest) = parts.split_first().ok_or_else(bad)?;
    let (count, metric, side) = match rest {
        [] => (DEFAULT_PACKETS, TagMetric::Packets, ""),
        [count, metric, side @ ..] if side.len() <= 1 => {
            let metric = match *metric {
                "packets" => TagMetric::Packets,
                "seconds" => TagMetric::Seconds,
                "bytes" => TagMetric::Bytes,
                _ => return Err(bad()),
            };
            let side = side.first().copied();
            if side.is_some_and(|side| !matches!(side, "src" | "dst")) {
                return Err(bad());
            }
            (
                decimal(keyword, count.as_bytes())?,
                metric,
                side.unwrap_or(""),
            )
        }
        _ => return Err(bad()),
    };
    let scope = match (*scope, side) {
        ("session", _) => TagScope::Flow,
        ("host", "src") => TagScope::Source,
        ("host", _) => TagScope::Destination,
        _ => return Err(bad()),
    };
    draft.tags.push(Tag {
        scope,
        metric,
        count,
    });
    check_bounds(draft)
}
