use proptest::prelude::*;

use super::pcapng::MAX_BLOCK_BYTES;
use super::*;

const PACKETS: [(u32, u32, &[u8]); 3] =
    [(1, 2, b"first"), (3, 999_999, b""), (4, 5, b"third packet")];

fn u32s(big: bool, values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| {
            if big {
                value.to_be_bytes()
            } else {
                value.to_le_bytes()
            }
        })
        .collect()
}

fn pcap(magic: u32, big: bool, link: u32) -> Vec<u8> {
    let mut file = u32s(
        big,
        &[
            magic,
            if big { 0x0002_0004 } else { 0x0004_0002 },
            0,
            0,
            65535,
            link,
        ],
    );
    for (seconds, ticks, data) in PACKETS {
        file.extend(u32s(big, &[seconds, ticks, data.len() as u32, 1000]));
        file.extend_from_slice(data);
    }
    file
}

fn block(big: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let total = body.len() as u32 + 12;
    [u32s(big, &[kind, total]), body, u32s(big, &[total])].concat()
}

fn section(big: bool) -> Vec<u8> {
    let version = if big { [0, 1, 0, 0] } else { [1, 0, 0, 0] };
    block(
        big,
        0x0a0d_0d0a,
        &[&u32s(big, &[0x1a2b_3c4d])[..], &version, &[0xff; 8]].concat(),
    )
}

/// An interface block; options are (code, value).
fn interface(big: bool, link: u16, snaplen: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
    let u16s = |value: u16| {
        if big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let mut body = [&u16s(link)[..], &[0, 0], &u32s(big, &[snaplen])].concat();
    for (code, value) in options {
        body.extend([u16s(*code), u16s(value.len() as u16)].concat());
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    block(big, 1, &body)
}

fn enhanced(big: bool, interface: u32, ticks: u64, data: &[u8]) -> Vec<u8> {
    let header = [
        interface,
        (ticks >> 32) as u32,
        ticks as u32,
        data.len() as u32,
        1000,
    ];
    block(big, 6, &[u32s(big, &header), data.to_vec()].concat())
}

/// A record that outlives its reader.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    link_type: u32,
    timestamp_ns: u64,
    original_bytes: u32,
    data: Vec<u8>,
}

fn read(file: &[u8]) -> (Vec<Kept>, Option<CaptureError>) {
    let read = read_from(file);
    assert_eq!(read, read_from(Trickle(file)), "whatever the pieces");
    read
}

fn read_from(file: impl Read) -> (Vec<Kept>, Option<CaptureError>) {
    let mut records = Vec::new();
    let mut reader = match CaptureReader::new(file) {
        Ok(reader) => reader,
        Err(error) => return (records, Some(error)),
    };
    while let Some(item) = reader.next_record() {
        match item {
            Ok(record) => records.push(Kept {
                link_type: record.link_type,
                timestamp_ns: record.timestamp_ns,
                original_bytes: record.original_bytes,
                data: record.data.to_vec(),
            }),
            Err(error) => {
                assert!(reader.next_record().is_none(), "nothing follows an error");
                return (records, Some(error));
            }
        }
    }
    (records, None)
}

/// Gives a few bytes a call, as a pipe does.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let some = self.0.len().min(buffer.len()).min(5);
        self.0.read(&mut buffer[..some])
    }
}

/// Fails once its bytes were read.
struct Broken<'a>(&'a [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::other("the disk is gone")),
            some => Ok(some),
        }
    }
}

#[test]
fn reads_pcap_in_both_byte_orders_and_resolutions() {
    for (magic, ns_per_tick) in [(0xa1b2_c3d4, 1000), (0xa1b2_3c4d, 1)] {
        for big in [false, true] {
            // The upper bits say that frames carry a 4-byte check sequence.
            let file = pcap(magic, big, 0x3000_0001);
            let (records, error) = read(&file);
            assert_eq!(error, None);
            for (record, (seconds, ticks, data)) in records.iter().zip(PACKETS) {
                let timestamp_ns =
                    u64::from(seconds) * 1_000_000_000 + u64::from(ticks) * ns_per_tick;
                assert_eq!(
                    *record,
                    Kept {
                        link_type: 1,
                        timestamp_ns,
                        original_bytes: 1000,
                        data: data.to_vec()
                    }
                );
            }
            assert_eq!(records.len(), 3);
        }
    }
}

