use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use crate::counter::Counter;
use crate::notice;
use crate::spool::{Spool, SpoolStats, LANES};

/// Lines reach the spool's files at most this long after they were sent.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);
/// Files reach the disk at most this long after that.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Losses are announced at most this often.
const NOTICE_INTERVAL: Duration = Duration::from_secs(1);
/// What a line costs in memory beside its bytes.
const LINE_OVERHEAD: usize = 64;
/// How many rounds the last lines get to reach the disk when the writer stops.
const LAST_ROUNDS: usize = 3;

/// How much an event matters, 1 (most) to 4: which lane it goes to, and which events go first when space is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Severity(u8);

impl Severity {
    /// The most severe.
    pub const MOST: Self = Self(1);
    /// The least severe.
    pub const LEAST: Self = Self(4);

    /// A signature's priority as a severity: 0 counts as 1, everything past 4 as 4.
    pub fn new(priority: u8) -> Self {
        Self(priority.clamp(1, 4))
    }

    /// 1 to 4.
    pub fn get(self) -> u8 {
        self.0
    }

    pub(crate) fn lane(self) -> usize {
        usize::from(self.0) - 1
    }
}

/// Where workers put events; clones share one bounded buffer. Sending never waits for a disk.
///
/// When the buffer is full the least severe lines in it go first, oldest first; each is counted.
#[derive(Clone, Debug)]
pub struct EventSink {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    capacity_bytes: usize,
    buffer: Mutex<Buffer>,
    wake: Condvar,
    sent: Counter,
    lost: [Counter; LANES],
    /// The spool's counters after the writer's last round.
    spool: Mutex<SpoolStats>,
}

#[derive(Debug, Default)]
struct Buffer {
    lanes: [VecDeque<Box<[u8]>>; LANES],
    bytes: usize,
    stopping: bool,
}

/// What happened to events on their way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventStats {
    /// Sent by workers.
    pub sent: u64,
    /// Lost before the spool, by severity 1…4: the buffer was full, or the line could be no record.
    pub lost: [u64; LANES],
    /// Bytes waiting to be written.
    pub waiting_bytes: usize,
    /// The spool's own counters.
    pub spool: SpoolStats,
}

impl EventSink {
    /// Hands over one EVE line, without its newline.
    pub fn send(&self, severity: Severity, line: &[u8]) {
        let shared = &*self.shared;
        shared.sent.add(1);
        let cost = line.len() + LINE_OVERHEAD;
        let mut buffer = shared.lock();
        if !shared.make_room(&mut buffer, severity, cost) {
            shared.lost[severity.lane()].add(1);
            return;
        }
        let was = buffer.bytes;
        buffer.bytes += cost;
        buffer.lanes[severity.lane()].push_back(line.into());
        let half = shared.capacity_bytes / 2;
        if was < half && buffer.bytes >= half {
            shared.wake.notify_one();
        }
    }

