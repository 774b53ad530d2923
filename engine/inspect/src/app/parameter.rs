//! Parameters of header fields: `form-data; name="a"; filename="b"`.

/// The value of a parameter behind the first `;`, quotes and their escapes taken off; `name` in lower case.
///
/// A quoted value that does not close runs to the field's end. Source: RFC 2045, 5.1.
pub(super) fn parameter(field: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let mut rest = &field[memchr::memchr(b';', field)? + 1..];
    loop {
        let equals = memchr::memchr2(b'=', b';', rest)?;
        let key = rest[..equals].trim_ascii();
        let after = rest[equals + 1..].trim_ascii_start();
        if rest[equals] == b';' {
            rest = &rest[equals + 1..];
            continue;
        }
        let (value, behind) = value(after);
        if key.eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = &behind[memchr::memchr(b';', behind)? + 1..];
    }
}

/// A value, and what stands behind it.
fn value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text
            .iter()
            .position(|byte| *byte == b';')
            .unwrap_or(text.len());
        return (text[..end].trim_ascii().to_vec(), &text[end..]);
    };
    let mut value = Vec::new();
    let mut rest = quoted;
    while let Some((&byte, behind)) = rest.split_first() {
        match byte {
            b'"' => return (value, behind),
            // Only before a quote or itself: browsers send `C:\path` as it is.
            b'\\' if matches!(behind.first(), Some(b'"' | b'\\')) => {
                value.push(behind[0]);
                rest = &behind[1..];
            }
            _ => {
                value.push(byte);
                rest = behind;
            }
        }
    }
    (value, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn finds_a_parameter_whatever_stands_before_it() {
        type Row<'a> = (&'a str, Option<&'a str>);
        let rows: &[Row<'_>] = &[
            ("attachment; filename=a.txt", Some("a.txt")),
            ("attachment;filename=\"a b.txt\"; size=3", Some("a b.txt")),
            (
                "form-data; name=\"filename=x;\"; FileName = \"y\"",
                Some("y"),
            ),
            ("a; flag; filename=x", Some("x")),
            (r#"a; filename="q\"uo\\te""#, Some("q\"uo\\te")),
            (r#"a; filename="C:\d\f.exe""#, Some("C:\\d\\f.exe")),
            ("a; filename=\"open", Some("open")),
            ("a; filename=", Some("")),
            ("filename=x", None),
            ("a; other=filename", None),
            ("", None),
        ];
        for (field, value) in rows {
            let found = parameter(field.as_bytes(), b"filename");
            assert_eq!(found.as_deref(), value.map(str::as_bytes), "{field}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_no_more_than_they_hold(field: Vec<u8>) {
            let found = parameter(&field, b"a").map_or(0, |value| value.len());
            prop_assert!(found <= field.len());
        }
    }
}
