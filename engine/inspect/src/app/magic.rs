//! What a file is by its first bytes, in libmagic's words.
//!
//! libmagic's own table is compiled from thousands of tests and is no input for this crate; here is what files in
//! transit mostly are, worded as libmagic 5.44 does. [`can_say`] tells which patterns can come up at all, so
//! that a signature that asks for anything else is refused instead of never matching.
use std::fmt::Write;

/// Bytes at a file's beginning that are looked at.
pub const LOOKED_AT_BYTES: usize = 4096;
/// A line that is longer is said to be very long, as in libmagic.
const LONG_LINE_BYTES: usize = 300;

/// Descriptions by what stands at an offset, first match first.
const FIXED: &[(usize, &[u8], &str)] = &[
    (0, b"%PDF-", "PDF document"),
    (0, b"\xff\xd8\xff", "JPEG image data"),
    (0, b"Rar!\x1a\x07\x01\x00", "RAR archive data, v5"),
    (0, b"Rar!\x1a\x07\x00", "RAR archive data, v4"),
    (0, b"7z\xbc\xaf\x27\x1c", "7-zip archive data"),
    (0, b"\xfd7zXZ\0", "XZ compressed data"),
    (0, b"BZh", "bzip2 compressed data"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard compressed data"),
    (0, b"\x1f\x9d", "compress'd data"),
    (0, b"MSCF\0\0\0\0", "Microsoft Cabinet archive data"),
    (0, b"ITSF\x03\0\0\0", "MS Windows HtmlHelp Data"),
    (
        0,
        b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46",
        "MS Windows shortcut",
    ),
    (
        0,
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "Composite Document File V2 Document",
    ),
    (0, b"{\\rtf1", "Rich Text Format data, version 1"),
    (0, b"FWS", "Macromedia Flash data"),
    (0, b"CWS", "Macromedia Flash data (compressed)"),
    (0, b"ZWS", "Macromedia Flash data (lzma compressed)"),
    (0, b"FLV\x01", "Macromedia Flash Video"),
    (0, b"SQLite format 3\0", "SQLite 3.x database"),
    (0, b"regf", "MS Windows registry file, NT/2000 or above"),
    (0, b"!BDN", "Microsoft Outlook email folder"),
    (0, b"II*\0", "TIFF image data, little-endian"),
    (0, b"MM\0*", "TIFF image data, big-endian"),
    (0, b"\0\0\x01\0", "MS Windows icon resource"),
    (0, b"\0\0\x02\0", "MS Windows cursor resource"),
    (0, b"ID3", "Audio file with ID3"),
    (0, b"OggS", "Ogg data"),
    (0, b"fLaC", "FLAC audio bitstream data"),
    (0, b"MThd", "Standard MIDI data"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Microsoft ASF"),
    (0, b"wOFF", "Web Open Font Format"),
    (0, b"wOF2", "Web Open Font Format (Version 2)"),
    (0, b"\0\x01\0\0\0", "TrueType Font data"),
    (0, b"OTTO", "OpenType font data"),
    (0, b"\x00asm", "WebAssembly (wasm) binary module"),
    (0, b"!<arch>\ndebian", "Debian binary package"),
    (0, b"!<arch>\n", "current ar archive"),
    (0, b"\xed\xab\xee\xdb", "RPM"),
    (
        0,
        b"\xd4\xc3\xb2\xa1",
        "pcap capture file, microsecond ts (little-endian)",
    ),
    (0, b"\x0a\x0d\x0d\x0a", "pcapng capture file"),
    (
        0,
        b"\x89HDF\r\n\x1a\n",
        "Hierarchical Data Format (version 5) data",
    ),
    (0, b"%!PS-Adobe-", "PostScript document text"),
    (257, b"ustar  \0", "POSIX tar archive (GNU)"),
    (257, b"ustar\0", "POSIX tar archive"),
    (4, b"ftyp", "ISO Media"),
    (0, b"RIFF", "RIFF (little-endian) data"),
    (0, b"\xcf\xfa\xed\xfe", "Mach-O 64-bit"),
    (0, b"\xce\xfa\xed\xfe", "Mach-O"),
    (0, b"-----BEGIN CERTIFICATE-----", "PEM certificate"),
    (0, b"-----BEGIN RSA PRIVATE", "PEM RSA private key"),
    (0, b"-----BEGIN PRIVATE KEY", "OpenSSH private key"),
];

/// What else [`describe`] says, for [`can_say`]; numbers in it stand for any.
const COMPUTED: &[&str] = &[
    "PNG image data, 0 x 0, 1-bit grayscale, non-interlaced",
    "PNG image data, 0 x 0, 8-bit/color RGB, interlaced",
    "PNG image data, 0 x 0, 8-bit/color RGBA, non-interlaced",
    "PNG image data, 0 x 0, 8-bit gray+alpha, non-interlaced",
    "PNG image data, 0 x 0, 8-bit colormap, non-interlaced",
    "GIF image data, version 89a, 0 x 0",
    "GIF image data, version 87a, 0 x 0",
    "PC bitmap",
    "PDF document, version 1.0",
    "PE32 executable (GUI) Intel 80386, for MS Windows",
    "PE32 executable (console) Intel 80386, for MS Windows",
    "PE32 executable (DLL) (GUI) Intel 80386, for MS Windows",
    "PE32 executable (DLL) (console) Intel 80386, for MS Windows",
    "PE32 executable (native) Intel 80386, for MS Windows",
    "PE32+ executable (GUI) x86-64, for MS Windows",
    "PE32+ executable (console) x86-64, for MS Windows",
    "PE32+ executable (DLL) (GUI) x86-64, for MS Windows",
    "PE32+ executable (DLL) (console) x86-64, for MS Windows",
    "PE32+ executable (native) x86-64, for MS Windows",
    "MS-DOS executable",
    "ELF 32-bit LSB executable, Intel 80386, version 1 (SYSV)",
    "ELF 64-bit LSB executable, x86-64, version 1 (SYSV)",
    "ELF 64-bit LSB shared object, x86-64, version 1 (SYSV)",
    "ELF 64-bit LSB pie executable, x86-64, version 1 (SYSV)",
    "ELF 32-bit MSB executable",
    "gzip compressed data",
    "Zip archive data, at least v0.0 to extract, compression method=deflate",
    "Zip archive data, at least v0.0 to extract, compression method=store",
    "Java archive data (JAR)",
    "Microsoft Word 2007+",
    "Microsoft Excel 2007+",
    "Microsoft PowerPoint 2007+",
    "Microsoft OOXML",
    "OpenDocument Text",
    "compiled Java class data, version 0.0",
    "HTML document, ASCII text",
    "HTML document, Unicode text, UTF-8 text",
    "XML 1.0 document, ASCII text",
    "SVG Scalable Vector Graphics image",
    "PHP script, ASCII text",
    "POSIX shell script, ASCII text executable",
    "Bourne-Again shell script, ASCII text executable",
    "Python script, ASCII text executable",
    "Perl script text executable",
    "JavaScript source, ASCII text",
    "ASCII text, with very long lines (0), with CRLF line terminators",
    "ASCII text, with very long lines (0), with no line terminators",
    "Unicode text, UTF-8 text, with CRLF line terminators",
    "Unicode text, UTF-8 text, with very long lines (0), with no line terminators",
    "data",
    "empty",
];

/// Whether `pattern` can come up in a description, whatever its case.
pub fn can_say(pattern: &[u8]) -> bool {
    let Ok(pattern) = std::str::from_utf8(pattern) else {
        return false;
    };
    let plain = without_numbers(pattern);
    let holds = |text: &str| without_numbers(text).contains(&plain);
    FIXED.iter().any(|(.., text)| holds(text)) || COMPUTED.iter().any(|text| holds(text))
}

/// `text` in lower case with each number made 0.
fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '0'..='9' if out.ends_with('0') => {}
            '0'..='9' => out.push('0'),
            other => out.extend(other.to_lowercase()),
        }
    }
    out
}

