//! The evaluator against a brute-force reading of what the keywords mean.
use proptest::prelude::*;

use super::*;
use crate::rule::buffer::Number;

fn evaluate(tests: &[Test], bytes: &[u8]) -> bool {
    holds(tests, Subject::whole(bytes), &mut Work::default())
}

/// Whether some choice of occurrences fulfils every condition: all of them are tried.
fn naive(tests: &[Test], bytes: &[u8], place: usize) -> bool {
    let Some((test, rest)) = tests.split_first() else {
        return true;
    };
    match test {
        Test::Content(content) => {
            let mut occurrences =
                (0..=bytes.len()).filter(|start| lies_at(content, bytes, place, *start));
            if content.negated {
                return occurrences.next().is_none() && naive(rest, bytes, place);
            }
            occurrences.any(|start| naive(rest, bytes, start + content.needle.len()))
        }
        Test::IsDataAt {
            at: Number::Fixed(at),
            relative,
            negated,
        } => {
            let there = match relative {
                true => place as i64 + at <= bytes.len() as i64,
                false => *at < bytes.len() as i64,
            };
            there != *negated && naive(rest, bytes, place)
        }
        Test::ByteJump(jump) => {
            let at = place + fixed(Some(jump.field.offset), 0) as usize;
            bytes.get(at).is_some_and(|value| {
                let target = at + 1 + usize::from(*value);
                target <= bytes.len() && naive(rest, bytes, target)
            })
        }
        _ => unreachable!("not generated"),
    }
}

fn fixed(number: Option<Number>, otherwise: i64) -> i64 {
    match number {
        Some(Number::Fixed(fixed)) => fixed,
        _ => otherwise,
    }
}

/// Whether the content is at `start`, within what its modifiers allow.
fn lies_at(content: &Content, bytes: &[u8], place: usize, start: usize) -> bool {
    let end = start + content.needle.len();
    let Some(found) = bytes.get(start..end) else {
        return false;
    };
    let (start, end, place) = (start as i64, end as i64, place as i64);
    let in_place = if content.is_relative() {
        let from = place + fixed(content.distance, 0);
        start >= from
            && content
                .within
                .is_none_or(|within| end <= from + fixed(Some(within), 0))
    } else if content.startswith {
        start == 0
    } else {
        let from = fixed(content.offset, 0);
        start >= from
            && content
                .depth
                .is_none_or(|depth| end <= from + fixed(Some(depth), 0))
    };
    let at_end = !content.endswith || end == bytes.len() as i64;
    in_place && at_end && content.needle.equals(found)
}

prop_compose! {
    fn a_content()(
        pattern in "[abAB]{1,3}",
        nocase: bool,
        negated in prop::bool::weighted(0.2),
        endswith in prop::bool::weighted(0.1),
        kind in 0..4u8,
        low in -3..6i64,
        room in prop::option::of(0..8i64),
    ) -> Test {
        let mut content = Content::new(pattern.clone().into_bytes(), negated);
        if nocase {
            content.needle = content.needle.without_case();
        }
        content.endswith = endswith;
        let room = room.map(|room| Number::Fixed(room + pattern.len() as i64));
        match kind {
            0 => {}
            1 => {
                content.offset = Some(Number::Fixed(low.max(0)));
                content.depth = room;
            }
            2 => content.startswith = true,
            _ => {
                content.distance = Some(Number::Fixed(low));
                content.within = room;
            }
        }
        Test::Content(content)
    }
}

fn a_test() -> impl Strategy<Value = Test> {
    let data = (0..6i64, any::<bool>(), any::<bool>()).prop_map(|(at, relative, negated)| {
        Test::IsDataAt {
            at: Number::Fixed(at),
            relative,
            negated,
        }
    });
    let jump = (0..2i64).prop_map(|offset| {
        Test::ByteJump(ByteJump {
            field: ByteField {
                count: Number::Fixed(1),
                offset: Number::Fixed(offset),
                relative: true,
                little: false,
                dce: false,
                text_base: None,
                bitmask: None,
            },
            multiplier: 1,
            align: false,
            from: JumpFrom::Here,
            post_offset: Number::Fixed(0),
        })
    });
    prop_oneof![8 => a_content(), 1 => data, 1 => jump]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn holds_exactly_where_some_choice_of_occurrences_does(
        tests in prop::collection::vec(a_test(), 1..5),
        bytes in prop::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'A'), 0..4u8], 0..14),
    ) {
        prop_assert_eq!(evaluate(&tests, &bytes), naive(&tests, &bytes, 0));
    }

    #[test]
    fn a_window_holds_where_the_whole_does_and_not_before(
        mut tests in prop::collection::vec(a_content(), 1..4),
        bytes in "[abAB]{1,12}",
    ) {
        // Without negation and end, what holds on a prefix holds on the whole, and shows at its last byte.
        for test in &mut tests {
            if let Test::Content(content) = test {
                (content.negated, content.endswith) = (false, false);
            }
        }
        let bytes = bytes.as_bytes();
        let first = (1..=bytes.len()).find(|end| evaluate(&tests, &bytes[..*end]));
        let shown = (1..=bytes.len()).find(|end| {
            let subject = Subject { bytes: &bytes[..*end], offset: 0, beyond: end - 1, little: false };
            holds(&tests, subject, &mut Work::default())
        });
        prop_assert_eq!(first, shown);
    }
}

