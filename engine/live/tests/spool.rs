//! The spool as its readers see it: files.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use live::{Severity, Spool};
use proptest::prelude::*;

const SMALL: u64 = 128 << 10;
/// What the writer makes of SMALL.
const SEGMENT: u64 = SMALL / 32;

fn open(dir: &Path) -> Spool {
    Spool::open(dir, "inspector", SMALL).unwrap()
}

/// Segments of a lane by first number.
fn segments(dir: &Path, lane: &str) -> BTreeMap<u64, PathBuf> {
    let Ok(entries) = fs::read_dir(dir.join(lane)) else {
        return BTreeMap::new();
    };
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            (
                path.file_stem().unwrap().to_str().unwrap().parse().unwrap(),
                path,
            )
        })
        .collect()
}

/// Records of a lane by number; panics on a torn line.
fn records(dir: &Path, lane: &str) -> BTreeMap<u64, String> {
    let mut found = BTreeMap::new();
    for (first, path) in segments(dir, lane) {
        let text = fs::read_to_string(path).unwrap();
        assert!(
            text.is_empty() || text.ends_with('\n'),
            "torn line in {lane}"
        );
        for (line, number) in text.lines().zip(first..) {
            assert_eq!(
                found.insert(number, line.to_owned()),
                None,
                "number {number} twice"
            );
        }
    }
    found
}

fn size(dir: &Path) -> u64 {
    let lanes = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    lanes
        .filter(|path| path.is_dir())
        .flat_map(|lane| fs::read_dir(lane).unwrap())
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

fn write(spool: &mut Spool, severity: u8, line: &str) -> u64 {
    spool
        .append_now(Severity::new(severity), line.as_bytes())
        .unwrap()
}

#[test]
fn a_record_is_found_under_its_lane_and_number() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    assert_eq!(write(&mut spool, 1, "{\"a\":1}"), 0);
    assert_eq!(write(&mut spool, 1, "{\"a\":2}"), 1);
    assert_eq!(write(&mut spool, 3, "{\"b\":1}"), 0);
    let found = records(dir.path(), "inspector-1");
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        [(0, "{\"a\":1}".into()), (1, "{\"a\":2}".into())]
    );
    assert!(dir
        .path()
        .join("inspector-3/00000000000000000000.eve")
        .exists());
}

#[test]
fn the_epoch_is_made_once_and_shared_by_writers() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let other = Spool::open(dir.path(), "control", SMALL).unwrap();
    assert_eq!(first.epoch(), other.epoch());
    assert_eq!(
        fs::read_to_string(dir.path().join("epoch")).unwrap().trim(),
        first.epoch()
    );
}

#[test]
fn refuses_what_it_could_not_keep_apart_or_hold() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let long = vec![b'x'; SEGMENT as usize];
    for line in [&b""[..], b"a\nb", b"\n", &long] {
        let error = spool.append(Severity::MOST, line).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    spool.append(Severity::MOST, &long[1..]).unwrap();
    for (writer, bytes) in [
        ("", SMALL),
        ("a-b", SMALL),
        ("../x", SMALL),
        ("ok", SMALL - 1),
    ] {
        let error = Spool::open(dir.path(), writer, bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_second_process_cannot_write_the_same_lanes() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let error = Spool::open(dir.path(), "inspector", SMALL).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(
        error.to_string().contains("in use by another process"),
        "{error}"
    );
    drop(first);
    open(dir.path());
}

#[test]
fn every_torn_end_of_a_file_is_cut_and_numbering_goes_on() {
    let whole = "{\"n\":0}\n{\"n\":1}\n{\"n\":2}\n";
    for end in 0..=whole.len() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        let path = dir.path().join("inspector-2/00000000000000000000.eve");
        fs::write(&path, &whole[..end]).unwrap();
        let kept = whole[..end].matches('\n').count() as u64;
        assert_eq!(
            write(&mut open(dir.path()), 2, "{\"n\":9}"),
            kept,
            "after {end} bytes"
        );
        let found = records(dir.path(), "inspector-2");
        assert_eq!(found.len() as u64, kept + 1);
        assert_eq!(found[&kept], "{\"n\":9}");
    }
}

#[test]
fn zeros_that_a_power_failure_left_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    write(&mut open(dir.path()), 1, "{}");
    let path = dir.path().join("inspector-1/00000000000000000000.eve");
    OpenOptions::new()
        .append(true)
        .open(path)
        .unwrap()
        .write_all(&[0; 5000])
        .unwrap();
    assert_eq!(write(&mut open(dir.path()), 1, "{}"), 1);
    assert_eq!(records(dir.path(), "inspector-1").len(), 2);
}

