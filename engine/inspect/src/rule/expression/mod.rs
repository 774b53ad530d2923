//! A regular expression, compiled by PCRE2 and searched for with bounded work.
//!
//! PCRE2 bounds what one match may cost, not what a search costs: it tries one byte after the other, and each may go
//! through all that follows. So on more than a few bytes an automaton says where to try it (see [`outline`]), and
//! PCRE2 is asked there only. Of what has no outline, or one with too many states, the beginning is searched.
mod outline;

use std::collections::hash_map::{Entry, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;

use pcre2::bytes::{CaptureLocations, Regex, RegexBuilder};
use regex_automata::hybrid::{dfa, regex as automaton};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;
use regex_automata::Input;

/// How deep a match may nest. Suricata's default.
const DEPTH_LIMIT: u32 = 1_500;
/// How much memory it may take, in KiB.
const HEAP_LIMIT_KIB: u32 = 8_192;
/// So many bytes PCRE2 searches alone.
const SHORT: usize = 1 << 10;
/// Of what has no automaton so many bytes are searched.
const UNTOLD: usize = 8 << 10;
/// So many bytes may be gone through where the automaton leads and the expression is not.
const MISLED: usize = 64 << 20;
/// A step of the interpreter costs about as much as so many bytes of a search.
const INTERPRETED: usize = 8;
/// How much memory an automaton's program, and its states in one direction, may take, in bytes.
const MAX_PROGRAM: usize = 512 << 10;
const MAX_STATES: usize = 256 << 10;
/// How much the states of all automata of one worker may take; past it all are forgotten.
const MAX_ROOM: usize = 8 << 20;

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
    plan: OnceLock<Plan>,
    /// The expression where it must begin at the search's start.
    here: OnceLock<Option<Regex>>,
}

/// How a subject that is not short is searched.
enum Plan {
    /// By PCRE2 alone: it begins at one place, or goes through few bytes from each.
    Alone,
    /// Where an automaton leads. There may be a second one, for where the first one's states become too many: it does
    /// not count. There may be none.
    Led(Vec<Automaton>),
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
        if subject.len() - from <= SHORT {
            return self.alone(subject, from);
        }
        match self.plan.get_or_init(|| self.plan()) {
            Plan::Alone => self.alone(subject, from),
            Plan::Led(automata) => self.led(automata, subject, from, room),
        }
    }

    /// Where the groups of a match lie.
    pub fn groups(&self, subject: &[u8], found: Match) -> Option<CaptureLocations> {
        let mut places = self.regex.capture_locations();
        let found = self.regex.captures_read_at(&mut places, subject, found.at);
        matches!(found, Ok(Some(_))).then_some(places)
    }

    fn plan(&self) -> Plan {
        let (expression, flags) = (self.as_str(), self.flags);
        if flags.anchored || begins_once(expression, flags) {
            return Plan::Alone;
        }
        let Some(outline) = outline::of(expression, flags, false) else {
            return Plan::Led(Vec::new());
        };
        if !outline.repeats {
            return Plan::Alone;
        }
        let loose = outline::of(expression, flags, true).map(|it| it.text);
        let loose = loose.filter(|loose| *loose != outline.text);
        let texts = [Some(outline.text), loose].into_iter().flatten();
        Plan::Led(texts.filter_map(|it| Automaton::new(&it, flags)).collect())
    }

    fn alone(&self, subject: &[u8], from: usize) -> Searched {
        let found = first(&self.regex, subject, from);
        let left = subject.len() - from;
        let bytes = match self.flags.interpreted && !matches!(found, Ok(Some(_))) {
            true => left.saturating_mul(left).saturating_mul(INTERPRETED),
            false => left,
        };
        Searched { found, bytes }
    }

    /// Searches where automata lead.
    fn led(
        &self,
        automata: &[Automaton],
        subject: &[u8],
        from: usize,
        room: &mut Room,
    ) -> Searched {
        let (mut at, mut bytes) = (from, 0);
        let weight = if self.flags.interpreted {
            INTERPRETED
        } else {
            1
        };
        while at <= subject.len() {
            let candidate = automata
                .iter()
                .find_map(|it| it.first(subject, at, room, &mut bytes).ok());
            let start = match candidate {
                None => return self.untold(subject, at, bytes),
                Some(None) => break,
                Some(Some(start)) => start,
            };
            let Some(here) = self.here() else {
                return self.untold(subject, at, bytes);
            };
            let found = match bytes > MISLED {
                true => Err(Exceeded),
                false => first(here, subject, start),
            };
            bytes += (subject.len() - start) * weight;
            if !matches!(found, Ok(None)) {
                return Searched { found, bytes };
            }
            at = start + 1;
        }
        let found = Ok(None);
        Searched { found, bytes }
    }

    /// Searches the beginning of what is left, having gone through `bytes` before.
    fn untold(&self, subject: &[u8], from: usize, bytes: usize) -> Searched {
        let end = subject.len().min(from + UNTOLD);
        let whole = end == subject.len();
        let found = match first(&self.regex, &subject[..end], from) {
            Ok(found) if !whole => {
                // With what is behind the end it may be none.
                let again = found.zip(self.here());
                let found =
                    again.and_then(|(shown, here)| first(here, subject, shown.start).ok()?);
                found.map(Some).ok_or(Exceeded)
            }
            found => found,
        };
        let bytes = bytes + (end - from) * (end - from) / INTERPRETED;
        Searched { found, bytes }
    }

    fn here(&self) -> Option<&Regex> {
        let make = || {
            let flags = Flags {
                anchored: true,
                ..self.flags
            };
            builder(flags).build(&pattern(self.as_str(), flags).0).ok()
        };
        self.here.get_or_init(make).as_ref()
    }
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
        // It may end in a comment.
        pattern.push_str(if flags.extended { "\n)" } else { ")" });
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

