//! What is found where automata lead is what PCRE2 finds alone.
use proptest::prelude::*;

use super::*;

const FLAGS: Flags = Flags {
    caseless: false,
    dotall: false,
    multi_line: false,
    extended: false,
    ungreedy: false,
    anchored: false,
    interpreted: false,
    match_limit: 350_000,
};

fn outline(expression: &str, flags: Flags) -> Option<String> {
    outline::of(expression, flags, Purpose::Lead).map(|it| it.text)
}

/// Where the outline leads to, or `None` where it has none.
fn lead(expression: &str, flags: Flags, purpose: Purpose, subject: &[u8]) -> Option<Option<usize>> {
    let outline = outline::of(expression, flags, purpose)?;
    let leader = Leader::new(&outline.text, flags)?;
    let first = leader.first(subject, 0, false, &mut Room::default(), &mut 0);
    first.ok()
}

fn search(expression: &str, flags: Flags, subject: &[u8]) -> Searched {
    let expression = Expression::new(expression, flags).unwrap();
    expression.find_at(subject, 0, &mut Room::default())
}

#[test]
fn an_outline_leaves_out_what_only_narrows() {
    for (expression, expected) in [
        (r"a(?=b.*)c", "a(?:)c"),
        (r"(?<!x(?:y))a", "(?:)a"),
        (r"(?<*a)b+(c>d+)(?*x)", r"(?:)b+(?:c\x3ed+)(?:)"),
        (r"(a)\1+", "(?:a)(?:a)+"),
        (r"(?<n>a)\k<n>(?P=n)\g{n}\g1", "(?:a)(?:a)(?:a)(?:a)(?:a)"),
        (r"(?:x)(?=(b))\1\2", "(?:x)(?:)(?:b)(?:(?s:.)*)"),
        (r"(a\b)\1", r"(?:a(?:\b))(?:(?s:.)*)"),
        (r"(?i:b)(a)\1", "(?i:b)(?:a)(?:(?s:.)*)"),
        (r"a++b?+c{2}+", "a+b?c{2}"),
        (r"(?>a|b)$", r"(?:a|b)(?:\n?\z)"),
        (r"(a|b$)|c$|d\Z", r"(?:a|b(?:))|c(?:\n?\z)|d(?:\n?\z)"),
        (r"(?(1)a|b)", "(?:|a|b)"),
        (r"(?(?=x)a|b)", "(?:|(?:)a|b)"),
        (
            r"(?(DEFINE)(?<q>u))(?&q)(?1)(?P>q)b(?R)?",
            "(?:)(?:u)(?:u)(?:u)b(?:(?s:.)*)?",
        ),
        (r"(?i)a(?s-m:.)", "(?i)a(?s-m:.)"),
        (r"a{b}{,c", r"a\x7bb\x7d\x7b\x2cc"),
        (r"[]a-c\-[&&~-]", r"[\x5d\x61-\x63\x2d\x5b\x26\x26\x7e\x2d]"),
        (
            r"[^\]\d-x[:alpha:]\h]",
            r"[^\x5d\d\x2d\x78[:alpha:][\t\x20\xa0]]",
        ),
        (r"\x41\x{42}\x\cA\012\<", r"AB\x00\x01\x0a\x3c"),
        (r"a\Q.*\E.", r"a\x2e\x2a."),
        (r"a(?#no)b(*PRUNE)(*MARK:x)", "ab(?:)(?:)"),
        (r"\b{2}\p{L}", r"(?:\b){2}(?s:.)"),
    ] {
        let flags = Flags::default();
        assert_eq!(outline(expression, flags).as_deref(), Some(expected));
    }
    let lines = Flags {
        multi_line: true,
        ..FLAGS
    };
    assert_eq!(outline("(a$)b", lines).as_deref(), Some("(?:a(?m:$))b"));
    let extended = Flags {
        extended: true,
        ..FLAGS
    };
    let text = outline("a b # (\n[ #]c", extended);
    assert_eq!(text.as_deref(), Some(r"ab[\x20\x23]c"));
    let loose = outline::of("a{2,90}b{0,3}", FLAGS, Purpose::Loosely);
    assert_eq!(loose.unwrap().text, "a+b*");
    let reach = outline::of("a(?=b+)(?<!c)d$", FLAGS, Purpose::Reach);
    assert_eq!(reach.unwrap().text, r"a(?:|(?:b+)[^\s\S])(?:)d(?:)");
}

