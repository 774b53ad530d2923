//! `pcre`: regular expressions, through PCRE2 with bounded work.
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use memchr::memmem;

use super::expression::{Expression, Flags};
use super::lexer::printable;
use super::shared::Shared;
use super::Reason;

/// How much backtracking one match may do; past it there is no match. Suricata's default.
const MATCH_LIMIT: u32 = 3_500;
/// The same for an expression that asks for more (flag `O`).
const MATCH_LIMIT_RAISED: u32 = 350_000;
/// Longest expression, in bytes.
const MAX_EXPRESSION: usize = 8_192;

/// One `pcre`.
#[derive(Clone)]
pub struct Pcre {
    /// The compiled expression.
    pub expression: Arc<Expression>,
    /// It must not match.
    pub negated: bool,
    /// The subject begins at the last match's end (flag `R`).
    pub relative: bool,
    /// Its outcome may change when bytes follow.
    pub sees_end: bool,
    /// Where it is not found, it is not found in what is left when the front is cut off.
    pub slides: bool,
    /// The groups whose captures are kept, and as what.
    pub captures: Vec<(usize, Variable)>,
}

/// Where a capture is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// For how long.
    pub life: Life,
    /// Hash of its name.
    pub name: u64,
}

/// How long a capture is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// As long as the flow.
    Flow,
    /// As long as the packet.
    Packet,
}

impl fmt::Debug for Pcre {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negated { "!" } else { "" };
        write!(
            f,
            "{sign}/{}/{}",
            self.expression.as_str(),
            if self.relative { "R" } else { "" }
        )
    }
}

/// A `pcre` and the buffer its flags name.
pub struct Parsed {
    /// The expression.
    pub pcre: Pcre,
    /// `U`, `I`, `P`, `H`, … where given.
    pub buffer_flag: Option<u8>,
    /// What its captures are called.
    pub names: Vec<(u64, String)>,
}

/// Reads `/expression/flags`, with `!` before it or not, in quotes. What is in `shared` is not compiled again.
///
/// Errors: no expression, an unknown or unsupported flag, or PCRE2's own word on the expression.
pub fn parse(value: &[u8], shared: &Shared) -> Result<Parsed, Reason> {
    let bad = |why: &str| Reason::bad_value("pcre", why);
    let (negated, value) = match value.strip_prefix(b"!") {
        Some(rest) => (true, rest.trim_ascii()),
        None => (false, value),
    };
    let value =
        super::lexer::unquote(value, false).ok_or_else(|| bad(super::lexer::unpaired(value)))?;
    let value = value.trim_ascii();
    // Perl's `m` may stand before it.
    let inner = value
        .strip_prefix(b"m/")
        .or_else(|| value.strip_prefix(b"/"))
        .ok_or_else(|| bad("not of the form /expression/flags"))?;
    let end = inner
        .iter()
        .rposition(|byte| *byte == b'/')
        .ok_or_else(|| bad("not of the form /expression/flags"))?;
    let (expression, flags) = (&inner[..end], &inner[end + 1..]);
    let (flags, listed) = match flags.iter().position(|byte| *byte == b',') {
        Some(comma) => (&flags[..comma], Some(&flags[comma + 1..])),
        None => (flags, None),
    };
    let mut parsed = compile(expression, flags, negated, shared)?;
    for (group, variable, name) in captures(&parsed.pcre.expression, listed)? {
        parsed.pcre.captures.push((group, variable));
        parsed.names.push((variable.name, name));
    }
    Ok(parsed)
}

/// A group that is kept, as what, and what that is called.
type Capture = (usize, Variable, String);

/// The captures that are kept: groups named `flow_x` or `pkt_x`, and those that `flow:x, pkt:y` names in order.
///
/// Errors: the list cannot be read.
fn captures(expression: &Expression, listed: Option<&[u8]>) -> Result<Vec<Capture>, Reason> {
    let groups = expression.group_names();
    let named = groups.iter().enumerate().filter_map(|(group, name)| {
        let (life, name) = name.as_deref()?.split_once('_')?;
        Some((group, variable(life, name)?, name.to_owned()))
    });
    let mut kept: Vec<_> = named.collect();
    let Some(listed) = listed else {
        return Ok(kept);
    };
    let bad = |why: &str| Reason::bad_value("pcre", why);
    let listed = std::str::from_utf8(listed).map_err(|_| bad("capture names are not text"))?;
    for (group, entry) in (1..).zip(listed.split(',')) {
        let (life, name) = entry
            .split_once(':')
            .ok_or_else(|| bad("a capture is neither flow:name nor pkt:name"))?;
        let variable = variable(life.trim(), name.trim())
            .ok_or_else(|| bad("a capture is neither flow:name nor pkt:name"))?;
        // A name without a group is never filled.
        if group < groups.len() {
            kept.push((group, variable, name.trim().to_owned()));
        }
    }
    Ok(kept)
}