    /// The counters, the spool's included.
    pub fn stats(&self) -> EventStats {
        let shared = &*self.shared;
        EventStats {
            sent: shared.sent.get(),
            lost: std::array::from_fn(|lane| shared.lost[lane].get()),
            waiting_bytes: shared.lock().bytes,
            spool: *shared.spool.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        // Every change to the buffer is complete before anything that could panic.
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops lines no more severe than `severity` until `cost` fits; returns whether it does.
    fn make_room(&self, buffer: &mut Buffer, severity: Severity, cost: usize) -> bool {
        while buffer.bytes + cost > self.capacity_bytes {
            let victim = (severity.lane()..LANES)
                .rev()
                .find(|lane| !buffer.lanes[*lane].is_empty());
            let Some((lane, line)) =
                victim.and_then(|lane| Some((lane, buffer.lanes[lane].pop_front()?)))
            else {
                return false;
            };
            buffer.bytes -= line.len() + LINE_OVERHEAD;
            self.lost[lane].add(1);
        }
        true
    }

    /// Waits for the next round; returns whether the writer is to stop.
    fn await_round(&self) -> bool {
        let buffer = self.lock();
        if buffer.stopping {
            return true;
        }
        let (buffer, _) = self
            .wake
            .wait_timeout(buffer, FLUSH_INTERVAL)
            .unwrap_or_else(PoisonError::into_inner);
        buffer.stopping
    }

    fn take(&self, lane: usize) -> VecDeque<Box<[u8]>> {
        let mut buffer = self.lock();
        let lines = std::mem::take(&mut buffer.lanes[lane]);
        buffer.bytes -= lines
            .iter()
            .map(|line| line.len() + LINE_OVERHEAD)
            .sum::<usize>();
        lines
    }

    fn lost(&self) -> [u64; LANES] {
        std::array::from_fn(|lane| self.lost[lane].get())
    }
}

/// The one thread that writes the spool.
#[derive(Debug)]
pub struct EventWriter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl EventWriter {
    /// Starts the writer; the sink buffers `capacity_bytes` of lines (and the writer as much again while the disk
    /// is full).
    pub fn start(spool: Spool, capacity_bytes: usize) -> io::Result<(EventSink, Self)> {
        let shared = Arc::new(Shared {
            capacity_bytes,
            buffer: Mutex::default(),
            wake: Condvar::new(),
            sent: Counter::default(),
            lost: Default::default(),
            spool: Mutex::new(spool.stats()),
        });
        let mut rounds = Rounds::new(spool, Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("spool".into())
            .spawn(move || rounds.run())?;
        Ok((
            EventSink {
                shared: Arc::clone(&shared),
            },
            Self {
                shared,
                thread: Some(thread),
            },
        ))
    }

    /// Writes what was sent so far, syncs it to disk, and ends the thread.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has nothing more to write.
            let _ = thread.join();
        }
    }
}

impl Drop for EventWriter {
    fn drop(&mut self) {
        self.end();
    }
}

/// The writer thread's state.
struct Rounds {
    spool: Spool,
    shared: Arc<Shared>,
    /// Taken from the sink but not yet by the spool, by severity. A lane whose disk is full does not hold up the
    /// others.
    backlog: [VecDeque<Box<[u8]>>; LANES],
    synced: Instant,
    announced: Instant,
    announced_losses: ([u64; LANES], u64),
}

impl Rounds {
    fn new(spool: Spool, shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        let announced_losses = ([0; LANES], spool.stats().evicted_records);
        Self {
            spool,
            shared,
            backlog: Default::default(),
            synced: now,
            announced: now,
            announced_losses,
        }
    }

    fn run(&mut self) {
        while !self.shared.await_round() {
            self.round();
        }
        for _ in 0..LAST_ROUNDS {
            self.round();
        }
        self.announce();
        self.write_out(true);
        for (lane, lines) in self.backlog.iter().enumerate() {
            self.shared.lost[lane].add(lines.len() as u64);
        }
        self.publish();
    }

    fn round(&mut self) {
        for lane in 0..LANES {
            if self.backlog[lane].is_empty() {
                self.backlog[lane] = self.shared.take(lane);
            }
            self.write(lane);
        }
        let now = Instant::now();
        if now - self.announced >= NOTICE_INTERVAL {
            self.announced = now;
            self.announce();
        }
        let sync = now - self.synced >= SYNC_INTERVAL;
        if sync {
            self.synced = now;
        }
        self.write_out(sync);
        self.publish();
    }

    /// Failures are in the spool's counters, and what was not written is tried again next round.
    fn write_out(&mut self, sync: bool) {
        let flushed = self.spool.flush();
        if sync {
            let _ = flushed.and(self.spool.sync());
        }
    }

    /// Gives the spool the lane's lines, up to the first it has no room for now.
    fn write(&mut self, lane: usize) {
        let severity = Severity::new(lane as u8 + 1);
        while let Some(line) = self.backlog[lane].front() {
            match self.spool.append(severity, line) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    self.shared.lost[lane].add(1)
                }
                Err(_) => return,
            }
            self.backlog[lane].pop_front();
        }
    }

    /// Says what was lost since the last time.
    fn announce(&mut self) {
        let losses = (self.shared.lost(), self.spool.stats().evicted_records);
        if losses == self.announced_losses {
            return;
        }
        let (lost, evicted) = losses;
        let details = json!({ "lost_by_severity": lost, "evicted": evicted });
        let text = "events were lost: the spool or its buffer was full";
        // If not even this line finds room, the next round tries again.
        if self
            .spool
            .append(Severity::MOST, &notice::line("events_lost", text, details))
            .is_ok()
        {
            self.announced_losses = losses;
        }
    }

    fn publish(&self) {
        *self
            .shared
            .spool
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = self.spool.stats();
    }
}