#[test]
fn what_is_not_known_has_no_outline() {
    for expression in [
        r"a\G",
        r"(*ACCEPT)a",
        r"a(*COMMIT)b",
        r"a(*SKIP)b",
        r"(?x: a )",
        r"[\Qa\E]",
        r"(?C1)a",
        r"[[:<:]]a",
        r"a{,3}",
        r"[\d--a]",
    ] {
        assert_eq!(outline(expression, FLAGS), None, "{expression}");
    }
}

#[test]
fn a_run_that_each_byte_begins_costs_no_square() {
    let subject = [vec![b'a'; 1 << 20], b"cqz".to_vec()].concat();
    for expression in [
        r"a.{0,64}b.{0,64}c.{0,64}zq",
        r"^[^y]*aa[^y]*zQ",
        r"a(?:b)?[^y]*zq",
        r"(?:a|b)+?[^y]*zq",
        r"a[^y]{0,9000}zq",
        r"a[^x]*[^y]*zq",
    ] {
        let searched = search(expression, FLAGS, &subject);
        assert_eq!(searched.found, Ok(None), "{expression}");
        assert!(searched.bytes <= 2 * subject.len(), "{expression}");
    }
}

#[test]
fn where_the_outline_misleads_a_search_is_given_up() {
    let subject = [vec![b'a'; 1 << 20], b"zqb".to_vec()].concat();
    for expression in [r"a[^y]*zq(?!b)", r"(?>a)[^y]*zq(?=c)"] {
        let searched = search(expression, FLAGS, &subject);
        assert_eq!(searched.found, Err(Exceeded), "{expression}");
        assert!(searched.bytes <= MISLED + 2 * subject.len(), "{expression}");
    }
}

#[test]
fn what_follows_a_misleading_place_is_found() {
    let subject = [vec![b'a'; 4 << 10], b"zqb azqc".to_vec()].concat();
    let end = subject.len();
    for expression in [r"azq(?!b)[^y]*", r"(a)z(?!qb)[^y]+\x63"] {
        let found = search(expression, FLAGS, &subject).found.unwrap();
        assert_eq!(found.map(|it| (it.start, it.end)), Some((end - 4, end)));
    }
}