#[test]
fn gives_up_on_a_chain_that_backtracks_without_end() {
    let relative = |pattern: &[u8]| {
        let mut content = Content::new(pattern.to_vec(), false);
        content.distance = Some(Number::Fixed(0));
        content.within = Some(Number::Fixed(100_000));
        Test::Content(content)
    };
    let tests: Vec<_> = std::iter::repeat_with(|| relative(b"a"))
        .take(12)
        .chain([relative(b"b")])
        .collect();
    let mut work = Work::default();
    assert!(!holds(&tests, Subject::whole(&[b'a'; 5_000]), &mut work));
    assert_eq!(work.steps, 1);
}

#[test]
fn an_expression_that_looks_around_behind_each_occurrence_is_given_up() {
    let shared = crate::rule::shared::Shared::default();
    let rule = br#""/a(?=.*zq)\b/R""#;
    let parsed = crate::rule::pcre::parse(rule, &shared).unwrap();
    let tests = [
        Test::Content(Content::new(b"a".to_vec(), false)),
        Test::Pcre(parsed.pcre),
    ];
    let mut work = Work::default();
    assert!(!holds(&tests, Subject::whole(&[b'a'; 3_000]), &mut work));
    assert_eq!(work.steps, 1);
    assert!(evaluate(&tests, b"aa zq"));
}

#[test]
fn numbers_are_read_as_they_stand() {
    let field = |count, text_base, little, bitmask| ByteField {
        count: Number::Fixed(count),
        offset: Number::Fixed(0),
        relative: false,
        little,
        dce: false,
        text_base,
        bitmask,
    };
    let value = |field, bytes: &[u8]| {
        let test = |value| {
            Test::ByteTest(ByteTest {
                field,
                comparison: Comparison::Equal,
                negated: false,
                value: Number::Fixed(value),
            })
        };
        (0..70_000).find(|value| evaluate(&[test(*value)], bytes))
    };
    assert_eq!(value(field(2, None, false, None), b"\x01\x02"), Some(258));
    assert_eq!(value(field(2, None, true, None), b"\x01\x02"), Some(513));
    assert_eq!(
        value(field(2, None, false, Some(0xff00)), b"\x01\x02"),
        Some(1)
    );
    assert_eq!(value(field(4, Some(10), false, None), b"123x"), Some(123));
    assert_eq!(value(field(4, Some(16), false, None), b"0x1F"), Some(31));
    assert_eq!(value(field(4, Some(0), false, None), b"010 "), Some(8));
    assert_eq!(value(field(4, None, false, None), b"123"), None);
    assert_eq!(value(field(3, Some(10), false, None), b"x12"), None);
    assert_eq!(value(field(4, Some(10), false, None), b"+123"), Some(123));
    assert_eq!(value(field(4, Some(10), false, None), b"123"), None);
    assert_eq!(value(field(0, Some(10), false, None), b"123"), Some(123));
    let negative = ByteTest {
        field: field(2, Some(10), false, None),
        comparison: Comparison::Equal,
        negated: false,
        value: Number::Fixed(-1),
    };
    assert!(evaluate(&[Test::ByteTest(negative)], b"-1"));
}

#[test]
fn a_number_below_zero_jumps_back() {
    let jump = Test::ByteJump(ByteJump {
        field: ByteField {
            count: Number::Fixed(2),
            offset: Number::Fixed(0),
            relative: true,
            little: false,
            dce: false,
            text_base: Some(10),
            bitmask: None,
        },
        multiplier: 2,
        align: false,
        from: JumpFrom::Here,
        post_offset: Number::Fixed(0),
    });
    let key = Test::Content(Content::new(b"n=".to_vec(), false));
    let follows = |needle: &[u8]| {
        let mut content = Content::new(needle.to_vec(), false);
        content.distance = Some(Number::Fixed(0));
        content.within = Some(Number::Fixed(needle.len() as i64));
        evaluate(
            &[key.clone(), jump.clone(), Test::Content(content)],
            b"n=-1x",
        )
    };
    assert!(follows(b"-1"));
    assert!(!follows(b"x"));
}

#[test]
fn base64_is_decoded_from_the_last_match() {
    let decode = Test::Base64(Base64 {
        bytes: Some(8),
        offset: 1,
        relative: true,
        tests: vec![Test::Content(Content::new(b"hello".to_vec(), false))],
    });
    let key = Test::Content(Content::new(b"k=".to_vec(), false));
    assert!(evaluate(&[key.clone(), decode.clone()], b"k= aGVsbG8="));
    assert!(!evaluate(&[key, decode], b"k= aGVsbAo="));
}

#[test]
fn base64_ends_at_a_byte_that_is_none_and_a_pad_takes_a_byte_wherever_it_stands() {
    for (text, decoded) in [
        ("dXNlcjpwYXNz\r\nConn", "user:pass"),
        ("QUJD QUJD", "ABC"),
        ("QQ==QkI=", "ABB"),
        ("=QUJD", "\u{1}\u{5}"),
        ("QUJDR", "ABC"),
        ("QUJDR-", "ABCD"),
        ("QUJDQUI", "ABCAB"),
        ("", ""),
        ("-", ""),
    ] {
        let found = decode_base64(text.as_bytes());
        assert_eq!(String::from_utf8_lossy(&found), decoded, "{text:?}");
    }
}