fn variable(life: &str, name: &str) -> Option<Variable> {
    let life = match life {
        "flow" => Life::Flow,
        "pkt" => Life::Packet,
        _ => return None,
    };
    let name = super::number::name_hash(name);
    Some(Variable { life, name })
}

fn compile(
    expression: &[u8],
    flags: &[u8],
    negated: bool,
    shared: &Shared,
) -> Result<Parsed, Reason> {
    let end_only = flags.contains(&b'E') && !flags.contains(&b'm');
    let expression = &match end_only {
        true => Cow::Owned(ending_at_the_end(expression)),
        false => Cow::Borrowed(expression),
    }[..];
    let mut how = Flags {
        // Compiled to machine code PCRE2 does not count the steps of a repetition that looks ahead.
        interpreted: roams(expression, flags.contains(&b'x')),
        match_limit: MATCH_LIMIT,
        ..Flags::default()
    };
    let mut relative = false;
    let mut buffer_flag = None;
    for flag in flags {
        match flag {
            b'i' => how.caseless = true,
            b's' => how.dotall = true,
            b'm' => how.multi_line = true,
            b'x' => how.extended = true,
            b'A' => how.anchored = true,
            b'G' => how.ungreedy = true,
            b'R' => relative = true,
            b'O' => how.match_limit = MATCH_LIMIT_RAISED,
            b'B' => {}
            b'U' | b'I' | b'P' | b'H' | b'D' | b'M' | b'C' | b'S' | b'Y' | b'V' | b'W' | b'Z'
            | b'Q' => {
                if buffer_flag.replace(*flag).is_some() {
                    return Err(Reason::Conflict("pcre: flags name two buffers".into()));
                }
            }
            // Where `$` is at the end of each line it says nothing.
            b'E' => {}
            other => {
                return Err(Reason::bad_value(
                    "pcre",
                    format!("unknown flag '{}'", printable(&[*other])),
                ))
            }
        }
    }
    let sought = match how.anchored || how.ungreedy {
        true => Cow::Borrowed(expression),
        false => from_its_last_byte(expression),
    };
    let compiled = shared.expression((as_text("pcre", &sought)?, how), |text| {
        build("pcre", text, how, expression)
    })?;
    let pcre = Pcre {
        expression: compiled,
        negated,
        relative,
        sees_end: sees_end(expression),
        slides: !how.anchored && !sees_start(expression),
        captures: Vec::new(),
    };
    Ok(Parsed {
        pcre,
        buffer_flag,
        names: Vec::new(),
    })
}

/// An expression without flags.
///
/// Errors: PCRE2's own word on it.
pub fn compile_plain(keyword: &str, expression: &[u8]) -> Result<Expression, Reason> {
    let flags = Flags {
        interpreted: roams(expression, false),
        match_limit: MATCH_LIMIT,
        ..Flags::default()
    };
    build(keyword, &as_text(keyword, expression)?, flags, expression)
}

/// Errors: PCRE2's own word on `expression`, which `text` was made of: its offsets are to be the author's.
fn build(keyword: &str, text: &str, flags: Flags, expression: &[u8]) -> Result<Expression, Reason> {
    Expression::new(text, flags).map_err(|error| {
        let written = as_text(keyword, expression).ok();
        let own = written.and_then(|written| Expression::new(&written, flags).err());
        Reason::bad_value(keyword, own.unwrap_or(error).to_string())
    })
}

/// The expression with escapes for bytes that are not ASCII, since they stand for themselves.
///
/// Errors: it is too long.
fn as_text(keyword: &str, expression: &[u8]) -> Result<String, Reason> {
    if expression.len() > MAX_EXPRESSION {
        return Err(Reason::bad_value(keyword, "expression is too long"));
    }
    let mut text = String::with_capacity(expression.len());
    for byte in expression {
        match byte {
            0x80.. => text.push_str(&format!("\\x{byte:02x}")),
            _ => text.push(*byte as char),
        }
    }
    Ok(text)
}

