//! Automata: they go through a subject once, whatever an expression is.
use std::collections::hash_map::{Entry, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;

use regex_automata::hybrid::{dfa, regex, BuildError};
use regex_automata::nfa::thompson::{self, pikevm};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind};

use super::Flags;

/// How much memory an automaton's program, and its states in one direction, may take, in bytes.
const MAX_PROGRAM: usize = 512 << 10;
const MAX_STATES: usize = 256 << 10;
/// How much the states of all automata of one worker may take; past it all are forgotten.
const MAX_ROOM: usize = 8 << 20;
/// Where the states become too many, an automaton is followed in all its threads if that is no more work than this:
/// parts of its program times bytes.
const MAX_THREADS: usize = 16 << 20;

/// Says where an expression may begin.
pub struct Leader {
    id: u64,
    outline: String,
    flags: Flags,
    regex: regex::Regex,
    threads: OnceLock<Option<pikevm::PikeVM>>,
}

/// Says how far an expression may be followed.
pub struct Reach {
    id: u64,
    dfa: dfa::DFA,
}

/// The states became too many.
pub struct TooMany;

impl Leader {
    /// `None` where it would take too much memory, or is not understood.
    pub fn new(outline: &str, flags: Flags) -> Option<Self> {
        let built = regex::Builder::new()
            .syntax(syntax(flags))
            .thompson(program())
            .dfa(states())
            .build(outline);
        Some(Self {
            id: next_id(),
            outline: outline.to_owned(),
            flags,
            regex: built.ok()?,
            threads: OnceLock::new(),
        })
    }

    /// Where the first thing that is worth a try begins, at `from` or behind it, or with `here` at `from` alone; adds
    /// up the bytes gone through.
    pub fn first(
        &self,
        subject: &[u8],
        from: usize,
        here: bool,
        room: &mut Room,
        bytes: &mut usize,
    ) -> Result<Option<usize>, TooMany> {
        let anchored = if here { Anchored::Yes } else { Anchored::No };
        let input = Input::new(subject)
            .span(from..subject.len())
            .anchored(anchored);
        let create = || Cache::Leader(Box::new(self.regex.create_cache()));
        let found = room.with(self.id, create, |cache| match cache {
            Cache::Leader(cache) => {
                let before = cache.forward().search_total_len();
                let found = self.regex.try_search(cache, &input);
                let searched = cache.forward().search_total_len().checked_sub(before);
                Some((found, searched))
            }
            _ => None,
        });
        let (found, searched) = found.ok_or(TooMany)?;
        let left = subject.len() - from;
        *bytes += searched.map_or(left, |it| it.min(left)).max(1);
        match found {
            Ok(found) => Ok(found.map(|it| it.start())),
            Err(_) => self.in_threads(&input, room, bytes),
        }
    }

    /// The same without states.
    fn in_threads(
        &self,
        input: &Input<'_>,
        room: &mut Room,
        bytes: &mut usize,
    ) -> Result<Option<usize>, TooMany> {
        let parts = self.regex.forward().get_nfa().states().len();
        let work = parts.saturating_mul(input.get_span().len());
        if work > MAX_THREADS {
            return Err(TooMany);
        }
        let make = || {
            let built = pikevm::Builder::new()
                .syntax(syntax(self.flags))
                .thompson(program().which_captures(thompson::WhichCaptures::Implicit))
                .build(&self.outline);
            built.ok()
        };
        let vm = self.threads.get_or_init(make).as_ref().ok_or(TooMany)?;
        *bytes += work;
        let create = || Cache::Threads(Box::new(vm.create_cache()));
        let found = room.with(!self.id, create, |cache| match cache {
            Cache::Threads(cache) => Some(vm.find(cache, input.clone())),
            _ => None,
        });
        Ok(found.ok_or(TooMany)?.map(|it| it.start()))
    }
}

impl Reach {
    /// `None` where it would take too much memory, or is not understood.
    pub fn new(outline: &str, flags: Flags) -> Option<Self> {
        let built: Result<_, BuildError> = dfa::Builder::new()
            .configure(states().match_kind(MatchKind::All))
            .syntax(syntax(flags))
            .thompson(program())
            .build(outline);
        Some(Self {
            id: next_id(),
            dfa: built.ok()?,
        })
    }

    /// How many bytes behind `from` it can be followed through at most.
    pub fn from(&self, subject: &[u8], from: usize, room: &mut Room) -> usize {
        let create = || Cache::Reach(Box::new(self.dfa.create_cache()));
        let reached = room.with(self.id, create, |cache| match cache {
            Cache::Reach(cache) => self.follow(cache, subject, from),
            _ => None,
        });
        reached.unwrap_or(subject.len() - from)
    }

    /// `None` where the states became too many.
    fn follow(&self, cache: &mut dfa::Cache, subject: &[u8], from: usize) -> Option<usize> {
        let input = Input::new(subject)
            .span(from..subject.len())
            .anchored(Anchored::Yes);
        let mut state = self.dfa.start_state_forward(cache, &input).ok()?;
        cache.search_start(from);
        for (at, byte) in subject.iter().enumerate().skip(from) {
            state = self.dfa.next_state(cache, state, *byte).ok()?;
            cache.search_update(at);
            if state.is_dead() || state.is_quit() {
                cache.search_finish(at);
                return Some(at + 1 - from);
            }
        }
        cache.search_finish(subject.len());
        Some(subject.len() - from)
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn syntax(flags: Flags) -> syntax::Config {
    syntax::Config::new()
        .unicode(false)
        .utf8(false)
        .case_insensitive(flags.caseless)
        .dot_matches_new_line(flags.dotall)
        .multi_line(flags.multi_line)
        .swap_greed(flags.ungreedy)
}

fn program() -> thompson::Config {
    thompson::Config::new()
        .utf8(false)
        .nfa_size_limit(Some(MAX_PROGRAM))
}

fn states() -> dfa::Config {
    dfa::Config::new()
        .cache_capacity(MAX_STATES)
        .minimum_cache_clear_count(Some(2))
        .minimum_bytes_per_state(Some(16))
}

/// The states that one worker's automata have come to so far.
#[derive(Default)]
pub struct Room {
    caches: HashMap<u64, Cache>,
    bytes: usize,
}

enum Cache {
    Leader(Box<regex::Cache>),
    Reach(Box<dfa::Cache>),
    Threads(Box<pikevm::Cache>),
}

impl Cache {
    fn bytes(&self) -> usize {
        match self {
            Self::Leader(cache) => cache.memory_usage(),
            Self::Reach(cache) => cache.memory_usage(),
            Self::Threads(cache) => cache.memory_usage(),
        }
    }
}

impl Room {
    fn with<T>(
        &mut self,
        id: u64,
        create: impl FnOnce() -> Cache,
        search: impl FnOnce(&mut Cache) -> T,
    ) -> T {
        if self.bytes > MAX_ROOM {
            *self = Self::default();
        }
        let mut before = 0;
        let cache = match self.caches.entry(id) {
            Entry::Occupied(known) => {
                let cache = known.into_mut();
                before = cache.bytes();
                cache
            }
            Entry::Vacant(empty) => empty.insert(create()),
        };
        let result = search(cache);
        self.bytes = (self.bytes + cache.bytes()).saturating_sub(before);
        result
    }

    /// How many bytes are held, as counted and as they are.
    #[cfg(test)]
    pub fn held(&self) -> (usize, usize) {
        let caches = self.caches.values();
        (self.bytes, caches.map(Cache::bytes).sum())
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
