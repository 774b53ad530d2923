//! `multipart/form-data`: the files among a form's fields.
//!
//! ```text
//! Skip ─► Boundary ─► Headers ─► Data ─┐      Skip: preamble, and parts that are no files
//!            ▲ │                       │
//!            └─┼───────────────────────┘
//!              └─ `--` ─► Over
//! ```
//! Line ends may be CR LF or LF. Whatever its boundary hides here, `http.request_body` shows the body whole.
//! Source: RFC 7578; RFC 2046, 5.1.1.
use memchr::memmem;

use super::events::{Events, HttpEvent};
use super::fields::is_word;
use super::name::MAX_NAME_BYTES;
use crate::app::mime;
use crate::app::parameter::parameter;
use crate::app::{File, FileSettings};

/// Files of one form; the content of further ones counts as the last one's.
const MAX_FILES: usize = 64;
/// Bytes of one part's header that are read.
const MAX_HEADER_BYTES: usize = 16 << 10;
/// Bytes of a boundary. Source: RFC 2046, 5.1.1 allows 70; servers take more.
const MAX_BOUNDARY_BYTES: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// What belongs to no file.
    Skip,
    /// Behind a boundary, on its line.
    Boundary,
    /// In a part's header.
    Headers,
    /// In a file.
    Data,
    /// Behind the last boundary.
    Over,
}

/// A form being read.
#[derive(Clone, Debug)]
pub(super) struct Multipart {
    files: Vec<File>,
    settings: FileSettings,
    state: State,
    /// `--` and the boundary.
    delimiter: memmem::Finder<'static>,
    /// Bytes that cannot be placed before more come; at most a header and a delimiter.
    carry: Vec<u8>,
    /// Whether `carry` begins a line.
    at_line_start: bool,
    kept: usize,
}

impl Multipart {
    /// A form, if a Content-Type says so; how its files are kept, all together at most the depth.
    pub(super) fn from_content_type(
        value: &[u8],
        settings: FileSettings,
        events: &mut Events,
    ) -> Option<Self> {
        let kind = value.split(|byte| *byte == b';').next().unwrap_or_default();
        if !kind
            .trim_ascii()
            .eq_ignore_ascii_case(b"multipart/form-data")
        {
            return None;
        }
        let boundary = parameter(value, b"boundary")?;
        if boundary.is_empty() || boundary.len() > MAX_BOUNDARY_BYTES {
            events.raise(HttpEvent::MultipartGenericError);
            return None;
        }
        let delimiter = [b"--", &boundary[..]].concat();
        Some(Self {
            files: Vec::new(),
            settings,
            state: State::Skip,
            delimiter: memmem::Finder::new(&delimiter).into_owned(),
            carry: Vec::new(),
            at_line_start: true,
            kept: 0,
        })
    }

    /// The files so far.
    pub(super) fn files(&self) -> &[File] {
        &self.files
    }

    /// Reads the next bytes of the body.
    pub(super) fn push(&mut self, bytes: &[u8], events: &mut Events) {
        if self.state == State::Over {
            return;
        }
        let mut carry = std::mem::take(&mut self.carry);
        if carry.is_empty() {
            let left = self.read(bytes, events);
            carry.extend_from_slice(left);
        } else {
            carry.extend_from_slice(bytes);
            let left = self.read(&carry, events).len();
            carry.drain(..carry.len() - left);
        }
        self.carry = carry;
    }

    /// Says that some of the body is missing.
    pub(super) fn gap(&mut self, len: u64) {
        self.flush();
        if let (State::Data, Some(file)) = (self.state, self.files.last_mut()) {
            file.gap(len);
        }
    }

    /// Says that the body has ended; `whole`: as it should.
    pub(super) fn finish(&mut self, whole: bool) {
        self.flush();
        if let Some(file) = self.files.last_mut() {
            if whole {
                file.close();
            } else {
                file.truncate();
            }
        }
        self.state = State::Over;
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let files = self.files.iter().map(File::heap_bytes).sum::<usize>();
        files + self.files.capacity() * size_of::<File>() + self.carry.capacity()
    }

    fn flush(&mut self) {
        let carry = std::mem::take(&mut self.carry);
        if self.state == State::Data {
            self.append(&carry);
        }
        self.at_line_start = false;
    }