/// The expression without the run of anything that it begins with but for the byte that must be there.
///
/// `.+?x` is found where `.x` is, at the same first `x`; but PCRE2 walks to the end of the line from each byte of it.
fn from_its_last_byte(expression: &[u8]) -> Cow<'_, [u8]> {
    // What counts a run is an error that PCRE2 is to see.
    let counts = |rest: &[u8]| matches!(rest.first(), Some(b'+' | b'*' | b'?' | b'{'));
    match expression {
        [b'.', b'+' | b'*', b'?', rest @ ..] if counts(rest) => Cow::Borrowed(expression),
        [b'.', b'+', b'?', rest @ ..] => Cow::Owned([b".", rest].concat()),
        [b'.', b'*', b'?', rest @ ..] => Cow::Borrowed(rest),
        _ => Cow::Borrowed(expression),
    }
}

/// Whether what the expression finds may depend on where its subject begins. May err on yes.
fn sees_start(expression: &[u8]) -> bool {
    const SIGNS: [&[u8]; 8] = [
        b"\\A",
        b"\\G",
        b"\\b",
        b"\\B",
        b"\\K",
        b"(?<",
        b"lb:",
        b"lookbehind:",
    ];
    let begins = |at: usize| at.checked_sub(1).map(|before| expression[before]) != Some(b'[');
    let mut carets = memchr::memchr_iter(b'^', expression);
    carets.any(begins) || has_any(expression, &SIGNS)
}

/// Whether the expression looks around for something that it repeats without a bound. May err on yes, as it does where
/// parentheses may stand in what is no pattern: quoted, or a comment of an extended expression.
fn roams(expression: &[u8], extended: bool) -> bool {
    const AROUND: [&[u8]; 4] = [b"(?=", b"(?!", b"(?<=", b"(?<!"];
    const REPEATS: [&[u8]; 3] = [b"*", b"+", b",}"];
    const HIDING: [&[u8]; 2] = [b"\\Q", b"(?x"];
    if branches(expression) {
        return true;
    }
    let hides = extended || has_any(expression, &HIDING);
    // How many groups are open, and how many were where the outermost one began that looks around.
    let (mut open, mut around) = (0usize, None);
    let mut at = 0;
    while let Some(rest) = expression.get(at..).filter(|rest| !rest.is_empty()) {
        if around.is_some() && REPEATS.iter().any(|sign| rest.starts_with(sign)) {
            return true;
        }
        at += match rest[0] {
            b'\\' => 2,
            b'[' => class_bytes(rest),
            _ => 1,
        };
        match rest[0] {
            b'(' => {
                let looks = AROUND.iter().any(|sign| rest.starts_with(sign));
                around = around.or(looks.then_some(open));
                open += 1;
            }
            b')' => {
                open = open.saturating_sub(1);
                around = around.filter(|outside| hides || open > *outside);
            }
            _ => {}
        }
    }
    false
}

/// Whether the expression has conditional groups or calls one of its own: their steps are not counted either.
fn branches(expression: &[u8]) -> bool {
    const SIGNS: [&[u8]; 6] = [b"(?(", b"(?R", b"(?&", b"(?P>", b"\\g<", b"\\g'"];
    let calls = |window: &[u8]| {
        let number = window[2..].iter().find(|byte| !b"+-".contains(byte));
        window.starts_with(b"(?") && number.is_some_and(u8::is_ascii_digit)
    };
    has_any(expression, &SIGNS) || expression.windows(4).any(calls)
}

/// The expression with `\z` for each `$`: there alone, not before a line feed at the end, is what flag `E` says.
fn ending_at_the_end(expression: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(expression.len() + 8);
    let mut rest = expression;
    while let Some(first) = rest.first() {
        let taken = match first {
            b'\\' if rest.starts_with(b"\\Q") => {
                memmem::find(rest, b"\\E").map_or(rest.len(), |at| at + 2)
            }
            b'\\' => 2.min(rest.len()),
            b'[' => class_bytes(rest),
            _ => 1,
        };
        let (piece, behind) = rest.split_at(taken);
        out.extend_from_slice(if piece == b"$" { b"\\z" } else { piece });
        rest = behind;
    }
    out
}

/// How long the class of characters is that begins the expression; a `]` right behind its beginning is one of them.
fn class_bytes(expression: &[u8]) -> usize {
    let begin = 1 + usize::from(expression.get(1) == Some(&b'^'));
    let mut at = begin;
    while let Some(byte) = expression.get(at) {
        match byte {
            b']' if at > begin => return at + 1,
            b'\\' => at += 2,
            // `[:alpha:]` within it
            b'[' => at += posix_class_bytes(&expression[at..]).unwrap_or(1),
            _ => at += 1,
        }
    }
    expression.len()
}