#[test]
fn reads_the_longer_record_headers_of_old_linux_captures() {
    let mut file = u32s(false, &[0xa1b2_cd34, 0x0004_0002, 0, 0, 65535, 1]);
    file.extend(u32s(false, &[7, 0, 3, 3, 99, 99]));
    file.extend_from_slice(b"abc");
    let (records, error) = read(&file);
    assert_eq!(
        (&records[0].data[..], records.len(), error),
        (&b"abc"[..], 1, None)
    );
}

#[test]
fn every_cut_of_a_pcap_yields_what_is_there_and_then_says_so() {
    let file = pcap(0xa1b2_c3d4, false, 1);
    let whole = read(&file).0;
    let ends = [24, 24 + 16 + 5, 24 + 32 + 5, 24 + 48 + 17];
    for length in 0..file.len() {
        let (records, error) = read(&file[..length]);
        match length {
            ..4 => assert_eq!(error, Some(CaptureError::UnknownFormat)),
            4..24 => assert_eq!(error, Some(CaptureError::Truncated { at: 0 })),
            _ => {
                let complete = ends.iter().filter(|end| **end <= length).count() - 1;
                let cut = length - ends[complete];
                assert_eq!(&records[..complete], &whole[..complete]);
                assert_eq!(records.len(), complete + usize::from(cut >= 16), "{length}");
                assert_eq!(
                    error,
                    (cut > 0).then_some(CaptureError::Truncated {
                        at: ends[complete] as u64
                    })
                );
                if cut >= 16 {
                    assert_eq!(records[complete].data, &whole[complete].data[..cut - 16]);
                }
            }
        }
    }
}

#[test]
fn reads_pcapng_with_several_interfaces_sections_and_byte_orders() {
    let mut file = Vec::new();
    for big in [false, true] {
        let offset = if big {
            10u64.to_be_bytes()
        } else {
            10u64.to_le_bytes()
        };
        file.extend(section(big));
        file.extend(block(big, 0x0bad, b"an unknown block"));
        file.extend(interface(big, 1, 0, &[]));
        file.extend(interface(
            big,
            101,
            4,
            &[(2, b"eth0"), (9, &[9]), (14, &offset), (0, b"")],
        ));
        file.extend(interface(big, 113, 0, &[(9, &[0x81])]));
        file.extend(enhanced(big, 0, 5_000_001, b"micro"));
        file.extend(enhanced(big, 1, 5_000_000_001, b"nano"));
        file.extend(enhanced(big, 2, 3, b"half seconds"));
        file.extend(block(big, 3, &[&u32s(big, &[6])[..], b"simple"].concat()));
    }
    let (records, error) = read(&file);
    let wanted = [
        (1, 5_000_001_000, &b"micro"[..]),
        (101, 15_000_000_001, b"nano"),
        (113, 1_500_000_000, b"half seconds"),
        (1, 0, b"simple"),
    ];
    let seen: Vec<_> = records
        .iter()
        .map(|record| (record.link_type, record.timestamp_ns, &record.data[..]))
        .collect();
    assert_eq!((seen, error), (wanted.repeat(2), None));
}

#[test]
fn every_cut_of_a_pcapng_yields_no_more_than_is_there() {
    let file = [
        section(false),
        interface(false, 1, 0, &[]),
        enhanced(false, 0, 1, b"first"),
        enhanced(false, 0, 2, b"second!!"),
    ]
    .concat();
    for length in 4..file.len() {
        let (records, error) = read(&file[..length]);
        let at_block_end = [28, 48, 88].contains(&length);
        assert_eq!(error.is_none(), at_block_end, "{length}: {error:?}");
        for (record, data) in records.iter().zip([&b"first"[..], b"second!!"]) {
            assert!(data.starts_with(&record.data), "{length}");
        }
    }
    let (records, error) = read(&file[..file.len() - 8]);
    assert_eq!(
        (&records[1].data[..], error),
        (&b"seco"[..], Some(CaptureError::Truncated { at: 88 }))
    );
}

