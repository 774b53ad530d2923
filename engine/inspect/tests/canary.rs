//! How the trial of a policy judges what a packet costs, by a clock of the test's.
#[allow(dead_code)] // each test uses its part
mod dialogue;

use std::cell::Cell;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use dialogue::policy;
use inspect::canary::{trial, Exercise, Failed};
use serde_json::json;

const RULES: &str = r#"alert http any any -> $HOME_NET any (http.uri; content:"/evil"; sid:1;)"#;
const LONG: Duration = Duration::from_millis(101);

/// Tries a harmless policy while the readings of the clock named by `late` come a long time after those before.
fn tried(late: impl Fn(u32) -> bool) -> Result<(), Failed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../appliance/canary/http.pcap");
    let capture = File::open(path).expect("the capture of ordinary HTTP");
    let exercise = Exercise::read("http", capture).expect("a capture");
    let (readings, now) = (Cell::new(0), Cell::new(Duration::ZERO));
    let clock = || {
        readings.set(readings.get() + 1);
        if late(readings.get()) {
            now.set(now.get() + LONG);
        }
        now.get()
    };
    trial(&policy(RULES, "prevent", json!({})), &[exercise], 0, &clock)
}

#[test]
fn a_packet_that_takes_long_once_is_the_machines_fault() {
    // The second and the fourth reading end the first packet of the first and of the second try.
    assert_eq!(tried(|reading| reading == 2 || reading == 4), Ok(()));
}

#[test]
fn a_packet_that_takes_long_each_time_is_the_policys() {
    let why = tried(|_| true).expect_err("each packet takes long");
    assert!(matches!(why, Failed::Slow { took: LONG, .. }), "{why}");
}
