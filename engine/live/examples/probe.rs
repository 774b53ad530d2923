//! A runtime around a handler that does as the packets tell it; the namespace tests drive it.
//!
//! `probe QUEUE SPOOL_DIR [--queues N] [--fail-open] [--panic-closed] [--uid N --gid N] [--spool-bytes N]`. What a
//! payload says is done: `probe:panic` makes the handler panic, `probe:hang` makes it hang, `probe:drop` is dropped,
//! `probe:event` is reported as an event, `probe:reset` sends a frame out of the port the packet came from. Input
//! lines: `mark N` makes N the mark of what is accepted from the next packet on, `stats` prints the counters; at its
//! end the runtime stops and prints them.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use live::privilege::{drop_to, Unprivileged};
use live::{
    EventWriter, PolicyReader, PolicySlot, Runtime, RuntimeConfig, Severity, Spool, WorkerContext,
};
use nfqueue::{Decision, Handler, QueuedPacket};

const SPOOL_BYTES: u32 = 64 << 20;
/// A local experimental EtherType, to tell the frame from all others.
const RESET_FRAME: &[u8] = b"\xff\xff\xff\xff\xff\xff\x02\x5e\x99\x00\x00\xfe\x88\xb5probe:reset frame, padded to sixty bytes..";

struct Probe {
    context: WorkerContext,
    mark: PolicyReader<u32>,
}

impl Handler for Probe {
    fn packet(&mut self, packet: &QueuedPacket<'_>, now_ns: u64) -> Decision {
        let says = |word: &[u8]| {
            packet
                .payload
                .windows(word.len())
                .any(|window| window == word)
        };
        assert!(!says(b"probe:panic"), "told to panic");
        if says(b"probe:hang") {
            std::thread::sleep(Duration::from_secs(3600));
        }
        if says(b"probe:event") {
            let line = format!(
                "{{\"event_type\":\"probe\",\"at\":{now_ns},\"worker\":{}}}",
                self.context.worker
            );
            self.context.events.send(Severity::new(2), line.as_bytes());
        }
        if says(b"probe:reset") {
            if let Some(resets) = &self.context.resets {
                resets.send(packet.in_dev, RESET_FRAME);
            }
        }
        match says(b"probe:drop") {
            true => Decision::DROP,
            false => Decision::accept_with(**self.mark.current()),
        }
    }
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u32>().ok()
    };
    let [queue, spool_dir, ..] = &arguments[..] else {
        eprintln!("usage: probe QUEUE SPOOL_DIR [--queues N] [--fail-open] [--panic-closed] [--uid N --gid N]");
        std::process::exit(2);
    };
    let first = queue.parse().map_err(io::Error::other)?;
    let config = RuntimeConfig::new(
        first,
        value("--queues").unwrap_or(1) as u16,
        has("--fail-open"),
    );
    let bound = Runtime::bind(&config)?;
    let spool = Spool::open(
        Path::new(spool_dir),
        "probe",
        value("--spool-bytes").unwrap_or(SPOOL_BYTES).into(),
    )?;
    if let (Some(uid), Some(gid)) = (value("--uid"), value("--gid")) {
        spool.give_to(uid, gid)?;
        drop_to(Unprivileged {
            uid,
            gid,
            keep_raw: false,
        })?;
    }
    let (events, writer) = EventWriter::start(spool, 4 << 20)?;
    let marks = PolicySlot::new(0);
    let on_panic = if has("--panic-closed") {
        Decision::DROP
    } else {
        Decision::ACCEPT
    };
    let make = {
        let marks = marks.clone();
        move |context| Probe {
            context,
            mark: marks.reader(),
        }
    };
    let runtime = bound.start(
        events,
        &live::Heart::default(),
        make,
        Arc::new(move |_: &QueuedPacket<'_>| on_panic),
    )?;
    say("ready")?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ') {
            Some(("mark", mark)) => drop(marks.swap(mark.parse().map_err(io::Error::other)?)),
            _ => say(&serde_json::to_string(&runtime.stats())?)?,
        }
    }
    let last = |runtime: &Runtime| serde_json::to_string(&runtime.stats());
    let before = last(&runtime)?;
    runtime.stop();
    writer.stop();
    say(&before)
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
