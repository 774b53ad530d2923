//! The outline of an expression: what it finds and more, in the language of automata.
//!
//! PCRE2 tries an expression at one byte after the other; with `a[^y]*zq` each of a run of `a` has it go through all
//! that follows, which costs the square of the subject's length. An automaton goes through it once, but knows neither
//! what looks around nor what refers back. So such parts are left out or stand for anything, and what remains is the
//! *outline*: wherever the expression is found, the outline is found too, at the same place or before it. It says
//! where it is worth to try the expression.
//!
//! What cannot be told apart from something else is read as the wider of both; what cannot be read at all has no
//! outline.

use super::Flags;

/// Anything, as often as it likes.
const ANYTHING: &str = "(?:(?s:.)*)";
/// Nothing; what counts an item may follow.
const NOTHING: &str = "(?:)";
/// An item repeated more often than this is one that goes through its subject.
const FEW: u32 = 64;
/// A group's outline up to this many bytes stands for what refers back to it.
const MAX_REFERRED: usize = 256;
/// What a repeated group that repeats something within counts as: it goes through its subject in many ways.
const NESTED: u32 = 3;

/// What an outline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To say where the expression may be found.
    Lead,
    /// The same with fewer states: what is counted may be there as often as it likes.
    Loosely,
    /// To say how far the expression is followed from some place, what looks around included.
    Reach,
}

/// What was read of an expression.
#[derive(Debug)]
pub struct Outline {
    /// The outline.
    pub text: String,
    /// In how many places the expression repeats something a number of times that is not fixed.
    pub repeats: u32,
    /// It repeats something often.
    pub often: bool,
    /// It begins where the expression does.
    pub exact: bool,
}

/// The outline of `expression`, which PCRE2 has compiled; `None` where it has none.
pub fn of(expression: &str, flags: Flags, purpose: Purpose) -> Option<Outline> {
    let switches = |pair: &[u8]| {
        pair.starts_with(b"(?") && b"imsxnJU^-|".contains(&pair[2]) && !pair[3].is_ascii_digit()
    };
    let mut reader = Reader {
        rest: expression.as_bytes(),
        out: String::with_capacity(expression.len() + 16),
        open: Vec::new(),
        groups: Vec::new(),
        names: Vec::new(),
        closed: None,
        switches: expression.as_bytes().windows(4).any(switches),
        flags,
        purpose,
        repeats: 0,
        often: false,
        exact: purpose == Purpose::Lead,
    };
    reader.read()?;
    Some(Outline {
        text: reader.out,
        repeats: reader.repeats,
        often: reader.often,
        exact: reader.exact,
    })
}

/// A group that is open.
struct Open {
    /// Where the outline stood before it.
    before: usize,
    /// It is left out.
    dropped: bool,
    /// It leads nowhere: what follows it begins where it does.
    aside: bool,
    /// Its number, where it captures.
    number: Option<usize>,
    /// What was repeated before it.
    repeats: u32,
}

struct Reader<'a> {
    rest: &'a [u8],
    out: String,
    open: Vec<Open>,
    /// The outlines of groups that capture, once they are closed, if they are short.
    groups: Vec<Option<String>>,
    names: Vec<(Vec<u8>, usize)>,
    /// The group that was closed just now: whether something is repeated in it.
    closed: Option<bool>,
    /// Flags change on the way, or groups share their numbers.
    switches: bool,
    flags: Flags,
    purpose: Purpose,
    repeats: u32,
    often: bool,
    exact: bool,
}

/// What stands in a class.
enum Item {
    Byte(u8),
    Set(&'static str),
    /// Something that is not known here.
    Any,
}

impl<'a> Reader<'a> {
    fn read(&mut self) -> Option<()> {
        while let Some(byte) = self.next() {
            let closed = self.closed.take();
            match byte {
                b'\\' => self.escape()?,
                b'[' => self.class()?,
                b'(' => self.group()?,
                b')' => self.close()?,
                b'|' | b'^' | b'.' => self.out.push(byte as char),
                b'$' => self.end_of_line(self.flags.multi_line),
                b'*' | b'+' | b'?' => {
                    self.repeat(closed, byte != b'?');
                    self.out.push(byte as char);
                    self.greed();
                }
                b'{' => self.counted(closed)?,
                b'#' if self.flags.extended => {
                    let line = memchr::memchr(b'\n', self.rest);
                    self.skip(line.map_or(self.rest.len(), |at| at + 1));
                    self.closed = closed;
                }
                b' ' | b'\t'..=b'\r' if self.flags.extended => self.closed = closed,
                other => self.literal(other),
            }
        }
        self.open.is_empty().then_some(())
    }

