//! The prefilter against a search for each pattern.
use proptest::prelude::*;

use super::*;
use crate::rule::buffer::Number;

fn content(bytes: &[u8], nocase: bool) -> Content {
    let mut content = Content::new(bytes.to_vec(), false);
    if nocase {
        content.needle = content.needle.without_case();
    }
    content
}

fn pattern(content: &Content) -> Pattern<'_> {
    Pattern::of(content, reach::reach(content, None))
}

/// Every (signature, offset) at which the piece that is looked for stands where its content allows.
fn searched(contents: &[Content], text: &[u8], from: usize, base: u64) -> Vec<(u32, u64)> {
    let mut found = Vec::new();
    for (signature, content) in (0u32..).zip(contents) {
        let pattern = pattern(content);
        for (start, window) in text.windows(pattern.bytes.len()).enumerate().skip(from) {
            let same = match pattern.nocase {
                true => window.eq_ignore_ascii_case(pattern.bytes),
                false => window == pattern.bytes,
            };
            let place = base + start as u64;
            if same && pattern.reach.holds(place, pattern.bytes.len()) {
                found.push((signature, place));
            }
        }
    }
    found
}

fn scanned(contents: &[Content], text: &[u8], from: usize, base: u64) -> Vec<(u32, u64)> {
    let mut builder = Builder::default();
    for (signature, content) in (0..).zip(contents) {
        builder.add(&pattern(content), signature);
    }
    let mut found = Vec::new();
    builder.build().scan(text, from, base, |signature, place| {
        found.push((signature, place))
    });
    found.sort_unstable();
    found.dedup();
    found
}

fn contents() -> impl Strategy<Value = Vec<Content>> {
    let one = (
        "[aAbB\\x00]{1,6}|[aAb]{20,40}",
        any::<bool>(),
        prop::option::of(0..20i64),
        prop::option::of(0..30i64),
        any::<bool>(),
    );
    let made = one.prop_map(|(bytes, nocase, offset, depth, startswith)| {
        let mut content = content(bytes.as_bytes(), nocase);
        content.startswith = startswith;
        content.offset = offset.map(Number::Fixed);
        content.depth = depth.map(|depth| Number::Fixed(depth + bytes.len() as i64));
        content
    });
    prop::collection::vec(made, 0..12)
}

proptest! {
    #[test]
    fn finds_what_searching_for_each_pattern_finds(
        contents in contents(),
        text in "[aAbB\\x00]{0,80}",
        from in 0..20usize,
        base in 0..40u64,
    ) {
        let text = text.as_bytes();
        let mut expected = searched(&contents, text, from, base);
        expected.sort_unstable();
        expected.dedup();
        prop_assert_eq!(scanned(&contents, text, from, base), expected);
    }

    #[test]
    fn a_growing_text_brings_up_the_same_in_any_pieces(
        contents in contents(),
        text in "[aAbB\\x00]{0,80}",
        steps in prop::collection::vec(1..20usize, 0..12),
    ) {
        let text = text.as_bytes();
        let mut builder = Builder::default();
        for (signature, content) in (0..).zip(&contents) {
            builder.add(&pattern(content), signature);
        }
        let prefilter = builder.build();
        let mut found = Vec::new();
        let mut before = 0usize;
        for end in steps.iter().scan(0, |end, step| { *end += step; Some(*end) }).chain([text.len()]) {
            let end = end.min(text.len());
            let from = before.saturating_sub(prefilter.overlap());
            prefilter.scan(&text[..end], from, 0, |signature, place| found.push((signature, place)));
            before = end;
        }
        found.sort_unstable();
        found.dedup();
        let mut expected = searched(&contents, text, 0, 0);
        expected.sort_unstable();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_content_never_lies_where_its_piece_is_not_looked_for(
        contents in contents(),
        text in "[aAbB]{0,80}",
    ) {
        let text = text.as_bytes();
        let found = scanned(&contents, text, 0, 0);
        for (signature, content) in (0u32..).zip(&contents) {
            let offset = match content.offset { Some(Number::Fixed(offset)) => offset as usize, _ => 0 };
            let length = content.needle.len();
            let end = match (content.startswith, content.depth) {
                (true, _) => offset + length,
                (false, Some(Number::Fixed(depth))) => offset + depth as usize,
                _ => text.len(),
            };
            let there = text
                .get(offset..end.min(text.len()))
                .is_some_and(|window| content.needle.find(window).is_some());
            prop_assert!(!there || found.iter().any(|it| it.0 == signature), "{content:?}");
        }
    }
}

#[test]
fn patterns_that_share_most_of_their_bytes_are_told_apart_by_the_rest() {
    let texts: Vec<_> = (0..1000u32)
        .map(|number| format!("/wp-content/plugins/{number:04}"))
        .collect();
    let mut builder = grams::Builder::default();
    for (number, text) in (0..).zip(&texts) {
        builder.add(&text.as_bytes()[..MAX_PIECE], false, number);
    }
    assert!(builder.build().most_shared() <= 60);
}

#[test]
fn a_content_behind_another_is_looked_for_where_it_can_follow() {
    let content = |bytes: &[u8], relative| {
        let mut content = content(bytes, false);
        content.distance = Some(Number::Fixed(3)).filter(|_| relative);
        content.within = Some(Number::Fixed(5)).filter(|_| relative);
        Test::Content(content)
    };
    let mut first = content(b"\0", false);
    if let Test::Content(content) = &mut first {
        content.depth = Some(Number::Fixed(1));
    }
    let tests = [
        first,
        content(b"\xffSMB\xa0", true),
        content(b"later", true),
    ];
    let reaches: Vec<_> = reaches(&tests)
        .map(|(_, reach)| (reach.from, reach.to))
        .collect();
    assert_eq!(reaches, [(0, 1), (4, 9), (12, 17)]);
}
