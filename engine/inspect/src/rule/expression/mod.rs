//! A regular expression, compiled by PCRE2 and searched for with bounded work.
//!
//! PCRE2 bounds what one match may cost, not what a search costs: it tries one byte after the other, and each may go
//! through all that follows. So on more than a few bytes an automaton says where to try it (see [`outline`]), and
//! PCRE2 is asked there only. Where the automaton misleads, because the expression looks around or refers back,
//! another one says how far PCRE2 may have gone; what that may have cost is added up, and past a bound the search is
//! given up. What has no automaton is searched piece by piece.
mod automaton;
mod outline;

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use pcre2::bytes::{CaptureLocations, Regex, RegexBuilder};

pub use automaton::Room;
use automaton::{Leader, Reach};
use outline::Purpose;

/// How deep a match may nest. Suricata's default.
const DEPTH_LIMIT: u32 = 1_500;
/// How much memory it may take, in KiB.
const HEAP_LIMIT_KIB: u32 = 8_192;
/// So many bytes PCRE2 searches alone.
const SHORT: usize = 1 << 10;
/// What has no automaton is searched in pieces of so many bytes, each begun in the middle of the one before it.
const PIECE: usize = 4 << 10;
/// A piece costs PCRE2 as much as so many bytes of a search.
const PIECE_COST: usize = 1 << 20;
/// So many bytes may be gone through in vain, counted as below, before a search is given up.
const MISLED: usize = 64 << 20;
/// A step of the interpreter costs about as much as so many bytes of a search.
const INTERPRETED: usize = 8;
/// As many ways through the same bytes PCRE2 tries in the time that it takes to come to them.
const AT_ONCE: usize = 8;

/// How an expression is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    /// Case does not matter.
    pub caseless: bool,
    /// A dot is a line feed, too.
    pub dotall: bool,
    /// `^` and `$` are at lines, too.
    pub multi_line: bool,
    /// Blanks and comments are none of it.
    pub extended: bool,
    /// Repetitions are lazy where they do not say otherwise.
    pub ungreedy: bool,
    /// It begins where the search does.
    pub anchored: bool,
    /// Not compiled to machine code, which does not count all of its steps.
    pub interpreted: bool,
    /// How much backtracking one match may do.
    pub match_limit: u32,
}

/// A compiled expression: immutable, shared by all workers.
pub struct Expression {
    regex: Regex,
    /// How it is read.
    pub flags: Flags,
    /// Where in what PCRE2 was given the expression stands.
    written: Range<usize>,
    /// It is found at its subject's beginning, or the search's, or nowhere.
    once: bool,
    plan: OnceLock<Plan>,
    /// The expression where it must begin at the search's start.
    here: OnceLock<Option<Regex>>,
}

/// How a subject that is not short is searched.
enum Plan {
    /// By PCRE2 alone: it goes through few bytes from each.
    Alone,
    /// Where an automaton leads.
    Led(Box<Lead>),
    /// Piece by piece.
    Untold,
}

struct Lead {
    /// The first that comes to its end in few states is followed.
    leaders: Vec<Leader>,
    /// How far PCRE2 may have gone; `None` where the leaders do not mislead.
    reach: Option<Reach>,
    /// How many things are repeated in it.
    repeats: u32,
}

/// The first match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// A search from here finds it at once.
    pub at: usize,
    /// Where it begins.
    pub start: usize,
    /// The offset just past it.
    pub end: usize,
}

/// A limit was hit, so that it is not known whether there is a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded;

/// A search's outcome, and how many bytes were gone through for it.
pub struct Searched {
    /// The first match, if there is one.
    pub found: Result<Option<Match>, Exceeded>,
    /// Bytes gone through.
    pub bytes: usize,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.as_str())
    }
}

