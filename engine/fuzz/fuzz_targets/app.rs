//! One application parser, named by the environment variable `SEKISHO_APP`: pieces, gaps and ends in any order.
//!
//! Input: steps of a control byte (bit 0 the direction; bits 1–2: 3 a gap, 2 an end, else bytes), two bytes of length,
//! and for bytes that many of them. No panic, and memory stays below a bound whatever comes.
#![no_main]

use std::sync::OnceLock;

use inspect::app::{parser_for, AppProto, Carrier, Parser, Purpose, Settings};
use inspect::Direction::{self, ToClient, ToServer};
use libfuzzer_sys::fuzz_target;

/// What a parser may hold of an input of 64 KiB: the largest are bodies that were coded.
const MAX_HEAP_BYTES: usize = 64 << 20;

/// The protocols that are parsed, with what carries them, by the names they are asked for.
fn parsed() -> Vec<(String, AppProto, Carrier)> {
    const CARRIERS: [(Carrier, u8, &str); 2] = [
        (Carrier::Stream, 6, ""),
        (Carrier::Datagrams, 17, "-datagrams"),
    ];
    let each = AppProto::ALL.iter().flat_map(|app| {
        CARRIERS
            .iter()
            .filter(|(_, ip_proto, _)| app.runs_over(*ip_proto))
            .map(|(carrier, _, suffix)| (format!("{}{suffix}", app.name()), *app, *carrier))
    });
    each.filter(|(_, app, carrier)| parser_for(*app, *carrier, &[], &Settings::default()).is_some())
        .collect()
}

fn chosen() -> (AppProto, Carrier) {
    static CHOSEN: OnceLock<(AppProto, Carrier)> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let parsed = parsed();
        let wanted = std::env::var("SEKISHO_APP").unwrap_or_default();
        match parsed.iter().find(|(name, ..)| *name == wanted) {
            Some((_, app, carrier)) => (*app, *carrier),
            None => {
                let names: Vec<_> = parsed.iter().map(|(name, ..)| name.as_str()).collect();
                println!("{}", names.join(" "));
                std::process::exit(if wanted == "list" { 0 } else { 2 });
            }
        }
    })
}

/// What the engine does after each call: looks at what changed, takes away what is finished.
fn look(parser: &mut dyn Parser) {
    while parser.take_expected().is_some() {}
    let transactions = parser.transactions_mut();
    for id in transactions.ids() {
        if let Some(transaction) = transactions.find(id) {
            for direction in [ToServer, ToClient] {
                let _ = (
                    transaction.stage(direction),
                    transaction.files(direction).len(),
                );
            }
            if let Some((_, object)) = transaction.describe(Purpose::Record) {
                serde_json::to_string(&object).expect("a record is JSON");
            }
        }
    }
    while transactions.pop_finished().is_some() {}
}

fuzz_target!(init: { chosen(); }, |data: &[u8]| {
    let (app, carrier) = chosen();
    // Fingerprints are made where signatures ask for them.
    let settings = Settings { hassh: true, ..Settings::default() };
    let Some(mut parser) = parser_for(app, carrier, b"note", &settings) else { return };
    let mut rest = data;
    while let [control, high, low, tail @ ..] = rest {
        let direction: Direction = if control & 1 == 0 { ToServer } else { ToClient };
        let length = usize::from(*high) << 8 | usize::from(*low);
        rest = tail;
        match control >> 1 & 3 {
            3 => drop(parser.gap(direction, length as u64)),
            2 => drop(parser.close(direction)),
            _ => {
                let (bytes, after) = tail.split_at(length.min(tail.len()));
                parser.feed(direction, bytes);
                rest = after;
            }
        }
        look(parser.as_mut());
        assert!(parser.heap_bytes() < MAX_HEAP_BYTES, "holds {} bytes", parser.heap_bytes());
    }
    for direction in [ToServer, ToClient] {
        parser.close(direction);
        look(parser.as_mut());
    }
});
