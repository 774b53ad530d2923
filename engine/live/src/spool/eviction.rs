use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{lane, SpoolStats};

/// What all lanes of a spool hold, as it was when it was read.
#[derive(Debug)]
pub(super) struct Inventory {
    lanes: Vec<LaneFiles>,
}

#[derive(Debug)]
struct LaneFiles {
    severity: u8,
    /// Oldest first; the newest is not among them.
    closed: VecDeque<Closed>,
}

#[derive(Debug)]
struct Closed {
    path: PathBuf,
    records: u64,
    bytes: u64,
    modified: SystemTime,
}

impl Inventory {
    pub(super) fn read(dir: &Path) -> io::Result<Self> {
        let mut lanes = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let severity = entry.file_name().to_str().and_then(severity);
            if let (Some(severity), true) = (severity, entry.file_type()?.is_dir()) {
                lanes.push(LaneFiles {
                    severity,
                    closed: closed(&entry.path())?,
                });
            }
        }
        Ok(Self { lanes })
    }

    /// Bytes of all segments, if each lane's newest were `newest` bytes.
    pub(super) fn size_with_newest_at(&self, newest: u64) -> u64 {
        let closed: u64 = self
            .lanes
            .iter()
            .flat_map(|lane| &lane.closed)
            .map(|segment| segment.bytes)
            .sum();
        closed + self.lanes.len() as u64 * newest
    }

    /// Removes the oldest closed segment of the least severe lanes within `severities`; returns whether one went,
    /// by us or by another process meanwhile.
    pub(super) fn evict_one(
        &mut self,
        severities: RangeInclusive<u8>,
        stats: &mut SpoolStats,
    ) -> bool {
        loop {
            let candidates = self
                .lanes
                .iter_mut()
                .filter(|lane| severities.contains(&lane.severity));
            let victim = candidates
                .filter_map(|lane| {
                    let oldest = lane.closed.front()?.modified;
                    Some((std::cmp::Reverse(lane.severity), oldest, lane))
                })
                .min_by_key(|(severity, oldest, _)| (*severity, *oldest));
            let Some(segment) = victim.and_then(|(_, _, lane)| lane.closed.pop_front()) else {
                return false;
            };
            match fs::remove_file(&segment.path) {
                Ok(()) => {
                    stats.evicted_segments += 1;
                    stats.evicted_records += segment.records;
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::NotFound => return true,
                // Another user's lane that we may not touch: its owner evicts it. We take the next.
                Err(_) => stats.stuck_segments += 1,
            }
        }
    }
}

/// The severity in a lane's name, WRITER-SEVERITY.
fn severity(name: &str) -> Option<u8> {
    match name.rsplit_once('-')? {
        (_, severity @ ("1" | "2" | "3" | "4")) => severity.parse().ok(),
        _ => None,
    }
}

fn closed(dir: &Path) -> io::Result<VecDeque<Closed>> {
    let segments = match lane::segments(dir) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::PermissionDenied
            ) =>
        {
            Vec::new()
        }
        other => other?,
    };
    let mut closed = VecDeque::new();
    for pair in segments.windows(2) {
        let [(first, path), (next, _)] = pair else {
            continue;
        };
        match fs::symlink_metadata(path) {
            Ok(found) => closed.push_back(Closed {
                path: path.clone(),
                records: next - first,
                bytes: found.len(),
                modified: found.modified()?,
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(closed)
}
