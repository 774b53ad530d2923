//! Groups of addresses and of ports: `any`, `$NAME`, one, or a nested list with exclusions.
use std::fmt;

use super::lexer::{printable, trim};
use super::Reason;

/// How deep lists may nest.
const MAX_DEPTH: usize = 16;

/// A group as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Group<T> {
    /// `any`.
    Any,
    /// One address range or port range.
    One(T),
    /// `$NAME`.
    Variable(String),
    /// `[a,b,!c]`: in some of `include` (all, where that is empty) and in none of `exclude`.
    List {
        /// Members.
        include: Vec<Group<T>>,
        /// Members written with `!`.
        exclude: Vec<Group<T>>,
    },
}

impl<T> Group<T> {
    /// Everything but `group`.
    pub fn not(group: Self) -> Self {
        Self::List {
            include: Vec::new(),
            exclude: vec![group],
        }
    }

    /// Calls `see` with every variable named in it.
    pub fn variables(&self, see: &mut impl FnMut(&str)) {
        match self {
            Self::Any | Self::One(_) => {}
            Self::Variable(name) => see(name),
            Self::List { include, exclude } => {
                include
                    .iter()
                    .chain(exclude)
                    .for_each(|group| group.variables(see));
            }
        }
    }
}

/// What a group's members are.
pub trait Member: Sized + fmt::Debug {
    /// What it is and how it is written.
    const FORM: &'static str;

    /// Reads one member; `None` where it cannot be read.
    fn parse(text: &str) -> Option<Self>;
}

/// Reads a group.
///
/// Errors: unbalanced brackets, empty members, nesting past the bound, `!any`, members that cannot be read.
pub fn parse<T: Member>(text: &str) -> Result<Group<T>, Reason> {
    let bad = || {
        let shown = printable(text.as_bytes());
        Reason::BadGroup(format!("'{shown}' cannot be read as {}", T::FORM))
    };
    // Suricata takes a list without its outermost brackets.
    let bare_list = split_members(text).is_some_and(|members| members.len() > 1);
    let found = if bare_list {
        list(text, 0).map(|group| (false, group))
    } else {
        member(text.trim(), 0)
    };
    let (negated, group) = found.ok_or_else(bad)?;
    match (negated, group) {
        (true, Group::Any) => Err(bad()),
        (true, group) => Ok(Group::not(group)),
        (false, group) => Ok(group),
    }
}

/// One member and whether `!` stands before it.
fn member<T: Member>(text: &str, depth: usize) -> Option<(bool, Group<T>)> {
    if depth > MAX_DEPTH {
        return None;
    }
    let (negated, text) = match text.strip_prefix('!') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    let group = if let Some(inner) = text.strip_prefix('[') {
        list(inner.strip_suffix(']')?, depth)?
    } else if let Some(name) = text.strip_prefix('$') {
        let named =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        named.then(|| Group::Variable(name.into()))?
    } else if text.eq_ignore_ascii_case("any") {
        Group::Any
    } else {
        Group::One(T::parse(text)?)
    };
    Some((negated, group))
}

fn list<T: Member>(inner: &str, depth: usize) -> Option<Group<T>> {
    let (mut include, mut exclude) = (Vec::new(), Vec::new());
    for text in split_members(inner)? {
        match member(text.trim(), depth + 1)? {
            (true, Group::Any) => return None,
            (true, group) => exclude.push(group),
            (false, group) => include.push(group),
        }
    }
    if include.iter().any(|group| matches!(group, Group::Any)) {
        include.clear();
    }
    include.shrink_to_fit();
    exclude.shrink_to_fit();
    Some(Group::List { include, exclude })
}

/// The members of a list, split at the commas outside of inner brackets; `None` if brackets don't balance.
fn split_members(inner: &str) -> Option<Vec<&str>> {
    let (mut members, mut start, mut depth) = (Vec::new(), 0, 0usize);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => {
                members.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    members.push(&inner[start..]);
    (depth == 0 && !trim(inner.as_bytes()).is_empty()).then_some(members)
}
