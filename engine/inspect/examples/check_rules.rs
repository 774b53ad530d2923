//! Reads rule files and prints how many load, and why the others are refused, most frequent reason first.
//!
//! `cargo run --release --example check_rules -- FILE…`
use std::collections::BTreeMap;
use std::time::Instant;

use inspect::rule::{self, Reason};

fn main() {
    let mut files = Vec::new();
    for name in std::env::args().skip(1) {
        match std::fs::read(&name) {
            Ok(text) => files.push((name, text)),
            Err(error) => eprintln!("{name}: {error}"),
        }
    }
    let began = Instant::now();
    let (loaded, refused) = rule::check(&files);
    println!(
        "loaded {}, refused {} in {:.2?}",
        loaded.len(),
        refused.len(),
        began.elapsed()
    );
    let mut counts: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for refusal in &refused {
        let kind = match &refusal.reason {
            Reason::BadValue { keyword, .. } => format!("malformed value of '{keyword}'"),
            Reason::Duplicate { .. } => "duplicate".into(),
            other => other.to_string(),
        };
        let entry = counts
            .entry(kind)
            .or_insert_with(|| (0, refusal.to_string()));
        entry.0 += 1;
    }
    let mut ranked: Vec<_> = counts.into_iter().collect();
    ranked.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    for (kind, (count, example)) in ranked {
        println!("{count:6}  {kind}   e.g. {example}");
    }
}