impl Expression {
    /// Compiles `expression`, all of whose bytes are ASCII.
    ///
    /// Errors: PCRE2's own word, with offsets into `expression`.
    pub fn new(expression: &str, flags: Flags) -> Result<Self, pcre2::Error> {
        let (pattern, written) = pattern(expression, flags);
        let builder = builder(flags);
        let regex = builder
            .build(&pattern)
            .map_err(|error| builder.build(expression).err().unwrap_or(error))?;
        Ok(Self {
            regex,
            flags,
            written,
            once: flags.anchored || begins_once(expression, flags),
            plan: OnceLock::new(),
            here: OnceLock::new(),
        })
    }

    /// What it was compiled from.
    pub fn as_str(&self) -> &str {
        &self.regex.as_str()[self.written.clone()]
    }

    /// The names of its groups; the first is the whole match.
    pub fn group_names(&self) -> &[Option<String>] {
        self.regex.capture_names()
    }

    /// The first match that begins at `from` or behind it.
    pub fn find_at(&self, subject: &[u8], from: usize, room: &mut Room) -> Searched {
        if subject.len() - from <= SHORT && !self.flags.interpreted {
            return self.alone(subject, from);
        }
        match self.plan.get_or_init(|| self.plan()) {
            Plan::Alone => self.alone(subject, from),
            Plan::Led(lead) => self.led(lead, subject, from, room),
            Plan::Untold => self.untold(subject, from, 0),
        }
    }

    /// Where the groups of a match lie.
    pub fn groups(&self, subject: &[u8], found: Match) -> Option<CaptureLocations> {
        let mut places = self.regex.capture_locations();
        let found = self.regex.captures_read_at(&mut places, subject, found.at);
        matches!(found, Ok(Some(_))).then_some(places)
    }

    fn plan(&self) -> Plan {
        let outline = |purpose| outline::of(self.as_str(), self.flags, purpose);
        let Some(lead) = outline(Purpose::Lead) else {
            return Plan::Untold;
        };
        if lead.repeats == 0 && !lead.often && !self.flags.interpreted {
            return Plan::Alone;
        }
        let strict = Leader::new(&lead.text, self.flags);
        let loose = outline(Purpose::Loosely).filter(|loose| loose.text != lead.text);
        let loose = loose.and_then(|loose| Leader::new(&loose.text, self.flags));
        let misleads = !lead.exact || strict.is_none() || loose.is_some();
        let leaders: Vec<Leader> = strict.into_iter().chain(loose).collect();
        let reach = misleads.then(|| outline(Purpose::Reach)).flatten();
        let reach = reach.and_then(|reach| Reach::new(&reach.text, self.flags));
        if leaders.is_empty() || misleads && reach.is_none() {
            return Plan::Untold;
        }
        Plan::Led(Box::new(Lead {
            leaders,
            reach,
            repeats: lead.repeats,
        }))
    }

    fn alone(&self, subject: &[u8], from: usize) -> Searched {
        let found = first(&self.regex, subject, from);
        let left = subject.len() - from;
        let bytes = if self.once { left.min(SHORT) } else { left };
        Searched { found, bytes }
    }

    /// Searches where automata lead.
    fn led(&self, lead: &Lead, subject: &[u8], from: usize, room: &mut Room) -> Searched {
        let (mut at, mut bytes) = (from, 0);
        while at <= subject.len() && (!self.once || at == from) {
            let mut leaders = lead.leaders.iter();
            let candidate =
                leaders.find_map(|it| it.first(subject, at, self.once, room, &mut bytes).ok());
            let start = match candidate {
                None => return self.untold(subject, at, bytes),
                Some(None) => break,
                Some(Some(start)) => start,
            };
            let here = match &lead.reach {
                Some(_) => self.here(),
                None => Some(&self.regex),
            };
            let Some(here) = here else {
                return self.untold(subject, start, bytes);
            };
            let found = match bytes > MISLED {
                true => Err(Exceeded),
                false => first(here, subject, start),
            };
            let Some(reach) = lead.reach.as_ref().filter(|_| found == Ok(None)) else {
                return Searched { found, bytes };
            };
            let gone_through = reach.from(subject, start, room);
            bytes = bytes.saturating_add(self.cost(gone_through, lead.repeats));
            at = start + 1;
        }
        let found = Ok(None);
        Searched { found, bytes }
    }