/// Whether the expression can begin at its subject's beginning only. May err on no.
fn begins_once(expression: &str, flags: Flags) -> bool {
    let rest = match expression.strip_prefix('^') {
        Some(rest) if !flags.multi_line => Some(rest),
        _ => expression.strip_prefix("\\A"),
    };
    let counted = |rest: &str| rest.starts_with(['*', '+', '?', '{']);
    rest.is_some_and(|rest| !counted(rest) && !rest.contains('|'))
}

/// Finds where it is worth to try an expression, in time that grows with the subject's length.
struct Automaton {
    /// Tells apart what is in a [`Room`].
    id: u64,
    regex: automaton::Regex,
}

/// The states became too many.
struct TooMany;

impl Automaton {
    /// `None` where it would take too much memory, or is not understood.
    fn new(outline: &str, flags: Flags) -> Option<Self> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let syntax = syntax::Config::new()
            .unicode(false)
            .utf8(false)
            .case_insensitive(flags.caseless)
            .dot_matches_new_line(flags.dotall)
            .multi_line(flags.multi_line)
            .swap_greed(flags.ungreedy);
        let program = thompson::Config::new()
            .utf8(false)
            .nfa_size_limit(Some(MAX_PROGRAM));
        let states = dfa::Config::new()
            .cache_capacity(MAX_STATES)
            .minimum_cache_clear_count(Some(2))
            .minimum_bytes_per_state(Some(16));
        let built = automaton::Builder::new()
            .syntax(syntax)
            .thompson(program)
            .dfa(states)
            .build(outline);
        Some(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            regex: built.ok()?,
        })
    }

    /// Where the first thing that is worth a try begins, at `from` or behind it; adds up the bytes gone through.
    fn first(
        &self,
        subject: &[u8],
        from: usize,
        room: &mut Room,
        bytes: &mut usize,
    ) -> Result<Option<usize>, TooMany> {
        let input = Input::new(subject).span(from..subject.len());
        let found = room.with(self, |cache| self.regex.try_search(cache, &input));
        match found {
            Ok(Some(found)) => {
                *bytes += found.end() - from;
                Ok(Some(found.start()))
            }
            found => {
                *bytes += subject.len() - from;
                found.map(|_| None).map_err(|_| TooMany)
            }
        }
    }
}

/// The states that one worker's automata have come to so far.
#[derive(Default)]
pub struct Room {
    caches: HashMap<u64, automaton::Cache>,
    bytes: usize,
}

impl Room {
    fn with<T>(
        &mut self,
        automaton: &Automaton,
        search: impl FnOnce(&mut automaton::Cache) -> T,
    ) -> T {
        if self.bytes > MAX_ROOM {
            *self = Self::default();
        }
        let mut before = 0;
        let known = self.caches.entry(automaton.id);
        let cache = match known {
            Entry::Occupied(known) => {
                let cache = known.into_mut();
                before = cache.memory_usage();
                cache
            }
            Entry::Vacant(empty) => empty.insert(automaton.regex.create_cache()),
        };
        let result = search(cache);
        self.bytes = (self.bytes + cache.memory_usage()).saturating_sub(before);
        result
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Room({} automata, {} bytes)",
            self.caches.len(),
            self.bytes
        )
    }
}

#[cfg(test)]
mod tests;
