//! `threshold.config`: thresholds, rate filters and suppressions set apart from the rules they are about.
//!
//! ```text
//! threshold    gen_id 1, sig_id 10, type limit, track by_src, count 1, seconds 60     (also: event_filter)
//! rate_filter  gen_id 1, sig_id 10, track by_rule, count 100, seconds 60, new_action drop, timeout 30
//! suppress     gen_id 1, sig_id 10[, track by_src, ip [10.0.0.1,$HOME_NET]]
//! ```
//! `sig_id 0` means every signature of that generator, `gen_id 0, sig_id 0` all there are. As in Suricata 7, a
//! threshold for one signature takes the place of what the rule says itself; one for many, and any rate filter,
//! is left out where the rule has one; and what names a signature that is not loaded means nothing, which is told.
use std::collections::HashMap;
use std::sync::Arc;

use super::group::{self, Group};
use super::lexer::{self, printable};
use super::signature::Action;
use super::threshold::{Suppression, Threshold, ThresholdKind, Track, Whose};
use super::{Loaded, Reason, Refusal, Signature, Variables, Warning};

/// The name under which a rule set holds such a file.
const FILE_NAME: &str = "threshold.config";

/// What its lines begin with.
pub(super) const KEYWORDS: [&str; 4] = ["threshold", "event_filter", "rate_filter", "suppress"];

/// Whether a file of a rule set holds thresholds rather than rules.
pub(super) fn is_threshold_config(path: &str) -> bool {
    path.rsplit('/').next() == Some(FILE_NAME)
}

/// Sets what `text` says on the signatures it names; tells the statements that cannot be read, and those that mean
/// nothing.
pub(super) fn apply(
    file: &str,
    text: &[u8],
    variables: &Variables,
    Loaded {
        signatures,
        refused,
        warnings,
    }: &mut Loaded,
) {
    let places = signatures.iter().enumerate();
    let places: HashMap<(u32, u32), usize> = places
        .map(|(place, signature)| ((signature.gid, signature.sid), place))
        .collect();
    // Reading what is in memory does not fail.
    for statement in lexer::Statements::new(text).flatten() {
        let read = match statement.text.len() > lexer::MAX_RULE_BYTES {
            true => Err((None, Reason::TooLong)),
            false => Statement::read(&statement.text, variables),
        };
        match read {
            Ok(Statement { gid, sid: 0, what }) => signatures
                .iter_mut()
                .filter(|it| gid == 0 || it.gid == gid)
                .for_each(|signature| what.set_on_many(signature)),
            Ok(Statement { gid, sid, what }) => {
                let place = places.get(&(gid, sid));
                let told = match place.and_then(|place| signatures.get_mut(*place)) {
                    None => format!("no signature with gid {gid} and sid {sid} is loaded"),
                    Some(signature) if what.is_left_out(signature) => {
                        format!("sid {sid} has a threshold already, in its rule or by a line before, which counts instead")
                    }
                    Some(signature) => {
                        what.set_on_one(signature);
                        continue;
                    }
                };
                warnings.push(Warning {
                    file: file.to_owned(),
                    line: statement.line,
                    sid,
                    what: told,
                });
            }
            Err((sid, reason)) => refused.push(Refusal {
                file: file.to_owned(),
                line: statement.line,
                sid,
                reason,
            }),
        }
    }
}

/// One line.
struct Statement {
    gid: u32,
    sid: u32,
    what: What,
}

enum What {
    Threshold(Threshold),
    Rate(Threshold),
    Suppress(Option<Arc<Suppression>>),
}

impl What {
    fn is_left_out(&self, signature: &Signature) -> bool {
        matches!(self, Self::Rate(_)) && !signature.thresholds.is_empty()
    }

    fn set_on_one(&self, signature: &mut Signature) {
        match self {
            // Of several the last is the one that Suricata replaces.
            Self::Threshold(threshold) => {
                let mut held = std::mem::take(&mut signature.thresholds).into_vec();
                held.pop();
                held.push(*threshold);
                signature.thresholds = held.into();
            }
            other => other.set_on_many(signature),
        }
    }

    fn set_on_many(&self, signature: &mut Signature) {
        match self {
            Self::Threshold(threshold) | Self::Rate(threshold) => {
                if signature.thresholds.is_empty() {
                    signature.thresholds = [*threshold].into();
                }
            }
            Self::Suppress(None) => signature.suppressed = true,
            Self::Suppress(Some(some)) => signature.suppressions.push(some.clone()),
        }
    }
}

/// The names and values behind a statement's first word, each taken once.
struct Fields<'a> {
    kind: &'a str,
    values: HashMap<&'a str, &'a str>,
}

impl<'a> Fields<'a> {
    fn read(kind: &'a str, rest: &'a str) -> Result<Self, Reason> {
        let mut values = HashMap::new();
        for part in split(rest) {
            let bad = || {
                let why = format!("'{}' is not a name and a value", part.trim());
                Reason::bad_value(kind, why)
            };
            let (name, value) = part
                .trim()
                .split_once(char::is_whitespace)
                .ok_or_else(bad)?;
            if values.insert(name, value.trim()).is_some() {
                return Err(Reason::bad_value(kind, format!("two '{name}'")));
            }
        }
        Ok(Self { kind, values })
    }