    /// What it may have cost PCRE2 not to find it in so many bytes: it may have tried as many ways through them as
    /// `repeats` things can share them, up to its limit.
    fn cost(&self, bytes: usize, repeats: u32) -> usize {
        let ways = bytes.saturating_pow(repeats.saturating_sub(1));
        let ways = ways.min(self.flags.match_limit as usize) / AT_ONCE;
        let ways = ways.max(1) * self.weight();
        bytes.saturating_mul(ways)
    }

    /// What a step costs.
    fn weight(&self) -> usize {
        match self.flags.interpreted {
            true => INTERPRETED,
            false => 1,
        }
    }

    /// Searches what is left piece by piece, having gone through `bytes` before.
    fn untold(&self, subject: &[u8], from: usize, mut bytes: usize) -> Searched {
        let mut at = from;
        let found = loop {
            let end = subject.len().min(at + PIECE);
            bytes += PIECE_COST * self.weight();
            let found = match first(&self.regex, &subject[..end], at) {
                // With what is behind the end it may be none.
                Ok(Some(shown)) if end < subject.len() => {
                    let here = self.here();
                    here.map_or(Ok(None), |here| first(here, subject, shown.start))
                }
                found => found,
            };
            if end == subject.len() || found != Ok(None) {
                break found;
            }
            if bytes > MISLED {
                break Err(Exceeded);
            }
            at += PIECE / 2;
        };
        Searched { found, bytes }
    }

    /// The expression where it must begin at the search's start; `None` where it cannot be put so.
    fn here(&self) -> Option<&Regex> {
        // What calls the whole would call what it is put in.
        const WHOLE: [&str; 4] = ["(?R)", "(?0)", "\\g<0>", "\\g'0'"];
        let make = || {
            if WHOLE.iter().any(|call| self.as_str().contains(call)) {
                return None;
            }
            let flags = Flags {
                anchored: true,
                ..self.flags
            };
            builder(flags).build(&pattern(self.as_str(), flags).0).ok()
        };
        self.here.get_or_init(make).as_ref()
    }
}

/// Whether the expression can begin at its subject's beginning only. May err on no.
fn begins_once(expression: &str, flags: Flags) -> bool {
    let rest = match expression.strip_prefix('^') {
        Some(rest) if !flags.multi_line => Some(rest),
        _ => expression.strip_prefix("\\A"),
    };
    let counted = |rest: &str| rest.starts_with(['*', '+', '?', '{']);
    rest.is_some_and(|rest| !counted(rest) && !rest.contains('|'))
}

fn first(regex: &Regex, subject: &[u8], at: usize) -> Result<Option<Match>, Exceeded> {
    let found = regex.find_at(subject, at).map_err(|_| Exceeded)?;
    Ok(found.map(|found| Match {
        at,
        start: found.start(),
        end: found.end(),
    }))
}

/// What PCRE2 is given, the bounds of its work first, and where in it the expression stands.
fn pattern(expression: &str, flags: Flags) -> (String, Range<usize>) {
    let limit = flags.match_limit;
    let mut pattern =
        format!("(*LIMIT_MATCH={limit})(*LIMIT_DEPTH={DEPTH_LIMIT})(*LIMIT_HEAP={HEAP_LIMIT_KIB})");
    if flags.ungreedy {
        pattern.push_str("(?U)");
    }
    if flags.anchored {
        pattern.push_str("\\G(?:");
    }
    let start = pattern.len();
    pattern.push_str(expression);
    let end = pattern.len();
    if flags.anchored {
        // It may end in what is quoted, or in a comment.
        pattern.push_str(if flags.extended { "\\E\n)" } else { "\\E)" });
    }
    (pattern, start..end)
}

fn builder(flags: Flags) -> RegexBuilder {
    let mut builder = RegexBuilder::new();
    builder
        .caseless(flags.caseless)
        .dotall(flags.dotall)
        .multi_line(flags.multi_line)
        .extended(flags.extended)
        .jit_if_available(!flags.interpreted);
    builder
}

#[cfg(test)]
mod tests;