    /// Reads on; what is left of `input` cannot be placed yet.
    fn read<'a>(&mut self, mut input: &'a [u8], events: &mut Events) -> &'a [u8] {
        loop {
            let next = match self.state {
                State::Over => return &[],
                State::Skip | State::Data => self.read_data(input, events),
                State::Boundary => self.read_boundary(input),
                State::Headers => self.read_headers(input, events),
            };
            match next {
                Ok(rest) => input = rest,
                Err(left) => return left,
            }
        }
    }

    /// Up to the next boundary. `Err`: there is none yet; what may be part of one.
    fn read_data<'a>(
        &mut self,
        input: &'a [u8],
        events: &mut Events,
    ) -> Result<&'a [u8], &'a [u8]> {
        let mut from = 0;
        while let Some(found) = self.delimiter.find(&input[from..]).map(|at| from + at) {
            let line_start = match found {
                0 => self.at_line_start,
                _ => input[found - 1] == b'\n',
            };
            if !line_start {
                from = found + 1;
                continue;
            }
            let data = &input[..found];
            let data = data.strip_suffix(b"\n").unwrap_or(data);
            let data = data.strip_suffix(b"\r").unwrap_or(data);
            self.append(data);
            self.end_part(events);
            self.state = State::Boundary;
            return Ok(&input[found + self.delimiter.needle().len()..]);
        }
        let (data, left) = input.split_at(self.end_of_data(input));
        self.append(data);
        if let Some(last) = data.last() {
            self.at_line_start = *last == b'\n';
        }
        Err(left)
    }

    /// Where what may be the line end before a boundary, and the boundary's beginning, start.
    fn end_of_data(&self, input: &[u8]) -> usize {
        let delimiter = self.delimiter.needle();
        let begins = |at: usize| delimiter.starts_with(&input[at..]);
        let least = input.len().saturating_sub(delimiter.len() - 1);
        let mut end = (least..input.len())
            .find(|at| begins(*at))
            .unwrap_or(input.len());
        if end > 0 && input[end - 1] == b'\n' {
            end -= 1;
        }
        if end > 0 && input[end - 1] == b'\r' && input.get(end).is_none_or(|byte| *byte == b'\n') {
            end -= 1;
        }
        end
    }

    fn read_boundary<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], &'a [u8]> {
        if input.len() < 2 {
            return Err(input);
        }
        if input.starts_with(b"--") {
            self.state = State::Over;
            return Ok(&[]);
        }
        match memchr::memchr(b'\n', input) {
            Some(end) => {
                self.state = State::Headers;
                Ok(&input[end + 1..])
            }
            // The rest of the line counts for nothing; a last CR may belong to its end.
            None => Err(&input[input.len() - 2..]),
        }
    }

    /// A whole header, or more of it than is read.
    fn read_headers<'a>(
        &mut self,
        input: &'a [u8],
        events: &mut Events,
    ) -> Result<&'a [u8], &'a [u8]> {
        let (mut field, mut at) = (0, 0);
        let mut name = None;
        while let Some(end) = memchr::memchr(b'\n', &input[at..]).map(|end| at + end) {
            let line = input[at..end]
                .strip_suffix(b"\r")
                .unwrap_or(&input[at..end]);
            // A folded line goes on with the field before it.
            if !matches!(line.first(), Some(b' ' | b'\t')) {
                name = name.or_else(|| file_name(&input[field..at]));
                field = at;
            }
            at = end + 1;
            if line.is_empty() {
                self.begin_part(name, events);
                return Ok(&input[at..]);
            }
        }
        if input.len() <= MAX_HEADER_BYTES {
            return Err(input);
        }
        events.raise(HttpEvent::MultipartInvalidHeader);
        self.begin_part(name.or_else(|| file_name(&input[field..at])), events);
        Ok(&input[at..])
    }

    fn begin_part(&mut self, name: Option<Vec<u8>>, events: &mut Events) {
        self.at_line_start = true;
        let Some(mut name) = name else {
            self.state = State::Skip;
            return;
        };
        self.state = State::Data;
        if name.len() > MAX_NAME_BYTES {
            events.raise(HttpEvent::FileNameTooLong);
            name.truncate(MAX_NAME_BYTES);
        }
        if self.files.len() < MAX_FILES {
            self.files.push(File::open(&name, &self.settings));
        }
    }

    fn end_part(&mut self, events: &mut Events) {
        if self.state != State::Data {
            return;
        }
        let crowded = self.files.len() == MAX_FILES;
        if let Some(file) = self.files.last_mut() {
            if file.seen == 0 {
                events.raise(HttpEvent::MultipartNoFiledata);
            }
            if !crowded {
                file.close();
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        if let (State::Data, Some(file)) = (self.state, self.files.last_mut()) {
            let before = file.bytes.len();
            file.append_keeping(bytes, self.settings.depth_bytes.saturating_sub(self.kept));
            self.kept += file.bytes.len() - before;
        }
    }
}

/// The file name in a part's Content-Disposition.
fn file_name(field: &[u8]) -> Option<Vec<u8>> {
    let colon = memchr::memchr(b':', field)?;
    let disposition = is_word(field[..colon].trim_ascii(), "content-disposition");
    let value = disposition.then(|| &field[colon + 1..])?;
    // Some form parsers read the extended forms too (`filename*=UTF-8''a%2ephp`).
    let extended = || mime::parameter(value, "filename").map(|found| found.value);
    parameter(value, b"filename").or_else(extended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORM: &[u8] = b"preamble\r\n--B\r\n\
        Content-Disposition: form-data; name=\"field\"\r\n\r\nvalue\r\n--B\r\n\
        Content-Disposition: form-data;\r\n name=\"f\"; filename=\"a.txt\"\r\n\
        Content-Type: text/plain\r\n\r\none\r\n--not\r\n--B-two\n\r\n--B\r\n\
        content-disposition : form-data; filename=b\n\ntwo--B\n--Bx\n\
        Content-Disposition: form-data; filename=empty\r\n\r\n\r\n--B--\r\n--B\r\n\
        Content-Disposition: form-data; filename=late\r\n\r\nx";

    fn form(pieces: &[&[u8]]) -> (Vec<(String, String)>, Vec<HttpEvent>) {
        let mut events = Events::default();
        let value = b"multipart/form-data; boundary=\"B\"";
        let mut form =
            Multipart::from_content_type(value, FileSettings::default(), &mut events).unwrap();
        for piece in pieces {
            form.push(piece, &mut events);
        }
        form.finish(true);
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let files = form.files().iter();
        (
            files
                .map(|file| (text(&file.name), text(&file.bytes)))
                .collect(),
            events.iter().collect(),
        )
    }

    #[test]
    fn a_form_s_files_are_those_parts_that_have_a_file_name() {
        let (files, events) = form(&[FORM]);
        let expected = [("a.txt", r"one\r\n--not"), ("b", "two--B"), ("empty", "")];
        let files: Vec<_> = files
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        assert_eq!(files, expected);
        assert_eq!(events, [HttpEvent::MultipartNoFiledata]);
    }

    #[test]
    fn a_name_may_be_in_an_extended_form() {
        for name in ["filename*=UTF-8''a%2ephp", "filename*0=a.; filename*1=php"] {
            let body =
                format!("--B\r\nContent-Disposition: form-data; name=f; {name}\r\n\r\nx\r\n--B--");
            let (files, _) = form(&[body.as_bytes()]);
            assert_eq!(files, [("a.php".to_owned(), "x".to_owned())]);
        }
    }

    #[test]
    fn a_form_that_does_not_end_keeps_what_came() {
        let (files, _) = form(&[b"--B\r\nContent-Disposition: x; filename=a\r\n\r\nabc\r\n--"]);
        assert_eq!(files, [("a".to_owned(), r"abc\r\n--".to_owned())]);
    }

    #[test]
    fn a_header_without_end_hides_nothing_behind_its_bound() {
        let mut body = b"--B\r\nContent-Disposition: x; filename=a\r\n".to_vec();
        body.extend(vec![b'h'; MAX_HEADER_BYTES]);
        body.extend_from_slice(b"attack");
        let (files, events) = form(&[&body]);
        assert!(files[0].1.ends_with("attack"));
        assert_eq!(events, [HttpEvent::MultipartInvalidHeader]);
    }

    #[test]
    fn files_past_the_bound_are_read_as_the_last() {
        let part = b"--B\r\nContent-Disposition: x; filename=a\r\n\r\nabc\r\n";
        let (files, _) = form(&[&part.repeat(MAX_FILES + 2)]);
        assert_eq!(files.len(), MAX_FILES);
        assert_eq!(files[MAX_FILES - 1].1, r"abcabcabc\r\n");
    }

    #[test]
    fn only_a_form_with_a_boundary_is_one() {
        let mut events = Events::default();
        let mut read = |value: &[u8]| {
            Multipart::from_content_type(value, FileSettings::default(), &mut events).is_some()
        };
        assert!(read(b"Multipart/Form-Data;charset=x; Boundary=a"));
        assert!(!read(b"multipart/form-data"));
        assert!(!read(b"multipart/mixed; boundary=a"));
        assert!(!read(b"multipart/form-data; boundary="));
        assert!(events.contains(HttpEvent::MultipartGenericError));
    }

    proptest! {
        #[test]
        fn any_splitting_gives_the_same_files(cuts in prop::collection::vec(0..FORM.len(), 0..8)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([FORM.len()]) {
                pieces.push(&FORM[from..cut]);
                from = cut;
            }
            prop_assert_eq!(form(&pieces), form(&[FORM]));
        }

        #[test]
        fn any_bytes_stay_within_the_bound(pieces in prop::collection::vec("(--B|\r|\n|:|-|B|Content-Disposition: x; filename=a|[ -~]){0,9}", 0..40)) {
            let mut events = Events::default();
            let settings = FileSettings { depth_bytes: 20, ..FileSettings::default() };
            let mut form = Multipart::from_content_type(b"multipart/form-data; boundary=B", settings, &mut events).unwrap();
            for piece in &pieces {
                form.push(piece.as_bytes(), &mut events);
                prop_assert!(form.files.iter().map(|file| file.bytes.len()).sum::<usize>() <= 20);
                prop_assert!(form.carry.len() <= MAX_HEADER_BYTES + 300);
            }
        }
    }
}