    fn take(&mut self, name: &str) -> Result<&'a str, Reason> {
        let missing = || Reason::bad_value(self.kind, format!("'{name}' is missing"));
        self.values.remove(name).ok_or_else(missing)
    }

    fn bad(&self, name: &str, value: &str, why: &str) -> Reason {
        Reason::bad_value(self.kind, format!("'{name} {value}': {why}"))
    }

    fn number(&mut self, name: &str, least: u32) -> Result<u32, Reason> {
        let value = self.take(name)?;
        let number = value.parse::<u32>().ok().filter(|it| *it >= least);
        number.ok_or_else(|| {
            let comma = match value.contains(' ') {
                true => "; is a comma missing?",
                false => "",
            };
            self.bad(name, value, &format!("not a number from {least}{comma}"))
        })
    }

    /// One of the words of `table`.
    fn word<T: Copy>(&mut self, name: &str, table: &[(&str, T)]) -> Result<T, Reason> {
        let value = self.take(name)?;
        let found = table.iter().find(|(word, _)| *word == value);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<_> = table.iter().map(|(word, _)| *word).collect();
            self.bad(name, value, &format!("none of {}", words.join(", ")))
        })
    }

    fn end(self) -> Result<(), Reason> {
        match self.values.keys().min() {
            None => Ok(()),
            Some(name) => Err(Reason::bad_value(self.kind, format!("unknown '{name}'"))),
        }
    }
}