/// How long a class by name, such as `[:alpha:]` or `[:^digit:]`, is that begins the text.
fn posix_class_bytes(text: &[u8]) -> Option<usize> {
    let inner = text.strip_prefix(b"[:")?;
    let end = memmem::find(inner, b":]")?;
    let name = inner[..end].strip_prefix(b"^").unwrap_or(&inner[..end]);
    let named = !name.is_empty() && name.iter().all(u8::is_ascii_alphabetic);
    named.then_some(end + 4)
}

fn has_any(expression: &[u8], signs: &[&[u8]]) -> bool {
    signs
        .iter()
        .any(|sign| expression.windows(sign.len()).any(|window| window == *sign))
}

/// Whether the expression can match at the end of a subject and not with more behind it. May err on yes.
fn sees_end(expression: &[u8]) -> bool {
    const SIGNS: [&[u8]; 8] = [
        b"$", b"\\z", b"\\Z", b"\\b", b"\\B", b"(?!", b"(?<!", b"\\G",
    ];
    has_any(expression, &SIGNS)
}

#[cfg(test)]
mod tests {
    use super::super::expression::{Exceeded, Match, Room};
    use super::*;

    fn parse(value: &[u8]) -> Result<Parsed, Reason> {
        super::parse(value, &Shared::default())
    }

    fn find(pcre: &Pcre, subject: &[u8]) -> Result<Option<Match>, Exceeded> {
        pcre.expression
            .find_at(subject, 0, &mut Room::default())
            .found
    }

    fn matches(rule: &str, subject: &[u8]) -> bool {
        let pcre = parse(rule.as_bytes()).unwrap().pcre;
        find(&pcre, subject).unwrap().is_some()
    }