#[test]
fn refuses_what_contradicts_itself() {
    let head = [section(false), interface(false, 1, 0, &[])].concat();
    let at = head.len() as u64;
    let with = |tail: Vec<u8>| [head.clone(), tail].concat();
    let mut other_end = enhanced(false, 0, 1, b"data");
    let last = other_end.len() - 4;
    other_end[last] ^= 4;
    let mut too_long_inside = enhanced(false, 0, 1, b"data");
    too_long_inside[20] = 200;
    let mut huge = enhanced(false, 0, 1, b"data");
    huge[22] = 0xff;
    let rows: [(Vec<u8>, CaptureError); 6] = [
        (
            with(u32s(false, &[6, 11, 11])),
            CaptureError::BadBlock { at },
        ),
        (with(other_end), CaptureError::BadBlock { at }),
        (with(too_long_inside), CaptureError::BadBlock { at }),
        (
            with(huge),
            CaptureError::RecordTooLong {
                at,
                bytes: 0x00ff_0004,
            },
        ),
        (
            with(enhanced(false, 1, 1, b"x")),
            CaptureError::UnknownInterface { at, interface: 1 },
        ),
        (b"GET / HTTP/1.1\r\n".to_vec(), CaptureError::UnknownFormat),
    ];
    for (file, wanted) in rows {
        let (records, error) = read(&file);
        assert!(!wanted.to_string().is_empty());
        assert_eq!((records.len(), error), (0, Some(wanted)));
    }
}

#[test]
fn a_record_is_bounded() {
    for (bytes, wanted) in [
        (MAX_RECORD_BYTES as u32, None),
        (MAX_RECORD_BYTES as u32 + 1, Some(())),
    ] {
        let mut file = u32s(false, &[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65535, 1]);
        file.extend(u32s(false, &[0, 0, bytes, bytes]));
        file.resize(file.len() + bytes as usize, 0);
        let (records, error) = read(&file);
        assert_eq!(records.len(), usize::from(wanted.is_none()));
        assert_eq!(
            error,
            wanted.map(|()| CaptureError::RecordTooLong { at: 24, bytes })
        );
    }
}

#[test]
fn a_block_that_holds_no_packet_may_be_of_any_length_and_one_that_does_may_not() {
    let long = vec![0; MAX_BLOCK_BYTES];
    let file = [
        section(false),
        block(false, 0x0bad, &long),
        interface(false, 1, 0, &[]),
        enhanced(false, 0, 1, b"behind it"),
    ]
    .concat();
    let (records, error) = read(&file);
    assert_eq!((&records[0].data[..], error), (&b"behind it"[..], None));
    let at = file.len() as u64;
    let mut options = enhanced(false, 0, 1, b"data");
    options[4..8].copy_from_slice(&(MAX_BLOCK_BYTES as u32 + 4).to_le_bytes());
    let (records, error) = read(&[file, options].concat());
    let bytes = MAX_BLOCK_BYTES as u32 + 4;
    assert_eq!(
        (records.len(), error),
        (1, Some(CaptureError::RecordTooLong { at, bytes }))
    );
}

#[test]
fn what_was_read_before_the_disk_failed_is_yielded() {
    let file = pcap(0xa1b2_c3d4, false, 1);
    let (records, error) = read_from(Broken(&file));
    assert_eq!(records, read(&file).0);
    assert!(
        matches!(error, Some(CaptureError::Unreadable { why, .. }) if why == "the disk is gone")
    );
}

proptest! {
    #[test]
    fn changed_captures_never_panic_and_always_end(
        ng in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut file = if ng {
            [section(true), interface(true, 1, 0, &[(9, &[9]), (14, &[0; 8])]), enhanced(true, 0, 1, b"first")].concat()
        } else {
            pcap(0xa1b2_c3d4, true, 1)
        };
        for (index, byte) in changes {
            let at = index.index(file.len());
            file[at] = byte;
        }
        file.truncate(cut.index(file.len() + 1));
        let (records, _) = read(&file);
        prop_assert!(records.len() <= file.len() / 12);
    }

    #[test]
    fn random_bytes_after_a_magic_never_panic(magic in 0usize..5, tail in prop::collection::vec(any::<u8>(), 0..300)) {
        let magics = [0xa1b2_c3d4u32, 0xd4c3_b2a1, 0x4d3c_b2a1, 0x34cd_b2a1, 0x0a0d_0d0a];
        let file = [&magics[magic].to_be_bytes()[..], &tail].concat();
        read(&file);
    }
}
