//! Events on disk, in lanes of numbered segment files, under one bound.
//!
//! Layout and rules are in ARCHITECTURE.md, "The spool". What they rest on:
//!
//! - A record's number is never used twice, also after a crash and after everything was delivered and deleted: a
//!   lane's newest segment, empty or not, is never removed, and its name holds the next number.
//! - A line that a reader can have seen is never taken back: after a write that failed half way only the torn line
//!   is cut, and what follows keeps the numbers it was given.
//! - Several processes write one spool, each its own lanes, and any may evict from any lane: removing a file is
//!   atomic, all agree on the order, and a file that is gone already is as good as removed.
//! - A writer that gives up root keeps only its own lanes ([`Spool::give_to`]): spool directory and other lanes
//!   stay out of its reach. Root follows no link and opens no file with a second name when it opens such a lane again.
//! - Written lines are in the kernel's hands at [`Spool::flush`] and survive the process; [`Spool::sync`] puts them
//!   on the disk, as does closing a segment. A power failure can cost what came after the last sync.

mod eviction;
mod lane;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{flock, FlockOperation};
use rustix::io::Errno;
use serde::Serialize;

use crate::events::Severity;
use eviction::Inventory;
use lane::Lane;

/// Lanes of a writer: one a severity.
pub(crate) const LANES: usize = 4;
/// A segment file holds at most this much.
const SEGMENT_MAX_BYTES: u64 = 4 << 20;
/// With a small spool segments are smaller, so that there is always something to evict: each lane's newest
/// segment stays, and this many parts leave room for two writers' lanes and as much again.
const PARTS: u64 = 32;
/// Below this there is no room for an event in a segment.
const SPOOL_MIN_BYTES: u64 = 128 << 10;
const DIRECTORY_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;
const LOCK_WAIT: Duration = Duration::from_secs(1);
const LOCK_POLL: Duration = Duration::from_millis(10);

/// Appends to one writer's lanes.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    max_bytes: u64,
    segment_bytes: u64,
    epoch: String,
    lanes: [Lane; LANES],
    stats: SpoolStats,
    /// Held for as long as the lanes are ours.
    _lock: File,
}

/// What a writer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SpoolStats {
    /// Records in the files.
    pub written_records: u64,
    /// Their bytes, newlines included.
    pub written_bytes: u64,
    /// Records this process evicted, of any writer.
    pub evicted_records: u64,
    /// Segments this process evicted.
    pub evicted_segments: u64,
    /// Segments it would have evicted but may not remove.
    pub stuck_segments: u64,
    /// Writes that failed because the disk was full.
    pub disk_full: u64,
    /// Writes that failed for another reason.
    pub write_errors: u64,
}

impl Spool {
    /// Opens `writer`'s lanes in `dir`, both made when missing, and cuts torn last lines.
    ///
    /// writer: lower-case letters, digits and `_`. max_bytes: bound of the whole spool, all writers' lanes
    /// together; all must name the same. Errors name the file: the writer's lanes are in use by another process,
    /// the bound is too small, or the system refused. A full disk is an error only where
    /// there was no spool before.
    pub fn open(dir: &Path, writer: &str, max_bytes: u64) -> io::Result<Self> {
        check_settings(writer, max_bytes)?;
        make_directory(dir)?;
        let lock = lock(&dir.join(format!("{writer}.lock")), writer)?;
        let epoch = epoch(dir, writer)?;
        let segment_bytes = (max_bytes / PARTS).min(SEGMENT_MAX_BYTES);
        let lanes = std::array::from_fn(|lane| {
            Lane::new(dir.join(format!("{writer}-{}", lane + 1)), segment_bytes)
        });
        let stats = SpoolStats::default();
        let mut spool = Self {
            dir: dir.to_owned(),
            max_bytes,
            segment_bytes,
            epoch,
            lanes,
            stats,
            _lock: lock,
        };
        spool.enforce_bound();
        for index in 0..LANES {
            match spool.retrying(index, Lane::open) {
                Err(error) if !is_full(&error) => {
                    return Err(named(&error, &spool.lanes[index].dir))
                }
                _ => {}
            }
        }
        Ok(spool)
    }

    /// Gives this writer's lanes to the user the process is about to become, who must be let into the spool
    /// directory (by its group, say) but should not be let write there.
    pub fn give_to(&self, uid: u32, gid: u32) -> io::Result<()> {
        self.lanes.iter().try_for_each(|lane| {
            lane.give_to(uid, gid)
                .map_err(|error| named(&error, &lane.dir))
        })
    }