/// The description of a file that begins with `bytes`.
pub fn describe(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(LOOKED_AT_BYTES)];
    if bytes.is_empty() {
        return "empty".into();
    }
    image(bytes)
        .or_else(|| program(bytes))
        .or_else(|| archive(bytes))
        .or_else(|| fixed(bytes))
        .or_else(|| text(bytes))
        .unwrap_or_else(|| "data".into())
}

fn at(bytes: &[u8], offset: usize, wanted: &[u8]) -> bool {
    bytes
        .get(offset..)
        .is_some_and(|rest| rest.starts_with(wanted))
}

fn number<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset.checked_add(N)?)?.try_into().ok()
}

fn fixed(bytes: &[u8]) -> Option<String> {
    let (.., text) = FIXED
        .iter()
        .find(|(offset, start, _)| at(bytes, *offset, start))?;
    let mut said = (*text).to_owned();
    if *text == "PDF document" {
        let version = bytes[5..].split(|byte| !matches!(byte, b'0'..=b'9' | b'.'));
        let version = version.into_iter().next().unwrap_or_default();
        let _ = write!(
            said,
            ", version {}",
            version[..version.len().min(8)].escape_ascii()
        );
    }
    Some(said)
}

fn image(bytes: &[u8]) -> Option<String> {
    if at(bytes, 0, b"GIF8") {
        let version = bytes.get(3..6)?.escape_ascii();
        let width = u16::from_le_bytes(number(bytes, 6)?);
        let height = u16::from_le_bytes(number(bytes, 8)?);
        return Some(format!(
            "GIF image data, version {version}, {width} x {height}"
        ));
    }
    if at(bytes, 0, b"BM") && at(bytes, 6, &[0; 4]) {
        return Some("PC bitmap".into());
    }
    if !at(bytes, 0, b"\x89PNG\r\n\x1a\n") {
        return None;
    }
    let Some([depth, color, _, _, interlaced]) = number(bytes, 24) else {
        return Some("PNG image data".into());
    };
    let width = u32::from_be_bytes(number(bytes, 16)?);
    let height = u32::from_be_bytes(number(bytes, 20)?);
    let color = match color {
        0 => " grayscale",
        2 => "/color RGB",
        3 => " colormap",
        4 => " gray+alpha",
        6 => "/color RGBA",
        _ => "",
    };
    let non = if interlaced == 0 { "non-" } else { "" };
    Some(format!(
        "PNG image data, {width} x {height}, {depth}-bit{color}, {non}interlaced"
    ))
}

