//! HTTP/1 as two streams of bytes, read the way servers read it.
pub mod transaction;