    /// The spool's UUID; with lane and number it names an event for ever.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Takes one JSON line, without its newline; returns the number it has in its lane. [`Spool::flush`] writes it.
    ///
    /// Errors: `InvalidInput` for a line that can be no record (empty, with a newline in it, longer than a
    /// segment), which must not be tried again; any other when there is no room now, in memory or on disk.
    pub fn append(&mut self, severity: Severity, line: &[u8]) -> io::Result<u64> {
        let index = severity.lane();
        if line.is_empty() || line.contains(&b'\n') || line.len() as u64 >= self.segment_bytes {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "not one line, or longer than a segment",
            ));
        }
        if !self.lanes[index].has_room(line.len()) {
            self.write_lane(index)?;
            self.rotate(index)?;
        }
        Ok(self.lanes[index].push(line))
    }

    /// Appends a line and writes it at once; when that fails the line is not in the spool.
    pub fn append_now(&mut self, severity: Severity, line: &[u8]) -> io::Result<u64> {
        let number = self.append(severity, line)?;
        let index = severity.lane();
        self.write_lane(index)
            .inspect_err(|_| self.lanes[index].take_back(line.len()))?;
        Ok(number)
    }

    /// Writes what was appended; what cannot be written now is kept and tried again next time.
    pub fn flush(&mut self) -> io::Result<()> {
        let results: [io::Result<()>; LANES] = std::array::from_fn(|index| self.write_lane(index));
        results.into_iter().collect()
    }

    /// Puts what was written on the disk.
    pub fn sync(&mut self) -> io::Result<()> {
        let results: [io::Result<()>; LANES] =
            std::array::from_fn(|index| self.lanes[index].sync());
        let failed = results.iter().filter(|result| result.is_err()).count();
        self.stats.write_errors += failed as u64;
        results.into_iter().collect()
    }

    /// The counters.
    pub fn stats(&self) -> SpoolStats {
        self.stats
    }

    fn write_lane(&mut self, index: usize) -> io::Result<()> {
        let before = self.lanes[index].written();
        let result = self.retrying(index, Lane::write);
        let (records, bytes) = self.lanes[index].written();
        self.stats.written_records += records - before.0;
        self.stats.written_bytes += bytes - before.1;
        result
    }

    fn rotate(&mut self, index: usize) -> io::Result<()> {
        self.retrying(index, Lane::rotate)?;
        self.enforce_bound();
        Ok(())
    }

    /// Does something to a lane; while the disk is full, makes room and does it again. Counts failures.
    fn retrying(&mut self, index: usize, act: fn(&mut Lane) -> io::Result<()>) -> io::Result<()> {
        loop {
            let Err(error) = act(&mut self.lanes[index]) else {
                return Ok(());
            };
            if !is_full(&error) {
                self.stats.write_errors += 1;
                return Err(error);
            }
            self.stats.disk_full += 1;
            // Never a more severe event for a less severe one.
            let severities = index as u8 + 1..=LANES as u8;
            let evicted = Inventory::read(&self.dir)?.evict_one(severities, &mut self.stats);
            if !evicted {
                return Err(error);
            }
        }
    }

    /// Evicts until all lanes together are under the bound, each newest segment counted as if it were full.
    fn enforce_bound(&mut self) {
        match Inventory::read(&self.dir) {
            Ok(mut inventory) => {
                while inventory.size_with_newest_at(self.segment_bytes) > self.max_bytes {
                    if !inventory.evict_one(1..=LANES as u8, &mut self.stats) {
                        break;
                    }
                }
            }
            // The next rotation tries again.
            Err(_) => self.stats.write_errors += 1,
        }
    }
}

fn check_settings(writer: &str, max_bytes: u64) -> io::Result<()> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if writer.is_empty() || !writer.bytes().all(good) {
        let reason = format!("spool writer {writer:?}: use lower-case letters, digits and _");
        return Err(io::Error::new(ErrorKind::InvalidInput, reason));
    }
    if max_bytes < SPOOL_MIN_BYTES {
        let reason = format!("spool of {max_bytes} bytes: give it at least {SPOOL_MIN_BYTES}");
        return Err(io::Error::new(ErrorKind::InvalidInput, reason));
    }
    Ok(())
}

fn make_directory(dir: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(dir)
        .map_err(|error| named(&error, dir))
}

/// Locks a writer's lanes.
///
/// Waits a moment for the lock: a child that another thread is just starting holds a copy of the descriptor until
/// it becomes its own program, so a lock can outlive the writer that had it.
fn lock(path: &Path, writer: &str) -> io::Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(FILE_MODE)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path);
    let file = file.map_err(|error| named(&error, path))?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
            Err(Errno::WOULDBLOCK) => {
                let reason = format!(
                    "spool writer {writer:?} is in use by another process ({})",
                    path.display()
                );
                return Err(io::Error::new(ErrorKind::WouldBlock, reason));
            }
            Err(error) => return Err(named(&error.into(), path)),
        }
    }
}

/// A random UUID and a newline. Not the kernel's file below /proc/sys, which a sandbox may hide.
///
/// Source: RFC 9562, 5.4.
fn random_uuid() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let [a, b, c, d, e] = [
        &bytes[..4],
        &bytes[4..6],
        &bytes[6..8],
        &bytes[8..10],
        &bytes[10..],
    ]
    .map(|part| {
        part.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    });
    Ok(format!("{a}-{b}-{c}-{d}-{e}\n"))
}

/// The spool's UUID, made by whoever comes first; complete on disk before it has its name.
fn epoch(dir: &Path, writer: &str) -> io::Result<String> {
    let path = dir.join("epoch");
    let made = dir.join(format!("{writer}.epoch"));
    if !path.exists() {
        let uuid = random_uuid()?;
        // One may be left from a process that was killed here; the writer's lock is ours.
        let _ = fs::remove_file(&made);
        let mut file = OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(FILE_MODE)
            .open(&made)
            .map_err(|error| named(&error, &made))?;
        file.write_all(uuid.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(|error| named(&error, &made))?;
        match fs::hard_link(&made, &path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(named(&error, &path))
            }
            _ => {}
        }
        fs::remove_file(&made)?;
        sync_directory(dir)?;
    }
    let text = fs::read_to_string(&path).map_err(|error| named(&error, &path))?;
    let text = text.trim();
    if text.len() != 36
        || !text
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
    {
        let reason = format!(
            "{}: not a UUID; move the spool away to start a new one",
            path.display()
        );
        return Err(io::Error::new(ErrorKind::InvalidData, reason));
    }
    Ok(text.to_owned())
}

fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
}

fn named(error: &io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