/// Cuts at commas, but not inside brackets.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0u32;
    text.split(move |c: char| {
        match c {
            '[' => depth = depth.saturating_add(1),
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

impl Statement {
    /// Errors: the signature number, where it can be read, and what is wrong.
    fn read(text: &[u8], variables: &Variables) -> Result<Self, (Option<u32>, Reason)> {
        let text = std::str::from_utf8(text)
            .map_err(|_| {
                (
                    None,
                    Reason::unknown_keyword(printable(text), KEYWORDS.into_iter()),
                )
            })?
            .trim();
        let (kind, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        if !KEYWORDS.contains(&kind) {
            return Err((None, Reason::unknown_keyword(kind, KEYWORDS.into_iter())));
        }
        let mut fields = Fields::read(kind, rest).map_err(|reason| (None, reason))?;
        let gid = fields
            .number("gen_id", 0)
            .map_err(|reason| (None, reason))?;
        let sid = fields
            .number("sig_id", 0)
            .map_err(|reason| (None, reason))?;
        if gid == 0 && sid > 0 {
            let why = "gen_id 0 stands for every signature, and goes with sig_id 0 only";
            return Err((Some(sid), Reason::bad_value(kind, why)));
        }
        let what = Self::what(&mut fields, variables);
        let what = what.and_then(|what| fields.end().map(|()| what));
        match what {
            Ok(what) => Ok(Self { gid, sid, what }),
            Err(reason) => Err((Some(sid), reason)),
        }
    }

    fn what(fields: &mut Fields<'_>, variables: &Variables) -> Result<What, Reason> {
        match fields.kind {
            "suppress" => suppression(fields, variables).map(What::Suppress),
            "rate_filter" => {
                let action = fields.word("new_action", NEW_ACTIONS)?;
                let timeout_s = fields.number("timeout", 0)?;
                counted(fields, ThresholdKind::Rate { action, timeout_s }).map(What::Rate)
            }
            _ => {
                let kind = fields.word("type", KINDS)?;
                counted(fields, kind).map(What::Threshold)
            }
        }
    }
}

const KINDS: &[(&str, ThresholdKind)] = &[
    ("limit", ThresholdKind::Limit),
    ("threshold", ThresholdKind::Threshold),
    ("both", ThresholdKind::Both),
];

const NEW_ACTIONS: &[(&str, Action)] = &[
    ("alert", Action::Alert),
    ("drop", Action::Drop),
    ("pass", Action::Pass),
    ("reject", Action::Reject),
];

const TRACKS: &[(&str, Track)] = &[
    ("by_src", Track::Source),
    ("by_dst", Track::Destination),
    ("by_both", Track::Both),
    ("by_rule", Track::Rule),
];

const WHOSE: &[(&str, Whose)] = &[
    ("by_src", Whose::Source),
    ("by_dst", Whose::Destination),
    ("by_either", Whose::Either),
];

fn counted(fields: &mut Fields<'_>, kind: ThresholdKind) -> Result<Threshold, Reason> {
    Ok(Threshold {
        kind,
        track: fields.word("track", TRACKS)?,
        count: fields.number("count", 1)?,
        seconds: fields.number("seconds", 1)?,
    })
}

/// `None`: whatever the addresses.
fn suppression(
    fields: &mut Fields<'_>,
    variables: &Variables,
) -> Result<Option<Arc<Suppression>>, Reason> {
    if fields.values.is_empty() {
        return Ok(None);
    }
    let whose = fields.word("track", WHOSE)?;
    let addresses: Group<_> = group::parse(fields.take("ip")?)?;
    variables.check_addresses(&addresses)?;
    Ok(Some(Arc::new(Suppression { whose, addresses })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::load;

    const RULES: &str = r#"
        alert udp any any -> any any (content:"a"; sid:1;)
        alert udp any any -> any any (content:"b"; threshold:type limit, track by_src, count 9, seconds 9; sid:2;)
        alert udp any any -> any any (content:"c"; gid:7; sid:3;)
    "#;

    fn loaded(config: &str) -> (Vec<Signature>, Vec<String>) {
        let files = [
            ("set/threshold.config".to_owned(), config.into()),
            ("set/a.rules".to_owned(), RULES.into()),
        ];
        let (signatures, refused) = load(&files, &Variables::default());
        let said = refused
            .iter()
            .map(|it| format!("{}:{}: {:?}: {}", it.file, it.line, it.sid, it.reason));
        (signatures, said.collect())
    }

    fn counts(config: &str) -> Vec<Option<u32>> {
        let (signatures, refused) = loaded(config);
        assert_eq!(refused, [""; 0]);
        let counts = signatures
            .iter()
            .map(|it| it.thresholds.last().map(|it| it.count));
        counts.collect()
    }

    #[test]
    fn a_threshold_for_one_signature_replaces_its_own_and_one_for_many_does_not() {
        let tail = "type limit, track by_src, count 1, seconds 60";
        assert_eq!(counts(""), [None, Some(9), None]);
        let one = format!("threshold gen_id 1, sig_id 2, {tail}");
        assert_eq!(counts(&one), [None, Some(1), None]);
        let all = format!("event_filter gen_id 0, sig_id 0, {tail}");
        assert_eq!(counts(&all), [Some(1), Some(9), Some(1)]);
        let generator = format!("threshold gen_id 7, sig_id 0, {tail}");
        assert_eq!(counts(&generator), [None, Some(9), Some(1)]);
        let rate = "track by_rule, count 4, seconds 5, new_action drop, timeout 3";
        let rate = format!("# both\nrate_filter gen_id 1, sig_id 0, \\\n  {rate}\n");
        assert_eq!(counts(&rate), [Some(4), Some(9), None]);
        assert_eq!(
            counts("suppress gen_id 1, sig_id 4"),
            [None, Some(9), None],
            "a signature that is not loaded"
        );
    }

    #[test]
    fn suppressions_add_up() {
        let (signatures, refused) = loaded(
            "suppress gen_id 1, sig_id 1, track by_src, ip [10.0.0.1,10.1.0.0/16]\n\
             suppress gen_id 0, sig_id 0, track by_either, ip $HOME_NET\n\
             suppress gen_id 7, sig_id 3\n",
        );
        assert_eq!(refused, [""; 0]);
        let told = signatures.iter();
        let told: Vec<_> = told
            .map(|it| (it.suppressions.len(), it.suppressed))
            .collect();
        assert_eq!(told, [(2, false), (1, false), (1, true)]);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_line() {
        let rows = [
            ("nonsense", "None: unknown keyword 'nonsense'"),
            ("suppress gen_id 1 sig_id 1", "None: keyword 'suppress': 'gen_id 1 sig_id 1': not a number from 0; is a comma missing?"),
            ("suppress gen_id 0, sig_id 1", "Some(1): keyword 'suppress': gen_id 0 stands for every signature, and goes with sig_id 0 only"),
            ("suppress gen_id 1, sig_id 1, track by_src", "Some(1): keyword 'suppress': 'ip' is missing"),
            ("suppress gen_id 1, sig_id 1, track by_src, ip $NOBODY", "Some(1): variable '$NOBODY' is not defined; offline --var NOBODY=VALUE defines it"),
            ("threshold gen_id 1, sig_id 1, type limit, track by_src, count 0, seconds 1", "Some(1): keyword 'threshold': 'count 0': not a number from 1"),
            ("threshold gen_id 1, sig_id 1, type limit, track by_flow, count 1, seconds 1", "Some(1): keyword 'threshold': 'track by_flow': none of by_src, by_dst, by_both, by_rule"),
            ("threshold gen_id 1, sig_id 1, type limit, track by_src, count 1, seconds 1, timeout 1", "Some(1): keyword 'threshold': unknown 'timeout'"),
            ("rate_filter gen_id 1, sig_id 1, track by_src, count 1, seconds 1, new_action log, timeout 1", "Some(1): keyword 'rate_filter': 'new_action log': none of alert, drop, pass, reject"),
        ];
        for (config, expected) in rows {
            let said = loaded(&format!("# first line\n{config}")).1;
            assert_eq!(said, [format!("set/threshold.config:2: {expected}")]);
        }
    }
}