#[test]
fn the_bound_holds_and_the_least_severe_oldest_events_go_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut inspector = open(dir.path());
    let mut control = Spool::open(dir.path(), "control", SMALL).unwrap();
    let line = "x".repeat(99);
    for _ in 0..200 {
        write(&mut inspector, 1, &line);
    }
    let mut written = 0;
    for round in 0..4000 {
        let spool = if round % 2 == 0 {
            &mut inspector
        } else {
            &mut control
        };
        write(spool, 4, &line);
        written += 1;
        assert!(size(dir.path()) <= SMALL);
    }
    assert_eq!(
        records(dir.path(), "inspector-1").len(),
        200,
        "a severe event went before a less severe one"
    );
    let kept = records(dir.path(), "inspector-4").len() + records(dir.path(), "control-4").len();
    let evicted = inspector.stats().evicted_records + control.stats().evicted_records;
    assert!(evicted > 0);
    assert_eq!(kept as u64 + evicted, written, "every loss is counted");
    for lane in ["inspector-4", "control-4"] {
        let found = records(dir.path(), lane);
        let (first, last) = (found.keys().next().unwrap(), found.keys().last().unwrap());
        assert_eq!(
            last - first + 1,
            found.len() as u64,
            "the oldest went, nothing from the middle"
        );
    }
}