    fn close(&mut self) -> Option<()> {
        let group = self.open.pop()?;
        // A class without a byte leads nowhere.
        self.out
            .push_str(if group.aside { ")[^\\s\\S])" } else { ")" });
        if let Some(number) = group.number {
            let outline = &self.out[group.before..];
            if outline.len() <= MAX_REFERRED && !self.switches && !asserts(outline) {
                self.groups[number] = Some(outline.to_owned());
            }
        }
        if group.dropped {
            self.out.truncate(group.before);
            self.leave_out();
        }
        self.closed = Some(self.repeats > group.repeats);
        Some(())
    }

    /// Something that narrows is left out.
    fn leave_out(&mut self) {
        self.out.push_str(NOTHING);
        self.exact = false;
    }

    /// Something is repeated; `closed`: a group, with something repeated in it or not.
    fn repeat(&mut self, closed: Option<bool>, varies: bool) {
        if varies {
            self.repeats += if closed == Some(true) { NESTED } else { 1 };
        }
    }

    /// A `$` where lines count or not.
    fn end_of_line(&mut self, multi_line: bool) {
        let last = self.rest.iter().all(|byte| *byte == b')')
            || self.open.is_empty() && self.rest.first() == Some(&b'|');
        match (self.switches || self.purpose == Purpose::Reach, multi_line) {
            (false, true) => self.out.push_str("(?m:$)"),
            // The line feed that may be behind it is taken along: nothing follows that could take it.
            (false, false) if last => self.out.push_str("(?:\\n?\\z)"),
            _ => self.leave_out(),
        }
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn take(&mut self, sign: &[u8]) -> bool {
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes what stands before `end`, and `end`.
    fn until(&mut self, end: u8) -> Option<&'a [u8]> {
        let at = memchr::memchr(end, self.rest)?;
        let (taken, rest) = self.rest.split_at(at);
        self.rest = &rest[1..];
        Some(taken)
    }

    fn run(&mut self, most: usize, belongs: impl Fn(&u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().take(most).take_while(|it| belongs(it));
        let (taken, rest) = self.rest.split_at(length.count());
        self.rest = rest;
        taken
    }

    fn literal(&mut self, byte: u8) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => self.out.push(byte as char),
            _ => self.out.push_str(&format!("\\x{byte:02x}")),
        }
    }

    fn anything(&mut self) {
        self.out.push_str(ANYTHING);
        self.repeats += 1;
        self.exact = false;
    }

    /// What refers back to a group says the same again.
    fn refer(&mut self, number: Option<usize>) {
        let known = number.and_then(|number| self.groups.get(number)?.clone());
        match known {
            Some(outline) => {
                self.out.push_str(&outline);
                self.exact = false;
            }
            None => self.anything(),
        }
    }

    fn named_group(&self, name: &[u8]) -> Option<usize> {
        let mut named = self.names.iter().filter(|(known, _)| known == name);
        named
            .next()
            .filter(|_| named.next().is_none())
            .map(|(_, number)| *number)
    }

    /// What says whether a repetition gives back: only where it is lazy an automaton cares.
    fn greed(&mut self) {
        if self.take(b"?") {
            self.out.push('?');
        } else if self.take(b"+") {
            self.exact = false;
        }
    }

    /// What stands behind a `{`.
    fn counted(&mut self, closed: Option<bool>) -> Option<()> {
        let end = memchr::memchr(b'}', self.rest);
        let inner = end.map_or(&b""[..], |at| &self.rest[..at]);
        let counts = |it: &u8| it.is_ascii_digit() || b", \t".contains(it);
        if inner.is_empty() || !inner.iter().all(counts) {
            self.literal(b'{');
            return Some(());
        }
        let text = std::str::from_utf8(inner).ok()?;
        // Newer releases of PCRE2 count with blanks and without a least number, older ones take it as text.
        let (least, most) = match text.split_once(',') {
            None => (text, Some(text)),
            Some((least, "")) => (least, None),
            Some((least, most)) => (least, Some(most)),
        };
        let least: u32 = least.parse().ok()?;
        let most = match most {
            Some(most) => Some(most.parse::<u32>().ok()?),
            None => None,
        };
        let written = format!("{{{text}}}");
        self.skip(inner.len() + 1);
        self.repeat(closed, most != Some(least));
        self.often |= least > FEW;
        match (self.purpose, least) {
            (Purpose::Lead, _) => self.out.push_str(&written),
            (_, 0) => self.out.push('*'),
            _ => self.out.push('+'),
        }
        self.greed();
        Some(())
    }

