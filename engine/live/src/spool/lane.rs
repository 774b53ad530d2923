use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::{fchown, DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{sync_directory, DIRECTORY_MODE, FILE_MODE, SEGMENT_MAX_BYTES};
use crate::notice::unix_ns;

/// The segments of a lane, oldest first, as (first number, path). Other files are not looked at.
pub(super) fn segments(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut list = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(first) = entry.file_name().to_str().and_then(first_number) {
            list.push((first, entry.path()));
        }
    }
    list.sort_unstable();
    Ok(list)
}

fn first_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".eve")?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())?
}

/// One lane of one writer: the newest segment, and lines not yet in it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) dir: PathBuf,
    segment_bytes: u64,
    /// `None` until the directory could be opened, and after a failure that may have left a torn line.
    segment: Option<Segment>,
    /// Whole lines, each with its newline.
    pending: Vec<u8>,
    pending_records: u64,
    written_records: u64,
    written_bytes: u64,
}

#[derive(Debug)]
struct Segment {
    file: File,
    first: u64,
    records: u64,
    bytes: u64,
    unsynced: bool,
}

impl Lane {
    pub(super) fn new(dir: PathBuf, segment_bytes: u64) -> Self {
        Self {
            dir,
            segment_bytes,
            segment: None,
            pending: Vec::new(),
            pending_records: 0,
            written_records: 0,
            written_bytes: 0,
        }
    }

    pub(super) fn give_to(&self, uid: u32, gid: u32) -> io::Result<()> {
        fchown(&open_directory(&self.dir)?, Some(uid), Some(gid))?;
        self.segment.as_ref().map_or(Ok(()), |segment| {
            fchown(&segment.file, Some(uid), Some(gid))
        })
    }

    /// (records, bytes) written since the lane was made.
    pub(super) fn written(&self) -> (u64, u64) {
        (self.written_records, self.written_bytes)
    }

    /// Opens the newest segment and cuts its torn last line; makes directory and segment when there are none.
    pub(super) fn open(&mut self) -> io::Result<()> {
        if self.segment.is_some() {
            return Ok(());
        }
        let fresh = match DirBuilder::new().mode(DIRECTORY_MODE).create(&self.dir) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error),
        };
        self.segment = Some(match segments(&self.dir)?.pop() {
            Some((first, path)) => Segment::reopen(first, &path)?,
            None if fresh => Segment::create(&self.dir, 0)?,
            // Somebody removed even the newest segment. Microseconds of Unix time are past any number used so far,
            // as no lane gets a million records a second: better a jump, which shows as a loss, than a repetition.
            None => Segment::create(&self.dir, unix_ns() / 1_000)?,
        });
        Ok(())
    }

    /// Whether a line of `length` bytes fits into the newest segment behind what is pending.
    pub(super) fn has_room(&self, length: usize) -> bool {
        let used = |segment: &Segment| segment.bytes + self.pending.len() as u64;
        self.segment
            .as_ref()
            .is_some_and(|segment| used(segment) + (length as u64) < self.segment_bytes)
    }

    /// Adds a line that fits; returns its number.
    pub(super) fn push(&mut self, line: &[u8]) -> u64 {
        let number = self.segment.as_ref().map_or(0, Segment::next) + self.pending_records;
        self.pending.extend_from_slice(line);
        self.pending.push(b'\n');
        self.pending_records += 1;
        number
    }

    /// Forgets the last line pushed, of `length` bytes, which is still pending.
    pub(super) fn take_back(&mut self, length: usize) {
        self.pending
            .truncate(self.pending.len().saturating_sub(length + 1));
        self.pending_records = self.pending_records.saturating_sub(1);
    }

    /// Writes the pending lines. On an error the file ends with a whole line, and the others stay pending.
    pub(super) fn write(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.open()?;
        let Some(segment) = &mut self.segment else {
            return Ok(());
        };
        let (written, result) = write_counting(&mut segment.file, &self.pending);
        let whole = self.pending[..written]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let records = self.pending[..whole]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count() as u64;
        segment.bytes += whole as u64;
        segment.records += records;
        segment.unsynced |= whole > 0;
        let cut = if written > whole {
            segment.file.set_len(segment.bytes)
        } else {
            Ok(())
        };
        self.written_bytes += whole as u64;
        self.written_records += records;
        self.pending_records -= records;
        self.pending.drain(..whole);
        if cut.is_err() {
            // Opening it again cuts the torn line, or fails until that is possible.
            self.segment = None;
        }
        result
    }

    /// Begins the next segment. Call with nothing pending; an empty segment is kept instead.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        self.open()?;
        if self
            .segment
            .as_ref()
            .is_some_and(|segment| segment.records == 0)
        {
            return Ok(());
        }
        self.sync()?;
        let next = self.segment.as_ref().map_or(0, Segment::next);
        if !self.dir.exists() {
            DirBuilder::new().mode(DIRECTORY_MODE).create(&self.dir)?;
        }
        self.segment = Some(Segment::create(&self.dir, next)?);
        Ok(())
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        if let Some(segment) = self.segment.as_mut().filter(|segment| segment.unsynced) {
            segment.file.sync_data()?;
            segment.unsynced = false;
        }
        Ok(())
    }
}

impl Segment {
    fn next(&self) -> u64 {
        self.first + self.records
    }

    fn create(dir: &Path, first: u64) -> io::Result<Self> {
        let path = dir.join(format!("{first:020}.eve"));
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(path)?;
        sync_directory(dir)?;
        Ok(Self {
            file,
            first,
            records: 0,
            bytes: 0,
            unsynced: false,
        })
    }

    fn reopen(first: u64, path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)?;
        let found = file.metadata()?;
        // Whoever owns the lane must not lead root to cut and append to another file.
        if !found.is_file() || found.nlink() != 1 || found.len() > SEGMENT_MAX_BYTES {
            let reason = format!(
                "{}: not a segment of ours; move the lane away",
                path.display()
            );
            return Err(io::Error::new(ErrorKind::InvalidData, reason));
        }
        let (records, bytes) = whole_lines(&mut BufReader::new(&file))?;
        if found.len() != bytes {
            file.set_len(bytes)?;
            file.sync_all()?;
        }
        Ok(Self {
            file,
            first,
            records,
            bytes,
            unsynced: false,
        })
    }
}

/// How many lines end in a newline, and the bytes up to the last.
fn whole_lines(reader: &mut impl BufRead) -> io::Result<(u64, u64)> {
    let (mut records, mut whole, mut seen) = (0, 0, 0);
    loop {
        let part = reader.fill_buf()?;
        let length = part.len();
        if length == 0 {
            return Ok((records, whole));
        }
        records += part.iter().filter(|byte| **byte == b'\n').count() as u64;
        if let Some(last) = part.iter().rposition(|byte| *byte == b'\n') {
            whole = seen + last as u64 + 1;
        }
        seen += length as u64;
        reader.consume(length);
    }
}

fn open_directory(dir: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY)
        .open(dir)
}

/// Like `write_all`, but tells how far it got.
fn write_counting(file: &mut File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}