#[test]
fn numbers_go_on_after_everything_was_delivered_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let line = "y".repeat(500);
    let mut next = 0;
    for _ in 0..5 {
        let mut spool = open(dir.path());
        for _ in 0..30 {
            assert_eq!(write(&mut spool, 4, &line), next);
            next += 1;
        }
        drop(spool);
        // What a reader may do: remove all but the newest.
        let files = segments(dir.path(), "inspector-4");
        for path in files.values().take(files.len() - 1) {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_lane_emptied_by_hand_starts_far_past_its_old_numbers() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..10 {
        write(&mut open(dir.path()), 4, "{}");
    }
    for path in segments(dir.path(), "inspector-4").values() {
        fs::remove_file(path).unwrap();
    }
    assert!(write(&mut open(dir.path()), 4, "{}") > 1_000_000_000);
}

#[test]
fn two_processes_that_evict_at_once_lose_nothing_uncounted() {
    let dir = tempfile::tempdir().unwrap();
    let writers = ["one", "two", "three"];
    let line = "z".repeat(99);
    let (written, evicted) = std::thread::scope(|scope| {
        let threads = writers.map(|writer| {
            let (dir, line) = (dir.path(), &line);
            scope.spawn(move || {
                let mut spool = Spool::open(dir, writer, SMALL).unwrap();
                for round in 0..3000u32 {
                    write(&mut spool, 3 + (round % 2) as u8, line);
                }
                (spool.stats().written_records, spool.stats().evicted_records)
            })
        });
        threads
            .map(|thread| thread.join().unwrap())
            .iter()
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    let lanes = writers
        .iter()
        .flat_map(|writer| [3, 4].map(|severity| format!("{writer}-{severity}")));
    let kept: usize = lanes.map(|lane| records(dir.path(), &lane).len()).sum();
    assert_eq!(written, 9000);
    assert_eq!(kept as u64 + evicted, written);
    assert!(size(dir.path()) <= SMALL);
}

#[test]
fn a_lane_whose_owner_planted_something_else_is_refused_and_that_is_left_alone() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("shadow");
    let plant: [fn(&Path, &Path); 4] = [
        |target, segment| std::os::unix::fs::symlink(target, segment).unwrap(),
        |target, segment| fs::hard_link(target, segment).unwrap(),
        |_, segment| fs::create_dir(segment).unwrap(),
        // As long as can be, and no bytes on the disk.
        |_, segment| fs::File::create(segment).unwrap().set_len(1 << 40).unwrap(),
    ];
    for plant in plant {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        fs::write(&target, "root:no newline here").unwrap();
        let segment = dir.path().join("inspector-1/00000000000000000000.eve");
        fs::remove_file(&segment).unwrap();
        plant(&target, &segment);
        let error = Spool::open(dir.path(), "inspector", SMALL).unwrap_err();
        assert!(error.to_string().contains("inspector-1"), "{error}");
        assert_eq!(fs::read_to_string(&target).unwrap(), "root:no newline here");
        fs::remove_file(&target).unwrap();
    }
}

/// A file system of its own that is soon full; `None`, with the reason printed, without the right to mount one.
struct TinyDisk(tempfile::TempDir);

impl TinyDisk {
    fn new(kib: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={kib}k");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "none"])
            .arg(dir.path())
            .output();
        match mount {
            Ok(done) if done.status.success() => Some(Self(dir)),
            other => {
                println!("skipped: cannot mount a small file system: {other:?}");
                None
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("spool")
    }

    /// Fills what is free.
    fn ballast(&self) -> PathBuf {
        let path = self.0.path().join("ballast");
        let mut file = fs::File::create(&path).unwrap();
        while file.write_all(&[1; 1024]).is_ok() {}
        path
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        Command::new("umount").arg(self.0.path()).status().unwrap();
    }
}

#[test]
fn a_full_disk_costs_the_least_severe_events_first_and_never_whole_lines_written() {
    let Some(disk) = TinyDisk::new(64) else {
        return;
    };
    let mut spool = open(&disk.path());
    let line = "d".repeat(200);
    let mut accepted = [0u64; 2];
    for _ in 0..400 {
        for (slot, severity) in [(0, 1), (1, 4)] {
            if spool
                .append_now(Severity::new(severity), line.as_bytes())
                .is_ok()
            {
                accepted[slot] += 1;
            }
        }
    }
    let stats = spool.stats();
    assert!(stats.disk_full > 0 && stats.evicted_records > 0);
    let kept = [
        records(&disk.path(), "inspector-1"),
        records(&disk.path(), "inspector-4"),
    ];
    assert_eq!(stats.written_records, accepted[0] + accepted[1]);
    assert_eq!(
        (kept[0].len() + kept[1].len()) as u64 + stats.evicted_records,
        stats.written_records
    );
    assert!(
        kept[0].len() > kept[1].len(),
        "severe events were kept longer: {}, {}",
        kept[0].len(),
        kept[1].len()
    );
    for found in kept {
        assert!(found.values().all(|found| *found == line));
    }
}

#[test]
fn what_a_full_disk_kept_waiting_is_written_once_there_is_room_with_no_number_twice() {
    let Some(disk) = TinyDisk::new(64) else {
        return;
    };
    // Segments of several pages, so that the newest one needs room on the disk before there is one to evict.
    let mut spool = Spool::open(&disk.path(), "inspector", 4 * SMALL).unwrap();
    write(&mut spool, 2, "{\"n\":0}");
    let ballast = disk.ballast();
    let mut numbers = Vec::new();
    for _ in 0..1000 {
        match spool.append(Severity::new(2), &[b'w'; 100]) {
            Ok(number) => numbers.push(number),
            Err(error) => assert_eq!(error.raw_os_error(), Some(28), "{error}"),
        }
    }
    spool.flush().unwrap_err();
    fs::remove_file(ballast).unwrap();
    spool.flush().unwrap();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert_eq!(
        records(&disk.path(), "inspector-2").len(),
        numbers.len() + 1
    );
}

#[test]
fn opens_on_a_full_disk_and_writes_later() {
    let Some(disk) = TinyDisk::new(64) else {
        return;
    };
    write(&mut open(&disk.path()), 1, "{}");
    let ballast = disk.ballast();
    let mut spool = open(&disk.path());
    fs::remove_file(ballast).unwrap();
    assert_eq!(write(&mut spool, 1, "{}"), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Append {
        severity: u8,
        length: usize,
    },
    Flush,
    /// The process dies with what it had not flushed, and a write was torn.
    Crash {
        torn: usize,
    },
    /// The reader deletes delivered segments, all but the newest.
    Deliver {
        lane: u8,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (1u8..=4, 1usize..1500).prop_map(|(severity, length)| Step::Append { severity, length }),
        2 => Just(Step::Flush),
        1 => (0usize..300).prop_map(|torn| Step::Crash { torn }),
        1 => (1u8..=4).prop_map(|lane| Step::Deliver { lane }),
    ];
    proptest::collection::vec(step, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever happens, a number never means two different lines, nothing is torn, and the bound holds.
    #[test]
    fn a_number_means_one_line_for_ever(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = open(dir.path());
        let mut seen: BTreeMap<(u8, u64), String> = BTreeMap::new();
        for (serial, step) in steps.into_iter().enumerate() {
            match step {
                Step::Append { severity, length } => {
                    let line = format!("{serial}:{}", "x".repeat(length));
                    spool.append(Severity::new(severity), line.as_bytes()).unwrap();
                }
                Step::Flush => spool.flush().unwrap(),
                Step::Crash { torn } => {
                    drop(spool);
                    let (_, newest) = segments(dir.path(), "inspector-4").pop_last().unwrap();
                    let mut file = OpenOptions::new().append(true).open(newest).unwrap();
                    file.write_all(&vec![b't'; torn]).unwrap();
                    spool = open(dir.path());
                }
                Step::Deliver { lane } => {
                    let mut files = segments(dir.path(), &format!("inspector-{lane}"));
                    files.pop_last();
                    files.values().for_each(|path| fs::remove_file(path).unwrap());
                }
            }
            for lane in 1..=4 {
                for (number, line) in records(dir.path(), &format!("inspector-{lane}")) {
                    let first = seen.entry((lane, number)).or_insert_with(|| line.clone());
                    prop_assert_eq!(&*first, &line);
                }
            }
            prop_assert!(size(dir.path()) <= SMALL);
        }
    }
}

#[test]
fn reopening_outlasts_a_child_process_that_is_being_started_with_the_old_lock() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let children = scope.spawn(|| {
            for _ in 0..300 {
                Command::new("true").status().unwrap();
            }
        });
        while !children.is_finished() {
            drop(open(dir.path()));
        }
    });
}
