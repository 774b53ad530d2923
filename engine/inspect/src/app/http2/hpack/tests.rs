use proptest::prelude::*;

use super::*;

fn decode(decoder: &mut Decoder, block: &[u8]) -> (Vec<(String, String)>, Result<(), Malformed>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut fields = Vec::new();
    let outcome = decoder.decode(block, &mut |instruction| {
        fields.push(match instruction {
            Instruction::Field(field) => (text(&field.name), text(&field.value)),
            Instruction::SizeUpdate(bytes) => ("size".into(), bytes.to_string()),
        });
    });
    (fields, outcome)
}

fn rows(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

/// RFC 7541, C.4: three requests on one connection, Huffman coded.
const REQUESTS: [&[u8]; 3] = [
    b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
    b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
    b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
];

#[test]
fn reads_the_requests_of_the_rfc() {
    let mut decoder = Decoder::new();
    let third = [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ];
    decode(&mut decoder, REQUESTS[0]).1.unwrap();
    decode(&mut decoder, REQUESTS[1]).1.unwrap();
    assert_eq!(decode(&mut decoder, REQUESTS[2]), (rows(&third), Ok(())));
    assert_eq!(
        decoder.table.get(62),
        Some(Field::new(b"custom-key", b"custom-value"))
    );
    assert_eq!(decoder.table.get(65), None);
}

#[test]
fn the_oldest_entries_make_room() {
    let mut decoder = Decoder::new();
    // Room for one entry of 32 + 1 + 1 bytes.
    decode(&mut decoder, b"\x3f\x03\x40\x01a\x01b\x40\x01c\x01d")
        .1
        .unwrap();
    assert_eq!(decoder.table.get(62), Some(Field::new(b"c", b"d")));
    assert_eq!(decoder.table.get(63), None);
    decode(&mut decoder, b"\x40\x01e\x02fg").1.unwrap();
    assert_eq!(decoder.table.get(62), None);
}

#[test]
fn says_what_is_wrong_and_reads_on_where_it_can() {
    type Row<'a> = (&'a [u8], &'a [(&'a str, &'a str)], Malformed);
    let table: &[Row<'_>] = &[
        (b"\x80\x82", &[(":method", "GET")], Malformed::NotIndexed),
        (b"\xbe\x82", &[(":method", "GET")], Malformed::NotIndexed),
        (
            b"\x7f\x00\x01x\x82",
            &[(":method", "GET")],
            Malformed::NotIndexed,
        ),
        (
            b"\x00\x81\x00\x01x\x82",
            &[(":method", "GET")],
            Malformed::BadHuffman,
        ),
        (
            b"\x82\x00\x05abc",
            &[(":method", "GET")],
            Malformed::Truncated,
        ),
        (b"\x82\xff", &[(":method", "GET")], Malformed::Truncated),
        (
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
            &[],
            Malformed::Overflow,
        ),
        (
            b"\x3f\xe2\xff\x03\x82",
            &[("size", "65537"), (":method", "GET")],
            Malformed::TableTooLarge,
        ),
    ];
    for (block, fields, wrong) in table {
        let outcome = decode(&mut Decoder::new(), block);
        assert_eq!(outcome, (rows(fields), Err(*wrong)), "{block:x?}");
    }
    let largest = decode(&mut Decoder::new(), b"\x3f\xe1\xff\x03");
    assert_eq!(largest, (rows(&[("size", "65536")]), Ok(())));
}

#[test]
fn a_large_entry_that_is_referred_to_is_not_copied() {
    let mut decoder = Decoder::new();
    let mut block = [b"\x40\x01n\x7f\x81\x1e".as_slice(), &[b'v'; 4096 - 128]].concat();
    block.extend([0xbe; 1000]);
    let mut values = Vec::new();
    let outcome = decoder.decode(&block, &mut |instruction| {
        if let Instruction::Field(field) = instruction {
            values.push(field.value);
        }
    });
    assert_eq!((outcome, values.len()), (Ok(()), 1001));
    assert!(values
        .windows(2)
        .all(|pair| Arc::ptr_eq(&pair[0], &pair[1])));
}

proptest! {
    #[test]
    fn the_table_stays_within_its_bound(blocks: Vec<Vec<u8>>) {
        let mut decoder = Decoder::new();
        for block in &blocks {
            let _ = decoder.decode(block, &mut |_| {});
            prop_assert!(decoder.table.heap_bytes() <= 2 * table::MAX_BYTES + 4096);
        }
    }

    #[test]
    fn every_beginning_of_a_block_gives_the_beginning_of_its_fields(cut in 0_usize..24) {
        let whole = decode(&mut Decoder::new(), REQUESTS[0]).0;
        let cut = cut.min(REQUESTS[0].len());
        let (fields, _) = decode(&mut Decoder::new(), &REQUESTS[0][..cut]);
        prop_assert_eq!(&whole[..fields.len()], &fields[..]);
    }
}
