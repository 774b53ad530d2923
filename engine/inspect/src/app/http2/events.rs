//! What is odd about a stream, under the names Suricata gives it (`app-layer-event:http2.NAME`).

/// A frame's header that is none.
pub const INVALID_FRAME_HEADER: &str = "invalid_frame_header";
/// A connection that does not begin as HTTP/2 does.
pub const INVALID_CLIENT_MAGIC: &str = "invalid_client_magic";
/// A frame that does not hold what its kind asks for, or a header block that ends within a field.
pub const INVALID_FRAME_DATA: &str = "invalid_frame_data";
/// A field that cannot be decoded.
pub const INVALID_HEADER: &str = "invalid_header";
/// A frame of a length that its kind never has.
pub const INVALID_FRAME_LENGTH: &str = "invalid_frame_length";
/// A message that begins where one has ended.
pub const STREAM_ID_REUSE: &str = "stream_id_reuse";
/// The settings of an upgrade are none.
pub const INVALID_HTTP1_SETTINGS: &str = "invalid_http1_settings";
/// A body that is not coded as it says.
pub const FAILED_DECOMPRESSION: &str = "failed_decompression";
/// A Content-Range that is none.
pub const INVALID_RANGE: &str = "invalid_range";
/// A number in a header block that does not end.
pub const HEADER_INTEGER_OVERFLOW: &str = "header_integer_overflow";
/// More streams are open at once than are kept.
pub const TOO_MANY_STREAMS: &str = "too_many_streams";
/// `:authority` and Host differ.
pub const AUTHORITY_HOST_MISMATCH: &str = "authority_host_mismatch";
/// `:authority` names a user.
pub const USERINFO_IN_URI: &str = "userinfo_in_uri";
/// A header block, or all of a connection's, is larger than is kept.
pub const REASSEMBLY_LIMIT_REACHED: &str = "reassembly_limit_reached";

/// Every event there is; the last two are Suricata's and never raised: no frame here is too long or has a rest.
pub const ALL: &[&str] = &[
    INVALID_FRAME_HEADER,
    INVALID_CLIENT_MAGIC,
    INVALID_FRAME_DATA,
    INVALID_HEADER,
    INVALID_FRAME_LENGTH,
    STREAM_ID_REUSE,
    INVALID_HTTP1_SETTINGS,
    FAILED_DECOMPRESSION,
    INVALID_RANGE,
    HEADER_INTEGER_OVERFLOW,
    TOO_MANY_STREAMS,
    AUTHORITY_HOST_MISMATCH,
    USERINFO_IN_URI,
    REASSEMBLY_LIMIT_REACHED,
    "long_frame_data",
    "extra_header_data",
];