    /// What stands behind a `\`, outside of a class.
    fn escape(&mut self) -> Option<()> {
        let byte = self.next()?;
        match byte {
            b'd' | b'D' | b'w' | b'W' | b's' | b'S' | b'A' | b'z' => {
                self.out.push('\\');
                self.out.push(byte as char);
            }
            // A brace behind it would be a part of it.
            b'b' => self.out.push_str("(?:\\b)"),
            b'B' => self.out.push_str("(?:\\B)"),
            b'Z' => self.end_of_line(false),
            b'K' => self.leave_out(),
            b'R' => {
                self.out.push_str("(?:\\r\\n|[\\n\\x0b\\x0c\\r\\x85])");
                self.exact = false;
            }
            b'N' if self.rest.first() != Some(&b'{') => self.out.push_str("[^\\n]"),
            b'C' => self.out.push_str("(?s:.)"),
            b'X' => {
                self.out.push_str("(?:(?s:.)+)");
                self.repeats += 1;
                self.exact = false;
            }
            b'h' | b'H' | b'v' | b'V' => self.out.push_str(blanks(byte)),
            b'p' | b'P' => {
                self.property()?;
                self.out.push_str("(?s:.)");
                self.exact = false;
            }
            b'Q' => {
                let end = memchr::memmem::find(self.rest, b"\\E");
                let (quoted, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                self.rest = rest.get(2..).unwrap_or_default();
                quoted.iter().for_each(|byte| self.literal(*byte));
            }
            b'E' => {}
            b'1'..=b'9' => {
                // The longest run of digits that may belong to it.
                let more = self.run(usize::MAX, u8::is_ascii_digit);
                let number = more.is_empty().then(|| usize::from(byte - b'0'));
                self.refer(number);
            }
            b'g' | b'k' => {
                let number = self.reference(byte)?;
                self.refer(number);
            }
            _ => {
                let byte = self.character(byte)?;
                self.literal(byte);
            }
        }
        Some(())
    }

    /// The byte that `\` and `byte` stand for; `None` for what is not known.
    fn character(&mut self, byte: u8) -> Option<u8> {
        let value = match byte {
            b'a' => 0x07u32,
            b'e' => 0x1b,
            b'f' => 0x0c,
            b'n' => b'\n'.into(),
            b'r' => b'\r'.into(),
            b't' => b'\t'.into(),
            b'c' => (self.next()?.to_ascii_uppercase() ^ 0x40).into(),
            b'0' => number(self.run(2, |it| (b'0'..=b'7').contains(it)), 8)?,
            b'x' if self.take(b"{") => number(self.until(b'}')?, 16)?,
            b'x' => number(self.run(2, u8::is_ascii_hexdigit), 16)?,
            byte if byte.is_ascii_alphanumeric() => return None,
            byte => byte.into(),
        };
        u8::try_from(value).ok()
    }

    /// What stands behind `\p`.
    fn property(&mut self) -> Option<()> {
        match self.next()? {
            b'{' => self.until(b'}').map(|_| ()),
            _ => Some(()),
        }
    }

    /// What stands behind `\g` or `\k`: the group's number, if it is known.
    fn reference(&mut self, letter: u8) -> Option<Option<usize>> {
        let opening = *self.rest.first()?;
        let closing = match opening {
            b'{' => b'}',
            b'<' => b'>',
            b'\'' => b'\'',
            _ => {
                let signed = !self.run(1, |it| b"+-".contains(it)).is_empty();
                let digits = number(self.run(usize::MAX, u8::is_ascii_digit), 10)?;
                return Some((!signed).then_some(digits as usize));
            }
        };
        self.skip(1);
        let name = self.until(closing)?;
        // `\g<…>` calls the group.
        if letter == b'g' && opening != b'{' {
            return Some(None);
        }
        let digits = name.iter().all(u8::is_ascii_digit);
        Some(match digits {
            true => number(name, 10).map(|it| it as usize),
            false => self.named_group(name),
        })
    }

    /// What stands behind a `(`.
    fn group(&mut self) -> Option<()> {
        if self.take(b"*") {
            return self.verb();
        }
        if !self.take(b"?") {
            return self.capture(None);
        }
        for around in [&b"="[..], b"!", b"*", b"<=", b"<!", b"<*"] {
            if self.take(around) {
                return self.look_around(around[0] == b'<');
            }
        }
        match self.next()? {
            b'#' => self.until(b')').map(|_| ()),
            b':' | b'|' => self.enter("(?:", false),
            b'>' => {
                self.exact = false;
                self.enter("(?:", false)
            }
            b'<' => self.named(b'>'),
            b'\'' => self.named(b'\''),
            b'P' if self.take(b"<") => self.named(b'>'),
            b'P' if self.take(b"=") => {
                let name = self.until(b')')?;
                let number = self.named_group(name);
                self.refer(number);
                Some(())
            }
            // Calls of groups say what they say.
            b'&' => self.call_by_name(),
            b'P' if self.take(b">") => self.call_by_name(),
            digit @ b'1'..=b'9' => {
                let more = self.until(b')')?;
                let group = number(&[&[digit], more].concat(), 10)?;
                self.refer(Some(group as usize));
                Some(())
            }
            b'R' | b'0' | b'+' => self.call(),
            b'-' if self.rest.first().is_some_and(u8::is_ascii_digit) => self.call(),
            b'(' => self.conditional(),
            flag => self.flags(flag),
        }
    }

    fn enter(&mut self, sign: &str, dropped: bool) -> Option<()> {
        self.open.push(Open {
            before: self.out.len(),
            dropped,
            aside: false,
            number: None,
            repeats: self.repeats,
        });
        self.out.push_str(sign);
        Some(())
    }

    /// What looks around is left out; where it looks ahead, the expression is followed there.
    fn look_around(&mut self, behind: bool) -> Option<()> {
        self.exact = false;
        let aside = self.purpose == Purpose::Reach && !behind;
        self.enter(if aside { "(?:|(?:" } else { "(?:" }, !aside)?;
        if let Some(group) = self.open.last_mut() {
            group.aside = aside;
        }
        Some(())
    }

    fn capture(&mut self, name: Option<Vec<u8>>) -> Option<()> {
        // Group 0 is the whole.
        let number = self.groups.len().max(1);
        self.groups.resize(number + 1, None);
        self.names.extend(name.map(|name| (name, number)));
        self.enter("(?:", false)?;
        if let Some(group) = self.open.last_mut() {
            group.number = Some(number);
        }
        Some(())
    }

    fn named(&mut self, end: u8) -> Option<()> {
        let name = self.until(end)?.to_vec();
        self.capture(Some(name))
    }

    fn call_by_name(&mut self) -> Option<()> {
        let name = self.until(b')')?;
        let number = self.named_group(name);
        self.refer(number);
        Some(())
    }

    fn call(&mut self) -> Option<()> {
        self.until(b')')?;
        self.anything();
        Some(())
    }

    /// `(?(…)yes|no)`: either, or nothing where there is no second one.
    fn conditional(&mut self) -> Option<()> {
        self.exact = false;
        // The condition may look around: then it is a group by itself, and left out as such.
        let looks = self.rest.first() == Some(&b'?');
        let condition = match looks {
            true => &b""[..],
            false => self.until(b')')?,
        };
        let defines = condition == b"DEFINE";
        self.enter(if defines { "(?:" } else { "(?:|" }, defines)?;
        match looks {
            true => self.group(),
            false => Some(()),
        }
    }

    /// `(?i)` and `(?i:`.
    fn flags(&mut self, first: u8) -> Option<()> {
        let mut written = String::from("(?");
        let mut flag = first;
        loop {
            match flag {
                b'i' | b'm' | b's' | b'U' | b'-' => written.push(flag as char),
                b':' => {
                    written.push(':');
                    return self.enter(&written, false);
                }
                b')' => {
                    written.push(')');
                    self.out.push_str(&written);
                    return Some(());
                }
                _ => return None,
            }
            flag = self.next()?;
        }
    }

    /// `(*…)`: those that only cut a match short are left out. One that says where the search goes on has no outline.
    fn verb(&mut self) -> Option<()> {
        const CUTTING: [&[u8]; 5] = [b"F", b"FAIL", b"PRUNE", b"THEN", b"MARK"];
        let verb = self.until(b')')?;
        let name = verb.split(|byte| *byte == b':').next()?;
        let known = name.is_empty() || CUTTING.contains(&name);
        self.leave_out();
        known.then_some(())
    }

    /// What stands behind a `[`.
    fn class(&mut self) -> Option<()> {
        let before = self.out.len();
        self.out.push('[');
        if self.take(b"^") {
            self.out.push('^');
        }
        let mut unknown = false;
        let mut first = true;
        loop {
            let byte = self.next()?;
            if byte == b']' && !first {
                break;
            }
            first = false;
            match self.item(byte)? {
                Item::Byte(low) => self.range(low)?,
                Item::Set(set) => self.set(set)?,
                Item::Any => unknown = true,
            }
        }
        self.out.push(']');
        if unknown {
            self.out.truncate(before);
            self.out.push_str("(?s:.)");
            self.exact = false;
        }
        Some(())
    }

    /// A byte of a class, or all from it to another one.
    fn range(&mut self, low: u8) -> Option<()> {
        self.out.push_str(&format!("\\x{low:02x}"));
        let ranges = matches!(self.rest, [b'-', next, ..] if *next != b']');
        if !ranges {
            return Some(());
        }
        self.skip(1);
        let next = self.next()?;
        match self.item(next)? {
            Item::Byte(high) => self.out.push_str(&format!("-\\x{high:02x}")),
            Item::Set(set) => {
                self.out.push_str("\\x2d");
                self.set(set)?;
            }
            Item::Any => return None,
        }
        Some(())
    }

    /// Appends a set to a class. A `-` behind it stands for itself; what comes of one behind that is not known.
    fn set(&mut self, set: &str) -> Option<()> {
        self.out.push_str(set);
        (!self.rest.starts_with(b"--")).then_some(())
    }

    /// What begins with `byte` in a class.
    fn item(&mut self, byte: u8) -> Option<Item> {
        if byte == b'[' && b":.=".iter().any(|sign| self.rest.first() == Some(sign)) {
            return self.posix();
        }
        if byte != b'\\' {
            return Some(Item::Byte(byte));
        }
        let escaped = self.next()?;
        Some(match escaped {
            b'd' => Item::Set("\\d"),
            b'D' => Item::Set("\\D"),
            b'w' => Item::Set("\\w"),
            b'W' => Item::Set("\\W"),
            b's' => Item::Set("\\s"),
            b'S' => Item::Set("\\S"),
            b'h' | b'H' | b'v' | b'V' => Item::Set(blanks(escaped)),
            b'b' => Item::Byte(0x08),
            b'p' | b'P' => {
                self.property()?;
                Item::Any
            }
            b'1'..=b'7' => {
                let more = self.run(2, |it| (b'0'..=b'7').contains(it));
                let digits = [&[escaped], more].concat();
                Item::Byte(u8::try_from(number(&digits, 8)?).ok()?)
            }
            _ => Item::Byte(self.character(escaped)?),
        })
    }

    /// What stands behind a `[` in a class, if it is a class by name.
    fn posix(&mut self) -> Option<Item> {
        const NAMES: [&str; 28] = [
            "[:alnum:]",
            "[:^alnum:]",
            "[:alpha:]",
            "[:^alpha:]",
            "[:ascii:]",
            "[:^ascii:]",
            "[:blank:]",
            "[:^blank:]",
            "[:cntrl:]",
            "[:^cntrl:]",
            "[:digit:]",
            "[:^digit:]",
            "[:graph:]",
            "[:^graph:]",
            "[:lower:]",
            "[:^lower:]",
            "[:print:]",
            "[:^print:]",
            "[:punct:]",
            "[:^punct:]",
            "[:space:]",
            "[:^space:]",
            "[:upper:]",
            "[:^upper:]",
            "[:word:]",
            "[:^word:]",
            "[:xdigit:]",
            "[:^xdigit:]",
        ];
        let known = NAMES
            .iter()
            .find(|name| self.rest.starts_with(&name.as_bytes()[1..]));
        if let Some(name) = known {
            self.skip(name.len() - 1);
            return Some(Item::Set(name));
        }
        // Whether it is a bracket or an odd class depends on what follows.
        let named = self.rest.first() == Some(&b':');
        (named && memchr::memmem::find(self.rest, b":]").is_none()).then_some(Item::Byte(b'['))
    }
}

/// Whether an outline asks what is beside it. May err on yes.
fn asserts(outline: &str) -> bool {
    const SIGNS: [&str; 5] = ["$", "\\b", "\\B", "\\A", "\\z"];
    let caret = |(at, _): (usize, &str)| !outline[..at].ends_with('[');
    SIGNS.iter().any(|sign| outline.contains(sign)) || outline.match_indices('^').any(caret)
}

/// What `\h`, `\v` and their opposites stand for, in a class or alone.
fn blanks(escaped: u8) -> &'static str {
    match escaped {
        b'h' => "[\\t\\x20\\xa0]",
        b'H' => "[^\\t\\x20\\xa0]",
        b'v' => "[\\n\\x0b\\x0c\\r\\x85]",
        _ => "[^\\n\\x0b\\x0c\\r\\x85]",
    }
}

/// The number in `digits`; none are 0.
fn number(digits: &[u8], base: u32) -> Option<u32> {
    digits.iter().try_fold(0u32, |value, digit| {
        let digit = (*digit as char).to_digit(base)?;
        value.checked_mul(base)?.checked_add(digit)
    })
}
