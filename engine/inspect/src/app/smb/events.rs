//! What is odd about SMB traffic: the names after `app-layer-event:smb.`.

/// This engine erred; never raised.
pub const INTERNAL_ERROR: &str = "internal_error";
/// A message is cut short, or its fields contradict.
pub const MALFORMED_DATA: &str = "malformed_data";
/// A record ends before its end.
pub const RECORD_OVERFLOW: &str = "record_overflow";
/// NTLMSSP's client message cannot be read.
pub const MALFORMED_NTLMSSP_REQUEST: &str = "malformed_ntlmssp_request";
/// NTLMSSP's server message cannot be read.
pub const MALFORMED_NTLMSSP_RESPONSE: &str = "malformed_ntlmssp_response";
/// A second negotiation while one is open.
pub const DUPLICATE_NEGOTIATE: &str = "duplicate_negotiate";
/// Empty dialects, or the server chose one that was not offered.
pub const NEGOTIATE_MALFORMED_DIALECTS: &str = "negotiate_malformed_dialects";
/// A piece of a file comes again.
pub const FILE_OVERLAP: &str = "file_overlap";
/// The client was sent a request.
pub const REQUEST_TO_CLIENT: &str = "request_to_client";
/// The server was sent a response.
pub const RESPONSE_TO_SERVER: &str = "response_to_server";
/// More is read at once than the server said, or than is believed.
pub const READ_REQUEST_TOO_LARGE: &str = "read_request_too_large";
/// …
pub const READ_RESPONSE_TOO_LARGE: &str = "read_response_too_large";
/// …
pub const WRITE_REQUEST_TOO_LARGE: &str = "write_request_too_large";
/// The server says it reads more than is believed.
pub const NEGOTIATE_MAX_READ_SIZE_TOO_LARGE: &str = "negotiate_max_read_size_too_large";
/// …
pub const NEGOTIATE_MAX_WRITE_SIZE_TOO_LARGE: &str = "negotiate_max_write_size_too_large";
/// Too many pieces came early.
pub const READ_QUEUE_CNT_EXCEEDED: &str = "read_queue_cnt_exceeded";
/// …
pub const WRITE_QUEUE_CNT_EXCEEDED: &str = "write_queue_cnt_exceeded";
/// Too large pieces came early.
pub const READ_QUEUE_SIZE_EXCEEDED: &str = "read_queue_size_exceeded";
/// …
pub const WRITE_QUEUE_SIZE_EXCEEDED: &str = "write_queue_size_exceeded";
/// More requests are unanswered than are kept.
pub const TOO_MANY_TRANSACTIONS: &str = "too_many_transactions";

/// All of them.
pub const ALL: &[&str] = &[
    INTERNAL_ERROR,
    MALFORMED_DATA,
    RECORD_OVERFLOW,
    MALFORMED_NTLMSSP_REQUEST,
    MALFORMED_NTLMSSP_RESPONSE,
    DUPLICATE_NEGOTIATE,
    NEGOTIATE_MALFORMED_DIALECTS,
    FILE_OVERLAP,
    REQUEST_TO_CLIENT,
    RESPONSE_TO_SERVER,
    READ_REQUEST_TOO_LARGE,
    READ_RESPONSE_TOO_LARGE,
    WRITE_REQUEST_TOO_LARGE,
    NEGOTIATE_MAX_READ_SIZE_TOO_LARGE,
    NEGOTIATE_MAX_WRITE_SIZE_TOO_LARGE,
    READ_QUEUE_CNT_EXCEEDED,
    WRITE_QUEUE_CNT_EXCEEDED,
    READ_QUEUE_SIZE_EXCEEDED,
    WRITE_QUEUE_SIZE_EXCEEDED,
    TOO_MANY_TRANSACTIONS,
];
