//! Judging bit by bit against judging the whole each time.
use proptest::prelude::*;

use super::*;
use crate::rule::pcre;

static EXPRESSIONS: [&str; 4] = ["\"/a.b/\"", "\"/b+a/R\"", "\"/^ab/\"", "\"/(?<=b)aa/\""];

fn expression(text: &str) -> Test {
    let parsed = pcre::parse(text.as_bytes(), &Default::default());
    Test::Pcre(parsed.expect(text).pcre)
}

prop_compose! {
    fn a_content()(
        pattern in "[ab]{1,3}",
        kind in 0..4u8,
        low in -3..6i64,
        room in prop::option::of(0..8i64),
    ) -> Test {
        let mut content = Content::new(pattern.clone().into_bytes(), false);
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
    let data = (0..6i64, any::<bool>()).prop_map(|(at, relative)| Test::IsDataAt {
        at: Number::Fixed(at),
        relative,
        negated: false,
    });
    let pcre = prop::sample::select(&EXPRESSIONS[..]).prop_map(expression);
    prop_oneof![8 => a_content(), 2 => data, 2 => pcre]
}

fn whole(tests: &[Test], bytes: &[u8]) -> bool {
    chain::holds(tests, Subject::whole(bytes), &mut Work::default())
}

/// How many bytes there must be until the conditions hold, judged each time one of these lengths is reached.
fn first_held(tests: &[Test], bytes: &[u8], lengths: &[usize], work: &mut Work) -> Option<usize> {
    let mut progress = Progress::default();
    let mut lengths = lengths.iter().copied();
    lengths.find(|length| progress.holds(tests, 0, Subject::whole(&bytes[..*length]), work))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn whatever_the_pieces_it_holds_as_soon_as_the_whole_does(
        tests in prop::collection::vec(a_test(), 1..6),
        bytes in "[abc]{0,40}",
        cuts in prop::collection::btree_set(0..40usize, 0..12),
    ) {
        prop_assume!(may_settle(&tests));
        let bytes = bytes.as_bytes();
        let mut lengths: Vec<_> = cuts.into_iter().filter(|cut| *cut < bytes.len()).collect();
        lengths.push(bytes.len());
        let expected = lengths.iter().copied().find(|length| whole(&tests, &bytes[..*length]));
        let found = first_held(&tests, bytes, &lengths, &mut Work::default());
        prop_assert_eq!(expected, found);
    }
}

fn content(pattern: &[u8], distance: Option<i64>, within: Option<i64>) -> Test {
    let mut content = Content::new(pattern.to_vec(), false);
    content.distance = distance.map(Number::Fixed);
    content.within = within.map(Number::Fixed);
    Test::Content(content)
}

/// Contents side by side, behind each other, and bound to each other.
fn chains() -> Vec<(&'static str, Vec<Test>)> {
    vec![
        (
            "apart",
            vec![content(b"abcd", None, None), content(b"evil", None, None)],
        ),
        (
            "in order",
            vec![
                content(b"abcd", None, None),
                content(b"evil", Some(0), None),
            ],
        ),
        (
            "near",
            vec![
                content(b"abcd", None, None),
                content(b"evil", Some(0), Some(60)),
            ],
        ),
        (
            "expression",
            vec![
                content(b"abcd", None, None),
                expression("\"/dab.{0,9}evil/\""),
            ],
        ),
    ]
}

#[test]
fn work_is_linear_in_the_length_however_small_the_pieces() {
    const STEP: usize = 100;
    for (name, tests) in chains() {
        let spent = |length: usize| {
            let body = b"abcd".repeat(length / 4);
            let lengths: Vec<_> = (STEP..=length).step_by(STEP).collect();
            let mut work = Work::default();
            assert_eq!(None, first_held(&tests, &body, &lengths, &mut work));
            work.searched as usize
        };
        // An expression costs its span with every piece, beside the free effort.
        let (free, per_byte) = match name {
            "expression" => (4 << 20, 34 + 2 * EXPRESSION_SPAN / STEP),
            // Each of the 41 that begin in what is searched is followed for 60 bytes.
            _ => (0, 30),
        };
        for length in [1 << 18, 1 << 20] {
            let spent = spent(length);
            assert!(
                spent <= free + per_byte * length,
                "{name}: {spent} for {length}"
            );
        }
    }
}

#[test]
fn an_expression_that_each_byte_may_begin_costs_no_square() {
    for written in [
        "\"/a(?:b)?[^y]*zq/\"",
        "\"/a(?!b)[^y]*zq(?!b)/\"",
        "\"/(a+)\\1b/\"",
        "\"/a(?>.*)zq/s\"",
        "\"/a(?=.*zq)b/s\"",
        "\"/(?x: a [^y]* zq )/\"",
    ] {
        let tests = [expression(written)];
        let spent = |length: usize| {
            let body = [&b"a".repeat(length)[..], b"zqb"].concat();
            let lengths: Vec<_> = (1_400..body.len()).step_by(1_400).collect();
            let mut work = Work::default();
            assert_eq!(None, first_held(&tests, &body, &lengths, &mut work));
            work.searched
        };
        let (short, long) = (spent(1 << 18), spent(1 << 20));
        assert!(long <= 5 * short, "{written}: {short} and {long}");
        // As many bytes a search goes through in less than half a second.
        assert!(short < 600 << 20, "{written}: {short}");
    }
}

#[test]
fn the_piece_that_completes_a_match_is_told_in_the_middle_of_a_long_body_that_cost_its_effort() {
    for (name, tests) in chains() {
        let mut body = b"abcd".repeat(200_000);
        let completes = 700_010;
        body[completes - 4..completes].copy_from_slice(b"evil");
        body[completes - 10..completes - 6].copy_from_slice(b"abcd");
        body[completes - 11] = b'd';
        body[completes - 6..completes - 4].copy_from_slice(b"ab");
        let lengths: Vec<_> = (7..=body.len()).step_by(7).chain([body.len()]).collect();
        let expected = lengths.iter().copied().find(|length| *length >= completes);
        let found = first_held(&tests, &body, &lengths, &mut Work::default());
        assert_eq!(expected, found, "{name}");
    }
}

#[test]
fn of_several_instances_each_is_judged_by_itself() {
    let (_, tests) = chains().swap_remove(0);
    let mut progress = Progress::default();
    let mut judge = |instance, bytes: &[u8]| {
        progress.holds(
            &tests,
            instance,
            Subject::whole(bytes),
            &mut Work::default(),
        )
    };
    assert!(!judge(0, b"abcd"));
    assert!(!judge(0, b"abcd ..."));
    assert!(!judge(1, b"evil"), "its first half is another instance's");
    assert!(judge(1, b"evil abcd"));
}