fn program(bytes: &[u8]) -> Option<String> {
    if at(bytes, 0, b"MZ") {
        return Some(windows_program(bytes).unwrap_or_else(|| "MS-DOS executable".into()));
    }
    if at(bytes, 0, b"\x7fELF") {
        return Some(elf(bytes).unwrap_or_else(|| "ELF".into()));
    }
    if at(bytes, 0, b"\xca\xfe\xba\xbe") {
        let minor = u16::from_be_bytes(number(bytes, 4)?);
        let major = u16::from_be_bytes(number(bytes, 6)?);
        return (major >= 45).then(|| format!("compiled Java class data, version {major}.{minor}"));
    }
    None
}

/// Source: Microsoft's PE format.
fn windows_program(bytes: &[u8]) -> Option<String> {
    let header = u32::from_le_bytes(number(bytes, 0x3c)?) as usize;
    if !at(bytes, header, b"PE\0\0") {
        return None;
    }
    let machine = match u16::from_le_bytes(number(bytes, header + 4)?) {
        0x014c => "Intel 80386",
        0x8664 => "x86-64",
        0xaa64 => "Aarch64",
        0x01c0 | 0x01c4 => "ARM",
        _ => "unknown processor",
    };
    let dll = u16::from_le_bytes(number(bytes, header + 22)?) & 0x2000 != 0;
    let plus = match u16::from_le_bytes(number(bytes, header + 24)?) {
        0x20b => "+",
        _ => "",
    };
    let kind = match u16::from_le_bytes(number(bytes, header + 24 + 68)?) {
        1 => "(native)",
        2 => "(GUI)",
        3 => "(console)",
        _ => "(unknown)",
    };
    let dll = if dll { "(DLL) " } else { "" };
    Some(format!(
        "PE32{plus} executable {dll}{kind} {machine}, for MS Windows"
    ))
}