    #[test]
    fn honours_its_flags() {
        assert!(matches(r#""/AbC/i""#, b"xaBc"));
        assert!(!matches(r#""/AbC/""#, b"xaBc"));
        assert!(matches(r#""/a.c/s""#, b"a\nc"));
        assert!(!matches(r#""/a.c/""#, b"a\nc"));
        assert!(matches(r#""/^b/m""#, b"a\nb"));
        assert!(!matches(r#""/b/A""#, b"ab"));
        assert!(matches(r#""/a b/x""#, b"ab"));
        assert!(matches(r#""/\xff/""#, b"\xff"));
        assert!(parse(b"!\"/a/\"").unwrap().pcre.negated);
        assert!(matches(r#""/a$/""#, b"a\n"));
        assert!(!matches(r#""/a$/E""#, b"a\n"));
        assert!(matches(r#""/[[:alpha:]$][$]\$\Q$\E$/E""#, b"$$$$"));
        assert!(matches(r#""/a$/Em""#, b"a\nb"));
    }

    #[test]
    fn what_is_not_counted_as_machine_code_is_interpreted() {
        for (expression, interpreted) in [
            (r#""/a(?(1)b|[^y]*zq)()/""#, true),
            (r#""/[[:](?=.*a)[:]/""#, true),
            (r#""/[[:alpha:](?=.*a)]/""#, false),
            (r#""/a(?:(?1)|x)|([^y]*zqa)/""#, true),
            (r#""/a(?R)?b/""#, true),
            (r#""/(a)(?-1)/""#, true),
            (r#""/(?-i)a(?:b)?(?i:c)[^y]*zq/""#, false),
        ] {
            assert_eq!(
                parse(expression.as_bytes())
                    .unwrap()
                    .pcre
                    .expression
                    .flags
                    .interpreted,
                interpreted,
                "{expression}"
            );
        }
        assert_eq!(parse(b"\"/a/Ui\"").unwrap().buffer_flag, Some(b'U'));
    }

    #[test]
    fn a_search_that_looks_ahead_from_each_byte_is_given_up() {
        let roams = |rule: &str| {
            let pcre = parse(rule.as_bytes()).unwrap().pcre;
            pcre.expression.flags.interpreted
        };
        let roaming = r#""/a(?=.*zq)/""#;
        assert!(roams(roaming));
        let pcre = parse(roaming.as_bytes()).unwrap().pcre;
        assert_eq!(find(&pcre, &[b'a'; 100_000]), Err(Exceeded));
        assert!(matches(r#""/a(?=.*zq)/""#, b"aaaa zq"));
        for hidden in [
            r#""/a(?=[)].*zq)/""#,
            r#""/a(?=\).*zq)/""#,
            r#""/a(?=(?:b)c.*zq)/""#,
            r#""/a(?=\Q)\E.*zq)/""#,
            "\"/a(?=#)\n.*zq)/x\"",
            r#""/a(?=[^])].*zq)/""#,
        ] {
            assert!(roams(hidden), "{hidden}");
        }
        for bounded in [r#""/a(?=zq)/""#, r#""/a.*zq/""#, r#""/(?:(?!\n\()a)+b/""#] {
            assert!(!roams(bounded), "{bounded}");
        }
    }

    #[test]
    fn equal_expressions_are_compiled_once_and_flags_tell_them_apart() {
        let shared = Shared::default();
        let expression = |rule: &str| {
            let parsed = super::parse(rule.as_bytes(), &shared).unwrap();
            parsed.pcre.expression
        };
        let first = expression(r#""/ab/is""#);
        assert!(Arc::ptr_eq(&first, &expression(r#"!"/ab/Rsi""#)));
        for other in [r#""/ab/i""#, r#""/ab/siA""#, r#""/ab/siO""#, r#""/abc/si""#] {
            assert!(!Arc::ptr_eq(&first, &expression(other)), "{other}");
        }
    }

    #[test]
    fn a_lazy_run_in_front_is_found_where_its_last_byte_is() {
        for (expression, subject) in [
            (".+?ab", "ab ab\nab"),
            (".+?ab", "\nab"),
            (".*?ab", "x\nab"),
            (".+?(?:ab|c)", "c\n\nxab"),
            (".+?a|b", "b"),
            (".+?a", "aa"),
        ] {
            let whole = pcre2::bytes::Regex::new(expression).unwrap();
            let trimmed = parse(format!("\"/{expression}/\"").as_bytes()).unwrap();
            let found = find(&trimmed.pcre, subject.as_bytes()).unwrap();
            let whole = whole.find(subject.as_bytes()).unwrap();
            assert_eq!(
                found.map(|it| it.end),
                whole.map(|it| it.end()),
                "{expression} in {subject:?}"
            );
        }
    }

    #[test]
    fn what_counts_a_lazy_run_is_refused_as_before() {
        for expression in [".+?{2}a", ".*?{2}a", ".*?+a", ".+?*a"] {
            assert!(
                pcre2::bytes::Regex::new(expression).is_err(),
                "{expression}"
            );
            assert!(
                parse(format!("\"/{expression}/\"").as_bytes()).is_err(),
                "{expression}"
            );
        }
    }

    #[test]
    fn a_lazy_run_in_front_does_not_cost_the_square_of_a_line() {
        let subject = vec![b'a'; 64 << 10];
        let parsed = parse(br#""/.+?(?:on|s)\d/s""#).unwrap();
        assert_eq!(find(&parsed.pcre, &subject), Ok(None));
    }

    #[test]
    fn tells_whether_it_sees_where_its_subject_begins() {
        let slides = |expression: &str| {
            let parsed = parse(format!("\"/{expression}/R\"").as_bytes());
            parsed.unwrap().pcre.slides
        };
        assert!(slides("a[^b]+c"));
        for expression in [
            "^a",
            r"\Aa",
            r"\ba",
            "(?<=a)b",
            "(?:x|^a)",
            r"a\Kb",
            "(*nlb:x)a",
            "(*negative_lookbehind:x)a",
        ] {
            assert!(!slides(expression), "{expression}");
        }
    }

    #[test]
    fn takes_bytes_that_are_not_ascii_as_themselves() {
        let parsed = parse(b"\"/\xe9+/\"").unwrap();
        assert!(find(&parsed.pcre, b"\xe9").unwrap().is_some());
    }

    #[test]
    fn ends_on_a_subject_that_backtracks_without_end() {
        let mut subject = vec![b'a'; 16 << 10];
        subject.push(b'!');
        for expression in [
            r"^(a|aa)+(b|bb)+(a+)+$",
            r"^(a+)+$",
            r"^([a-z]+)*\d",
            r"(a|a)*\d",
            r"^(.*a){12}b*\d",
            r"(a?){30}a{30}\d",
            r"^(?:(?:a?)*)*\d",
            r"(*LIMIT_MATCH=4000000000)^(a+)+$",
        ] {
            for flags in ["", "O", "R", "sm"] {
                let parsed = parse(format!("\"/{expression}/{flags}\"").as_bytes()).unwrap();
                let found = find(&parsed.pcre, &subject);
                assert!(!matches!(found, Ok(Some(_))), "{expression} {flags}");
            }
        }
    }

    #[test]
    fn refuses_what_is_not_an_expression() {
        for bad in [
            "",
            "\"a\"",
            "\"/a\"",
            "\"/(/\"",
            "\"/a/q\"",
            "\"/a/UP\"",
            "!",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