#[test]
fn decoys_do_not_hide_what_is_behind_them() {
    for (expression, decoy, sought) in [
        (r"id=[^&]+$", "id=1&", "id=1' union select 1"),
        (r"id=[^&]+\Z", "id=1&", "id=1' union select 1"),
        (r"=\d*\x27[^=]+$", "=1'", "=1' or 1"),
        (r"id=(?!\d+(&|$))[^&]+", "id=1&", "id=1' union&"),
        (r"id=(?!\d{1,9}(&|$))[^&]+", "id=1&", "id=1' union&"),
        (r#"=\s*(["'])[^"'>]+\1\s*onload"#, "='a' ", "='a' onload"),
        (r"(?(?=u)union\s+select|exec\s)", "u", "union select"),
        (r"<(\w+)[^>]*>[^<]*<\/(?!\1)", "<ab></ab>", "<ab></cd>"),
        (
            r"(?(DEFINE)(?<q>union))(?&q)\s+select",
            "union ",
            "union select",
        ),
    ] {
        let subject = [decoy.repeat((80 << 10) / decoy.len()), sought.to_owned()].concat();
        let flags = Flags {
            caseless: true,
            match_limit: 3_500,
            interpreted: expression.contains("(?(") || expression.contains("(?!"),
            ..FLAGS
        };
        let found = search(expression, flags, subject.as_bytes()).found;
        let at = subject.len() - sought.len();
        assert!(
            matches!(found, Ok(Some(found)) if found.end > at),
            "{expression}: {found:?}"
        );
    }
}

#[test]
fn a_reach_is_as_far_as_an_expression_may_be_followed() {
    for (expression, subject, expected) in [
        ("a[^y]*z(?!b)", "aaaazz y zz", 8),
        (r"id=(?!\d+&)[^&]+", "id=1&aaaaaa", 5),
        (r"id=(?=\d+&)[^&]+", "id=123a&aaaa", 8),
        (r"(?:ab|a[^y]*zq)(?!c)", "abc 123 y", 9),
        ("a(?<!b+)c", "ac", 2),
        ("b", "aaa", 1),
    ] {
        let outline = outline::of(expression, FLAGS, Purpose::Reach).unwrap();
        let reach = Reach::new(&outline.text, FLAGS).unwrap();
        let reached = reach.from(subject.as_bytes(), 0, &mut Room::default());
        // A dead end is told from the byte behind it.
        assert!(
            (expected..=expected + 1).contains(&reached),
            "{expression}: {reached}"
        );
    }
}

#[test]
fn what_comes_to_too_many_states_is_followed_in_threads() {
    let chance =
        (0..30u32 << 10).map(|at| b"ac"[(at.wrapping_mul(2_654_435_761) >> 9) as usize % 2]);
    let subject = [&chance.collect::<Vec<u8>>()[..], b"abbbbbbbbbbbbbbevil"].concat();
    let found = search(r"a............b.*evil", FLAGS, &subject).found;
    assert_eq!(found.unwrap().map(|it| it.end), Some(subject.len()));
}

#[test]
fn what_has_no_outline_is_searched_piece_by_piece() {
    let mut subject = vec![b'a'; 64 << 10];
    let whole = subject.len();
    assert_eq!(
        search(r"(?x: a [^y]* zq )", FLAGS, &subject).found,
        Ok(None)
    );
    let end = |expression, subject: &[u8]| {
        let found = search(expression, FLAGS, subject).found.unwrap();
        found.map(|it| it.end)
    };
    assert_eq!(end(r"(?x: a+ \z )", &subject), Some(whole));
    assert_eq!(end(r"(?x: a{5,6} \z )", &subject), Some(whole));
    subject[50_000] = b'z';
    assert_eq!(end(r"(?x: a [^y]{2,9}? z )", &subject), Some(50_001));
    let long = vec![b'a'; 1 << 20];
    assert_eq!(
        search(r"(?x: a [^y]* zq )", FLAGS, &long).found,
        Err(Exceeded)
    );
}

#[test]
fn an_expression_that_calls_itself_is_found() {
    let subject = [&[b'x'; 4 << 10][..], b"<a<b>c>"].concat();
    let found = search(r"<(?:[^<>]+|(?R))*>", FLAGS, &subject).found;
    assert_eq!(found.unwrap().map(|it| it.start), Some(4 << 10));
}

#[test]
fn what_begins_where_the_search_does_may_end_in_a_comment_or_a_quotation() {
    let flags = Flags {
        anchored: true,
        extended: true,
        ..FLAGS
    };
    assert!(search("a b # (", flags, b"abc").found.unwrap().is_some());
    assert!(search(r"a\Qb", flags, b"ab").found.unwrap().is_some());
}

#[test]
fn groups_are_those_of_the_match() {
    let mut subject = vec![b'a'; 4 << 10];
    subject.extend_from_slice(b"zq");
    let expression = Expression::new(r"(a+)\Kz(q)", FLAGS).unwrap();
    let found = expression.find_at(&subject, 7, &mut Room::default()).found;
    let found = found.unwrap().unwrap();
    assert_eq!((found.start, found.end), (4 << 10, (4 << 10) + 2));
    let groups = expression.groups(&subject, found).unwrap();
    assert_eq!(groups.get(1), Some((7, 4 << 10)));
    assert_eq!(groups.get(2), Some(((4 << 10) + 1, (4 << 10) + 2)));
}

#[test]
fn a_room_that_is_full_is_cleared() {
    let mut room = Room::default();
    let subject: Vec<u8> = (0..4 << 10).map(|at| b"abc"[at * at % 7 % 3]).collect();
    for at in 0..300 {
        let expression = format!("[ab]*a[abc]{{{}}}zq", 8 + at % 90);
        let expression = Expression::new(&expression, FLAGS).unwrap();
        let _ = expression.find_at(&subject, 0, &mut room);
        let (counted, held) = room.held();
        assert_eq!(counted, held);
        assert!(held <= 10 << 20);
    }
}

/// Expressions of what PCRE2 knows, over few letters.
fn expression() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        8 => "[abc]",
        2 => Just(".".to_owned()),
        1 => prop::sample::select(vec![
            r"\n", r"\s", r"\w", r"\W", r"\h", r"\v", r"\R", r"\N", r"\b", r"\B", "^", "$", r"\A", r"\z", r"\Z",
            r"\1", r"\Qa.\E", r"\x61", r"\141", r"[\n]", r"\K", "(?i)", "(?s)", "(?m)", "(?-i)",
        ]).prop_map(str::to_owned),
        3 => r"\[\^?\]?(a|b|c|\\n|a-b|\\w|\\W|\[:upper:\]){1,3}\]",
    ];
    atom.prop_recursive(4, 24, 4, |inner| {
        let many = |inner: BoxedStrategy<String>| prop::collection::vec(inner, 1..4);
        let inner = inner.boxed();
        prop_oneof![
            4 => many(inner.clone()).prop_map(|it| it.concat()),
            2 => many(inner.clone()).prop_map(|it| format!("(?:{})", it.join("|"))),
            2 => many(inner.clone()).prop_map(|it| format!("({})", it.concat())),
            1 => (prop::sample::select(vec!["(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?|", "(?(1)", "(?(?=a)", "(?<*", "(?*"]), inner.clone())
                .prop_map(|(sign, inner)| format!("{sign}{inner})")),
            4 => (inner, prop::sample::select(vec!["*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{1,2}", "{1,}", "{0,2}?", "{2,}+"]))
                .prop_map(|(inner, count)| format!("(?:{inner}){count}")),
        ]
    })
}

