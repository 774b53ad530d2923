//! HTTP/2 in the clear: with prior knowledge, or behind an HTTP/1.1 request that was upgraded.
//!
//! Each stream is a transaction, and so is each frame about the connection itself. The buffers of HTTP show a
//! stream's fields as [`buffers`] says; DATA is a body like HTTP/1's, its content coding undone. Nothing waits
//! for windows or settings: frames are read as they come, and memory is bounded by figures of this module:
//! streams (`MAX_STREAMS`), what they hold together (`MAX_KEPT_BYTES`), a header block (`MAX_BLOCK_BYTES`) and its
//! fields (`MAX_FIELD_BYTES`), and the header table ([`hpack`]). What lies past a bound, or cannot be decoded, makes
//! the connection blind: a peer would have closed it, or read what no signature saw.
//!
//! Unlike Suricata 7.0.10: a frame of any length is read whole, the error code of GOAWAY is its error code and not
//! the last stream's number, a request on a number that was used is shown, the status is the final response's and
//! not an interim one's, the fields of responses are found in `http.response_header` and `http2.header_name`, and
//! `http.uri` shows the path as servers decode it beside the path as sent.
pub mod buffers;
mod connection;
mod eve;
pub mod events;
pub mod frame;
mod half;
pub mod hpack;
mod stream;
mod streams;

pub use connection::Connection;
pub use stream::{Side, Stream};

/// The settings' names. Source: RFC 9113, 6.5.2.
pub const SETTINGS: [(&str, u16); 6] = [
    ("SETTINGS_HEADER_TABLE_SIZE", 1),
    ("SETTINGS_ENABLE_PUSH", 2),
    ("SETTINGS_MAX_CONCURRENT_STREAMS", 3),
    ("SETTINGS_INITIAL_WINDOW_SIZE", 4),
    ("SETTINGS_MAX_FRAME_SIZE", 5),
    ("SETTINGS_MAX_HEADER_LIST_SIZE", 6),
];

/// Whether a Content-Range is one: `bytes 0-4/20`, the size or the range `*`. Source: RFC 9110, 14.4.
fn is_content_range(value: &[u8]) -> bool {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    };
    let read = || {
        let text = std::str::from_utf8(value).ok()?.trim();
        let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
        let size_fits = size == "*" || number(size).is_some();
        if range == "*" {
            return Some(size_fits && size != "*");
        }
        let (start, end) = range.split_once('-')?;
        Some(size_fits && number(start)? <= number(end)?)
    };
    read().unwrap_or(false)
}

#[cfg(test)]
mod tests;
