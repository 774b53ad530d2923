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

/// What was read of an expression.
#[derive(Debug)]
pub struct Outline {
    /// The outline.
    pub text: String,
    /// The expression repeats something as often as it likes, or often.
    pub repeats: bool,
}

/// The outline of `expression`, which PCRE2 has compiled; `None` where it has none.
///
/// With `loose` an item that is counted stands there as often as it likes, which makes for few states.
pub fn of(expression: &str, flags: Flags, loose: bool) -> Option<Outline> {
    let mut reader = Reader {
        rest: expression.as_bytes(),
        out: String::with_capacity(expression.len() + 16),
        open: Vec::new(),
        repeats: false,
        extended: flags.extended,
        loose,
    };
    reader.read()?;
    Some(Outline {
        text: reader.out,
        repeats: reader.repeats,
    })
}

struct Reader<'a> {
    rest: &'a [u8],
    out: String,
    /// For each group that is open, where the outline ended before it if it is left out.
    open: Vec<Option<usize>>,
    repeats: bool,
    extended: bool,
    loose: bool,
}

/// What stands in a class.
enum Item {
    Byte(u8),
    Set(&'static str),
    /// Something that is not known here.
    Any,
}

impl Reader<'_> {
    fn read(&mut self) -> Option<()> {
        while let Some(byte) = self.next() {
            match byte {
                b'\\' => self.escape()?,
                b'[' => self.class()?,
                b'(' => self.group()?,
                b')' => {
                    let kept = self.open.pop()?;
                    match kept {
                        None => self.out.push(')'),
                        Some(before) => {
                            self.out.truncate(before);
                            self.out.push_str(NOTHING);
                        }
                    }
                }
                b'|' | b'^' | b'.' => self.out.push(byte as char),
                b'$' => self.out.push_str(NOTHING),
                b'*' | b'+' | b'?' => {
                    self.repeats |= byte != b'?';
                    self.out.push(byte as char);
                    self.greed();
                }
                b'{' => self.counted()?,
                b'#' if self.extended => {
                    let line = memchr::memchr(b'\n', self.rest);
                    self.skip(line.map_or(self.rest.len(), |at| at + 1));
                }
                b' ' | b'\t'..=b'\r' if self.extended => {}
                other => self.literal(other),
            }
        }
        self.open.is_empty().then_some(())
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
    fn until(&mut self, end: u8) -> Option<&[u8]> {
        let at = memchr::memchr(end, self.rest)?;
        let (taken, rest) = self.rest.split_at(at);
        self.rest = &rest[1..];
        Some(taken)
    }

    fn run(&mut self, most: usize, belongs: impl Fn(&u8) -> bool) -> &[u8] {
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
        self.repeats = true;
    }

    /// What says whether a repetition gives back: only where it is lazy an automaton cares.
    fn greed(&mut self) {
        if self.take(b"?") {
            self.out.push('?');
        } else {
            self.take(b"+");
        }
    }

    /// What stands behind a `{`.
    fn counted(&mut self) -> Option<()> {
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
        self.repeats |= most.is_none_or(|most| most > FEW);
        match (self.loose, least) {
            (false, _) => self.out.push_str(&written),
            (true, 0) => self.out.push('*'),
            (true, _) => self.out.push('+'),
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
            b'Z' | b'K' => self.out.push_str(NOTHING),
            b'R' => self.out.push_str("(?:\\r\\n|[\\n\\x0b\\x0c\\r\\x85])"),
            b'N' if self.rest.first() != Some(&b'{') => self.out.push_str("[^\\n]"),
            b'C' => self.out.push_str("(?s:.)"),
            b'X' => self.out.push_str("(?:(?s:.)+)"),
            b'h' | b'H' | b'v' | b'V' => self.out.push_str(blanks(byte)),
            b'p' | b'P' => {
                self.property()?;
                self.out.push_str("(?s:.)");
            }
            b'Q' => {
                let end = memchr::memmem::find(self.rest, b"\\E");
                let (quoted, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                self.rest = rest.get(2..).unwrap_or_default();
                quoted.iter().for_each(|byte| self.literal(*byte));
            }
            b'E' => {}
            // The longest run of digits that may belong to it.
            b'1'..=b'9' => {
                self.run(usize::MAX, u8::is_ascii_digit);
                self.anything();
            }
            b'g' | b'k' => {
                self.reference()?;
                self.anything();
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

    /// What stands behind `\g` or `\k`.
    fn reference(&mut self) -> Option<()> {
        let closing = match self.rest.first()? {
            b'{' => b'}',
            b'<' => b'>',
            b'\'' => b'\'',
            _ => {
                self.run(1, |it| b"+-".contains(it));
                self.run(usize::MAX, u8::is_ascii_digit);
                return Some(());
            }
        };
        self.skip(1);
        self.until(closing).map(|_| ())
    }

    /// What stands behind a `(`.
    fn group(&mut self) -> Option<()> {
        if self.take(b"*") {
            return self.verb();
        }
        if !self.take(b"?") {
            return self.enter("(?:");
        }
        for around in [&b"="[..], b"!", b"<=", b"<!"] {
            if self.take(around) {
                self.open.push(Some(self.out.len()));
                return Some(());
            }
        }
        match self.next()? {
            b'#' => self.until(b')').map(|_| ()),
            b':' | b'|' | b'>' => self.enter("(?:"),
            b'<' => self.named(b'>'),
            b'\'' => self.named(b'\''),
            b'P' if self.take(b"<") => self.named(b'>'),
            // A reference, and calls of groups by name and number.
            b'P' | b'&' | b'R' | b'0'..=b'9' | b'+' => self.call(),
            b'-' if self.rest.first().is_some_and(u8::is_ascii_digit) => self.call(),
            b'(' => self.conditional(),
            flag => self.flags(flag),
        }
    }

    fn enter(&mut self, sign: &str) -> Option<()> {
        self.out.push_str(sign);
        self.open.push(None);
        Some(())
    }

    fn named(&mut self, end: u8) -> Option<()> {
        self.until(end)?;
        self.enter("(?:")
    }

    fn call(&mut self) -> Option<()> {
        self.until(b')')?;
        self.anything();
        Some(())
    }

    /// `(?(…)yes|no)`: either, or nothing where there is no second one.
    fn conditional(&mut self) -> Option<()> {
        if self.rest.first() == Some(&b'?') {
            // The condition looks around: it is a group by itself, and left out as such.
            self.enter("(?:|")?;
            return self.group();
        }
        self.until(b')')?;
        self.enter("(?:|")
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
                    return self.enter(&written);
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
        self.out.push_str(NOTHING);
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