fn elf(bytes: &[u8]) -> Option<String> {
    let [class, order, ..] = number::<3>(bytes, 4)?;
    let half = |offset| {
        let pair = number(bytes, offset)?;
        Some(match order {
            2 => u16::from_be_bytes(pair),
            _ => u16::from_le_bytes(pair),
        })
    };
    let bits = if class == 2 { 64 } else { 32 };
    let order = if order == 2 { "MSB" } else { "LSB" };
    let kind = match half(16)? {
        1 => "relocatable",
        2 => "executable",
        3 => "pie executable",
        4 => "core file",
        _ => "unknown",
    };
    let machine = match half(18)? {
        3 => ", Intel 80386",
        40 => ", ARM",
        62 => ", x86-64",
        183 => ", ARM aarch64",
        8 => ", MIPS",
        _ => "",
    };
    Some(format!(
        "ELF {bits}-bit {order} {kind}{machine}, version 1 (SYSV)"
    ))
}

fn archive(bytes: &[u8]) -> Option<String> {
    if at(bytes, 0, b"\x1f\x8b") {
        return Some("gzip compressed data".into());
    }
    if !at(bytes, 0, b"PK\x03\x04") {
        return None;
    }
    let name_len = usize::from(u16::from_le_bytes(number(bytes, 26)?));
    let name = bytes.get(30..)?;
    let name = &name[..name.len().min(name_len)];
    let holds = |word: &[u8]| memchr::memmem::find(bytes, word).is_some();
    let known = match name {
        b"META-INF/" | b"META-INF/MANIFEST.MF" => "Java archive data (JAR)",
        b"[Content_Types].xml" | b"_rels/.rels" | b"docProps/" => match () {
            () if holds(b"word/") => "Microsoft Word 2007+",
            () if holds(b"xl/") => "Microsoft Excel 2007+",
            () if holds(b"ppt/") => "Microsoft PowerPoint 2007+",
            () => "Microsoft OOXML",
        },
        b"mimetype" if holds(b"vnd.oasis.opendocument.text") => "OpenDocument Text",
        _ => "",
    };
    if !known.is_empty() {
        return Some(known.into());
    }
    let version = u16::from_le_bytes(number(bytes, 4)?);
    let method = match u16::from_le_bytes(number(bytes, 8)?) {
        0 => "store",
        8 => "deflate",
        _ => "other",
    };
    let (major, minor) = (version % 256 / 10, version % 10);
    Some(format!(
        "Zip archive data, at least v{major}.{minor} to extract, compression method={method}"
    ))
}

fn text(bytes: &[u8]) -> Option<String> {
    let encoding = encoding(bytes)?;
    let mut said = String::new();
    let start = bytes.trim_ascii_start();
    let start = start[..start.len().min(512)].to_ascii_lowercase();
    let begins = |word: &[u8]| start.starts_with(word);
    let mut executable = "";
    if begins(b"<!doctype html") || begins(b"<html") || begins(b"<head") || begins(b"<title") {
        said.push_str("HTML document, ");
    } else if begins(b"<?xml") {
        if memchr::memmem::find(&start, b"<svg").is_some() {
            return Some("SVG Scalable Vector Graphics image".into());
        }
        said.push_str("XML 1.0 document, ");
    } else if begins(b"<?php") {
        said.push_str("PHP script, ");
    } else if begins(b"#!") {
        executable = " executable";
        let line = start
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let names = |word: &[u8]| memchr::memmem::find(line, word).is_some();
        match () {
            () if names(b"bash") => said.push_str("Bourne-Again shell script, "),
            () if names(b"python") => said.push_str("Python script, "),
            () if names(b"perl") => return Some("Perl script text executable".into()),
            () if names(b"/sh") => said.push_str("POSIX shell script, "),
            () => executable = "",
        }
    }
    said.push_str(encoding);
    said.push_str(executable);
    line_ends(bytes, &mut said);
    Some(said)
}

