//! Any bytes as a capture file: the reader ends, and yields no more packets than the file has room for.
#![no_main]

use inspect::wire::{decode_link, CaptureReader, MAX_RECORD_BYTES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut reader) = CaptureReader::new(bytes) else {
        return;
    };
    let mut records = 0;
    while let Some(Ok(record)) = reader.next_record() {
        records += 1;
        assert!(record.data.len() <= MAX_RECORD_BYTES);
        let _ = decode_link(record.link_type, record.data);
    }
    assert!(records <= bytes.len() / 12);
});
