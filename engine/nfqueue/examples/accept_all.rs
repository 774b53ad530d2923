//! Accepts everything that reaches a queue: what no inspector can be faster than.
//!
//! `accept_all QUEUE [--no-gso] [--fail-open] [--mark N] [--report] [--stall-ms N]`: stops at end of input
//! and prints its counters as one line; `--report` also prints a line for each packet.

use std::io::{Read, Write};
use std::time::Duration;

use nfqueue::{Decision, Handler, Queue, QueueConfig, QueuedPacket, Stop};

struct AcceptAll {
    decision: Decision,
    report: bool,
    stall: Duration,
}

impl Handler for AcceptAll {
    fn packet(&mut self, packet: &QueuedPacket<'_>, _now_ns: u64) -> Decision {
        if self.report {
            let QueuedPacket {
                id,
                original_len,
                mark,
                in_dev,
                out_dev,
                gso,
                checksum_ready,
                ..
            } = packet;
            let mac = packet
                .src_mac
                .map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":"));
            println!(
                "{{\"id\": {id}, \"len\": {}, \"original_len\": {original_len}, \"mark\": {mark}, \
                 \"in_dev\": {in_dev}, \"out_dev\": {out_dev}, \"gso\": {gso}, \
                 \"checksum_ready\": {checksum_ready}, \"truncated\": {}, \"src_mac\": \"{}\"}}",
                packet.payload.len(),
                packet.truncated(),
                mac.unwrap_or_default(),
            );
        }
        if !self.stall.is_zero() {
            std::thread::sleep(self.stall);
        }
        self.decision
    }
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u32>().ok()
    };
    let Some(number) = arguments.first().and_then(|number| number.parse().ok()) else {
        eprintln!("usage: accept_all QUEUE [--no-gso] [--fail-open] [--length N] [--mark N] [--report] [--stall-ms N]");
        std::process::exit(2);
    };
    let mut config = QueueConfig::new(number);
    config.gso = !has("--no-gso");
    config.fail_open = has("--fail-open");
    config.max_length = value("--length").unwrap_or(config.max_length);
    let mut queue = Queue::open(&config)?;
    let stop = Stop::default();
    let mut handler = AcceptAll {
        decision: value("--mark").map_or(Decision::ACCEPT, Decision::accept_with),
        report: has("--report"),
        stall: Duration::from_millis(value("--stall-ms").unwrap_or(0).into()),
    };
    println!("ready");
    std::io::stdout().flush()?;
    let at_end_of_input = stop.clone();
    std::thread::spawn(move || {
        // Whatever ends the input, an error too, ends the program.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        at_end_of_input.raise();
    });
    queue.run(&mut handler, &stop)?;
    println!("{:?}", queue.counters().snapshot());
    Ok(())
}