/// What kind of text it is, if it is any: no control characters but those that text has.
fn encoding(bytes: &[u8]) -> Option<&'static str> {
    let is_text = |byte: &u8| matches!(byte, 7..=13 | 27 | 0x20..=0x7e | 0x80..);
    if !bytes.iter().all(is_text) {
        return None;
    }
    if bytes.is_ascii() {
        return Some("ASCII text");
    }
    let whole = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        // A character that is cut off at the end of what is looked at.
        Err(error) => error.error_len().is_none() && bytes.len() - error.valid_up_to() < 4,
    };
    whole.then_some("Unicode text, UTF-8 text")
}

fn line_ends(bytes: &[u8], said: &mut String) {
    let longest = bytes
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::len)
        .max()
        .unwrap_or(0);
    if longest > LONG_LINE_BYTES {
        let _ = write!(said, ", with very long lines ({longest})");
    }
    let feeds = memchr::memchr_iter(b'\n', bytes);
    let (all, crlf) = feeds.fold((0, 0), |(all, crlf), at| {
        (
            all + 1,
            crlf + usize::from(at > 0 && bytes[at - 1] == b'\r'),
        )
    });
    match (all, crlf) {
        (0, _) => said.push_str(", with no line terminators"),
        (_, 0) => {}
        (all, crlf) if all == crlf => said.push_str(", with CRLF line terminators"),
        _ => said.push_str(", with CRLF, LF line terminators"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_are_described_as_libmagic_does() {
        let rows: &[(&[u8], &str)] = &[
            (b"", "empty"),
            (b"ab\n", "ASCII text"),
            (b"ab", "ASCII text, with no line terminators"),
            (b"a\r\nb\r\n", "ASCII text, with CRLF line terminators"),
            ("ä\n".as_bytes(), "Unicode text, UTF-8 text"),
            (b"a\0b", "data"),
            (b"%PDF-1.4\n%\xe2\xe3", "PDF document, version 1.4"),
            (
                b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x24\0\0\0\x24\x08\x06\0\0\0",
                "PNG image data, 36 x 36, 8-bit/color RGBA, non-interlaced",
            ),
            (b"GIF89a\x01\0\x02\0", "GIF image data, version 89a, 1 x 2"),
            (b"MZ\0\0", "MS-DOS executable"),
            (b"<!DOCTYPE html>\n", "HTML document, ASCII text"),
            (
                b"#!/bin/sh\nexit\n",
                "POSIX shell script, ASCII text executable",
            ),
            (
                b"PK\x03\x04\x14\0\0\0\x08\0________________\x01\0\0\0a",
                "Zip archive data, at least v2.0 to extract, compression method=deflate",
            ),
        ];
        for (bytes, text) in rows {
            assert_eq!(describe(bytes), *text);
        }
    }

    #[test]
    fn patterns_that_never_come_up_are_known() {
        for pattern in [
            "PDF",
            "pdf document",
            "PNG image data, 36 x 36",
            "executable",
            "ASCII",
        ] {
            assert!(can_say(pattern.as_bytes()), "{pattern}");
        }
        for pattern in ["Apple DiskCopy", "PDFx"] {
            assert!(!can_say(pattern.as_bytes()), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_something(bytes: Vec<u8>, which in 0..FIXED.len()) {
            prop_assert!(!describe(&bytes).is_empty());
            let (offset, start, _) = FIXED[which];
            let mut file = vec![0; offset];
            file.extend_from_slice(start);
            file.extend_from_slice(&bytes);
            prop_assert!(!describe(&file).is_empty());
        }
    }
}
