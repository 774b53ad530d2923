//! Events on their way from workers to the spool, counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use live::{
    EventWriter, Guarded, Heart, PolicySlot, Severity, Spool, WorkerContext, WorkerCounters,
};
use nfqueue::{Decision, Handler, QueuedPacket};

const SPOOL_BYTES: u64 = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

fn lines(dir: &Path, lane: &str) -> Vec<String> {
    let mut files: Vec<_> = fs::read_dir(dir.join(lane))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let text: String = files
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    text.lines().map(str::to_owned).collect()
}

fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn every_event_of_every_worker_arrives_once_and_in_its_workers_order() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), "inspector", SPOOL_BYTES).unwrap();
    let (sink, writer) = EventWriter::start(spool, 32 << 20).unwrap();
    std::thread::scope(|scope| {
        for worker in 0..4u8 {
            let sink = sink.clone();
            scope.spawn(move || {
                for number in 0..5000 {
                    sink.send(
                        Severity::new(worker + 1),
                        format!("{{\"w\":{worker},\"n\":{number}}}").as_bytes(),
                    );
                }
            });
        }
    });
    writer.stop();
    for worker in 0..4 {
        let found = lines(dir.path(), &format!("inspector-{}", worker + 1));
        let expected: Vec<_> = (0..5000)
            .map(|number| format!("{{\"w\":{worker},\"n\":{number}}}"))
            .collect();
        assert_eq!(found, expected);
    }
    let stats = sink.stats();
    assert_eq!(
        (stats.sent, stats.lost, stats.spool.written_records),
        (20_000, [0; 4], 20_000)
    );
}

#[test]
fn a_lone_event_reaches_its_file_without_further_traffic() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), "inspector", SPOOL_BYTES).unwrap();
    let (sink, _writer) = EventWriter::start(spool, 1 << 20).unwrap();
    sink.send(Severity::MOST, b"{\"alone\":1}");
    eventually("the event's arrival", || {
        lines(dir.path(), "inspector-1") == ["{\"alone\":1}"]
    });
}

#[test]
fn a_full_buffer_loses_the_least_severe_first_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), "inspector", SPOOL_BYTES).unwrap();
    // Room for some ten lines: far less than one round's worth of them.
    let (sink, writer) = EventWriter::start(spool, 2000).unwrap();
    let line = [b'l'; 100];
    for _ in 0..20_000 {
        sink.send(Severity::LEAST, &line);
    }
    for _ in 0..5 {
        sink.send(Severity::MOST, &line);
    }
    sink.send(Severity::new(2), &[b'm'; 3000]);
    writer.stop();
    let stats = sink.stats();
    assert!(stats.lost[3] > 0);
    assert_eq!(
        stats.lost[..3],
        [0, 1, 0],
        "only the line that could never fit, and the least severe"
    );
    let severe = lines(dir.path(), "inspector-1");
    assert_eq!(
        severe
            .iter()
            .filter(|found| found.as_bytes() == line)
            .count(),
        5
    );
    let kept = lines(dir.path(), "inspector-4").len() as u64;
    assert_eq!(kept + stats.lost[3], 20_000, "every loss is counted");
    let notice = severe
        .iter()
        .find(|found| found.contains("events_lost"))
        .expect("losses are announced");
    let notice: serde_json::Value = serde_json::from_str(notice).unwrap();
    assert_eq!(notice["event_type"], "engine");
}

#[test]
fn a_line_that_can_be_no_record_is_lost_and_counted_and_does_not_hold_up_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), "inspector", SPOOL_BYTES).unwrap();
    let (sink, writer) = EventWriter::start(spool, 1 << 20).unwrap();
    sink.send(Severity::new(3), b"two\nlines");
    sink.send(Severity::new(3), b"{}");
    writer.stop();
    assert_eq!(lines(dir.path(), "inspector-3"), ["{}"]);
    assert_eq!(sink.stats().lost, [0, 0, 1, 0]);
}

/// Panics on a payload that starts with `P`; counts what it saw since it was made.
struct Fragile {
    seen: Arc<Mutex<Vec<u32>>>,
    own: u32,
    policy: live::PolicyReader<Decision>,
}

impl Handler for Fragile {
    fn packet(&mut self, packet: &QueuedPacket<'_>, _now_ns: u64) -> Decision {
        assert!(!packet.payload.starts_with(b"P"), "a bug in a parser");
        self.own += 1;
        self.seen.lock().unwrap().push(self.own);
        **self.policy.current()
    }
}

#[test]
fn a_panic_is_answered_by_the_failure_policy_and_costs_only_the_handlers_state() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path(), "inspector", SPOOL_BYTES).unwrap();
    let (events, writer) = EventWriter::start(spool, 1 << 20).unwrap();
    let slot = PolicySlot::new(Decision::ACCEPT);
    let (seen, counters) = (
        Arc::<Mutex<Vec<u32>>>::default(),
        Arc::<WorkerCounters>::default(),
    );
    let make = {
        let (slot, seen) = (slot.clone(), Arc::clone(&seen));
        move |_: WorkerContext| Fragile {
            seen: Arc::clone(&seen),
            own: 0,
            policy: slot.reader(),
        }
    };
    let open = |packet: &QueuedPacket<'_>| match packet.mark {
        0 => Decision::accept_with(99),
        _ => panic!("the failure policy itself is broken"),
    };
    let context = WorkerContext {
        worker: 3,
        events,
        resets: None,
        heart: Heart::default(),
    };
    let mut worker = Guarded::new(
        context,
        Arc::new(make),
        Arc::new(open),
        Arc::clone(&counters),
    );

    assert_eq!(worker.packet(&QueuedPacket::of(b"a"), 1), Decision::ACCEPT);
    assert_eq!(
        worker.packet(&QueuedPacket::of(b"P"), 2),
        Decision::accept_with(99)
    );
    assert_eq!(
        worker.packet(
            &QueuedPacket {
                mark: 1,
                ..QueuedPacket::of(b"P")
            },
            3
        ),
        Decision::DROP
    );
    slot.swap(Decision::DROP);
    assert_eq!(worker.packet(&QueuedPacket::of(b"b"), 4), Decision::DROP);
    drop(worker);
    writer.stop();

    assert_eq!(
        *seen.lock().unwrap(),
        [1, 1],
        "the handler after a panic is a fresh one"
    );
    let stats = counters.snapshot();
    assert_eq!(stats.panics, 2);
    assert_eq!(stats.latency.counts.iter().sum::<u64>(), 4);
    let notices = lines(dir.path(), "inspector-1");
    assert_eq!(notices.len(), 2);
    let notice: BTreeMap<String, serde_json::Value> = serde_json::from_str(&notices[0]).unwrap();
    assert_eq!(notice["sekisho"]["notice"], "panic");
    assert_eq!(notice["sekisho"]["worker"], 3);
    assert!(notice["engine"]["message"]
        .as_str()
        .unwrap()
        .contains("a bug in a parser"));
}