fn flags() -> impl Strategy<Value = Flags> {
    prop::array::uniform4(any::<bool>()).prop_map(|[caseless, dotall, multi_line, ungreedy]| {
        Flags {
            caseless,
            dotall,
            multi_line,
            ungreedy,
            ..FLAGS
        }
    })
}

fn subject() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(b"aaabbbcA\n\r \xff".to_vec()), 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn where_an_expression_is_found_its_outline_is_not_behind(
        expression in expression(), flags in flags(), subject in subject(), loosely in any::<bool>(),
    ) {
        let Ok(compiled) = Expression::new(&expression, flags) else {
            return Ok(());
        };
        // What PCRE2 reports as the beginning may lie behind it.
        if expression.contains("\\K") {
            return Ok(());
        }
        let Ok(Some(found)) = compiled.alone(&subject, 0).found else {
            return Ok(());
        };
        let purpose = if loosely { Purpose::Loosely } else { Purpose::Lead };
        if let Some(led) = lead(&expression, flags, purpose, &subject) {
            prop_assert!(led.is_some_and(|start| start <= found.start), "{led:?} {found:?}");
        }
    }

    #[test]
    fn led_or_alone_the_same_is_found(
        expression in expression(), flags in flags(), subject in subject(), from in 0usize..4,
    ) {
        let Ok(compiled) = Expression::new(&expression, flags) else {
            return Ok(());
        };
        let Plan::Led(lead) = compiled.plan() else {
            return Ok(());
        };
        // PCRE2 10.42 does not find `(?=c)a*c` in `c`: it expects one `c` behind another.
        let greed = if flags.ungreedy { "(?U)" } else { "" };
        let plain = format!("(*NO_START_OPT){greed}{expression}");
        let plain = Expression::new(&plain, Flags { ungreedy: false, ..flags });
        let plain = plain.unwrap();
        let from = from.min(subject.len());
        let alone = plain.alone(&subject, from).found;
        let led = compiled.led(&lead, &subject, from, &mut Room::default()).found;
        if alone.is_ok() && led.is_ok() {
            let ends = |found: Result<Option<Match>, Exceeded>| found.map(|it| it.map(|it| (it.start, it.end)));
            prop_assert_eq!(ends(led), ends(alone));
        }
    }
}
