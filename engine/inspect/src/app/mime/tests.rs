use super::*;
use crate::app::lines::Lines;
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Message {
    let mut message = Message::new(FileSettings::default());
    let mut lines = Lines::new(4096);
    let mut rest = bytes;
    while let Some(line) = lines.next(&mut rest) {
        message.line(line);
    }
    if let Some(line) = lines.flush() {
        message.line(line);
    }
    message.finish();
    message
}

fn files(message: &Message) -> Vec<(&[u8], &[u8])> {
    let all = message.files().iter();
    all.map(|file| (&file.name[..], &file.bytes[..])).collect()
}

const NESTED: &[u8] = b"From: a <a@b>\r\nTo: c@d,\r\n e@f\r\nContent-Type: multipart/mixed;\r\n boundary=\"out\"\r\n\r\n\
preamble\r\n--out\r\n\r\nsee http://x.y/z.exe now\r\n--out\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n\
--in\r\n\r\nsee ftp://x.y/z.exe now\r\n--in--\r\nignored\r\n\
--out\r\nContent-Type: message/rfc822\r\n\r\nFrom: other\r\nContent-Type: application/x; name=deep.bin\r\n\
Content-Transfer-Encoding: quoted-printable\r\n\r\na=\r\nb=21\r\n\
--out\r\nContent-Disposition: attachment; filename=a.txt\r\nContent-Transfer-Encoding: base64\r\n\r\naGVs\r\nbG8=\r\n\
--out--\r\n";

#[test]
fn finds_files_at_every_depth() {
    let message = read(NESTED);
    let wanted: [(&[u8], &[u8]); 2] = [(b"deep.bin", b"ab!\r\n"), (b"a.txt", b"hello")];
    assert_eq!(files(&message), wanted);
    assert!(message
        .files()
        .iter()
        .all(|file| file.state == FileState::Closed));
    assert_eq!(message.fields().from.as_deref(), Some(&b"a <a@b>"[..]));
    assert_eq!(message.fields().to.as_deref(), Some(&b"c@d, e@f"[..]));
    assert_eq!(message.urls().found(), [b"x.y/z.exe"]);
    assert!(message.urls().has_executable());
    assert_eq!(message.status(), "PARSE_DONE");
    assert!(message.events.is_empty(), "{:?}", message.events);
}

#[test]
fn an_outer_boundary_ends_all_within() {
    let message = read(
        b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n\
--i\r\nContent-Type: a/b; name=x\r\n\r\none\r\n--o\r\nContent-Type: a/b; name=y\r\n\r\ntwo\r\n--o--\r\n",
    );
    let wanted: [(&[u8], &[u8]); 2] = [(b"x", b"one"), (b"y", b"two")];
    assert_eq!(files(&message), wanted);
}

#[test]
fn says_what_is_odd() {
    let long = "x".repeat(2100);
    let rows = [
        (format!("A: {long}\r\n\r\n"), "mime_long_header_value"),
        (format!("{}: 1\r\n\r\n", &long[..76]), "mime_long_header_name"),
        (format!("A: 1\r\n\r\n{}\r\n", &long[..999]), "mime_long_line"),
        (format!("Content-Transfer-Encoding: base64\r\n\r\n{}\r\n", &long[..77]), "mime_long_enc_line"),
        (
            "Content-Type: a/b; name=x\r\nContent-Transfer-Encoding: base64\r\n\r\na\r\n".into(),
            "mime_invalid_base64",
        ),
        (
            "Content-Type: a/b; name=x\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=zz\r\n".into(),
            "mime_invalid_qp",
        ),
        ("Content-Type: multipart/x; boundary=y\r\n\r\n--y\r\n\r\nz\r\n".into(), "mime_malformed_msg"),
        (format!("Content-Type: multipart/x; boundary={}\r\n\r\n", &long[..255]), "mime_long_boundary"),
        (format!("Content-Type: a/b; name={}\r\n\r\n", &long[..256]), "mime_long_filename"),
    ];
    for (text, event) in rows {
        assert!(read(text.as_bytes()).events.contains(&event), "{event}");
    }
}

#[test]
fn keeps_no_more_of_all_files_than_the_bound() {
    let mut text = b"Content-Type: multipart/x; boundary=y\r\n\r\n".to_vec();
    for _ in 0..MAX_FILES + 10 {
        text.extend_from_slice(b"--y\r\nContent-Type: a/b; name=x\r\n\r\n");
        text.extend_from_slice(&[b'a'; 30 << 10]);
        text.extend_from_slice(b"\r\n");
    }
    let message = read(&text);
    assert_eq!(message.files().len(), MAX_FILES);
    assert!(message.is_blind());
    let kept: usize = message.files().iter().map(|file| file.bytes.len()).sum();
    assert!(kept <= MAX_KEPT_BYTES);
}

#[test]
fn follows_only_so_many_multiparts_within_one_another() {
    let mut text = b"Content-Type: multipart/x; boundary=y\r\n\r\n".to_vec();
    for _ in 0..MAX_DEPTH + 1 {
        text.extend_from_slice(b"--y\r\nContent-Type: multipart/x; boundary=y\r\n\r\n");
    }
    let message = read(&text);
    assert!(message.open.len() <= MAX_DEPTH);
}

proptest! {
    #[test]
    fn any_bytes_stay_within_the_bound(
        pieces in proptest::collection::vec(prop_oneof![
            Just(NESTED.to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"--out".to_vec()),
            Just(b"--in--\r\n".to_vec()),
            Just(b"Content-Type: multipart/mixed; boundary=in\r\n\r\n".to_vec()),
            Just(b"Content-Disposition: x; filename*0*=a\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..60),
        ], 0..20)
    ) {
        let bytes = pieces.concat();
        let message = read(&bytes);
        let kept: usize = message.files().iter().map(|file| file.bytes.len()).sum();
        prop_assert!(kept <= bytes.len() + 2 * message.files().len());
    }
}
