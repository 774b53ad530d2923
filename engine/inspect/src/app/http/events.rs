//! What is odd about a transaction, under the names Suricata gives it (`app-layer-event:http.NAME`).

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// One oddity of a request or response.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum HttpEvent { $($(#[$doc])* $variant,)* }

        impl HttpEvent {
            /// Every event there is.
            pub const ALL: &'static [HttpEvent] = &[$(HttpEvent::$variant,)*];

            /// Suricata's name in lower case, without the `http.` in front.
            pub fn name(self) -> &'static str {
                match self { $(HttpEvent::$variant => $name,)* }
            }
        }
    };
}

events! {
    /// Something that has no name of its own.
    UnknownError = "unknown_error",
    /// A coded body could not be decoded.
    GzipDecompressionFailed = "gzip_decompression_failed",
    /// A request header line without a colon.
    RequestFieldMissingColon = "request_field_missing_colon",
    /// A response header line without a colon.
    ResponseFieldMissingColon = "response_field_missing_colon",
    /// A chunk length of a request that is no number.
    InvalidRequestChunkLen = "invalid_request_chunk_len",
    /// A chunk length of a response that is no number.
    InvalidResponseChunkLen = "invalid_response_chunk_len",
    /// A request's Transfer-Encoding is not `chunked`.
    InvalidTransferEncodingValueInRequest = "invalid_transfer_encoding_value_in_request",
    /// A response's Transfer-Encoding is not `chunked`.
    InvalidTransferEncodingValueInResponse = "invalid_transfer_encoding_value_in_response",
    /// A request's Content-Length is no number.
    InvalidContentLengthFieldInRequest = "invalid_content_length_field_in_request",
    /// A response's Content-Length is no number.
    InvalidContentLengthFieldInResponse = "invalid_content_length_field_in_response",
    /// A request with contradicting Content-Lengths.
    DuplicateContentLengthFieldInRequest = "duplicate_content_length_field_in_request",
    /// A response with contradicting Content-Lengths.
    DuplicateContentLengthFieldInResponse = "duplicate_content_length_field_in_response",
    /// A second interim response.
    ContinueAlreadySeen = "100_continue_already_seen",
    /// A response nobody asked for.
    UnableToMatchResponseToRequest = "unable_to_match_response_to_request",
    /// The port in the Host header is no port.
    InvalidServerPortInRequest = "invalid_server_port_in_request",
    /// The port in a CONNECT's authority is no port.
    InvalidAuthorityPort = "invalid_authority_port",
    /// A request header field's name is no token, or empty.
    RequestHeaderInvalid = "request_header_invalid",
    /// A response header field's name is no token, or empty.
    ResponseHeaderInvalid = "response_header_invalid",
    /// HTTP/1.1 without Host.
    MissingHostHeader = "missing_host_header",
    /// The Host header contradicts the URI or another Host header.
    HostHeaderAmbiguous = "host_header_ambiguous",
    /// A folded line with nothing to fold onto.
    InvalidRequestFieldFolding = "invalid_request_field_folding",
    /// A folded line with nothing to fold onto.
    InvalidResponseFieldFolding = "invalid_response_field_folding",
    /// A request line or header past the limit.
    RequestFieldTooLong = "request_field_too_long",
    /// A status line or header past the limit.
    ResponseFieldTooLong = "response_field_too_long",
    /// The Host header's port is not the connection's.
    RequestServerPortTcpPortMismatch = "request_server_port_tcp_port_mismatch",
    /// The URI's host is no host name.
    RequestUriHostInvalid = "request_uri_host_invalid",
    /// The Host header is no host name.
    RequestHeaderHostInvalid = "request_header_host_invalid",
    /// The method is followed by something else than a space.
    MethodDelimNonCompliant = "method_delim_non_compliant",
    /// The URI is followed by something else than a space.
    UriDelimNonCompliant = "uri_delim_non_compliant",
    /// White space before the method.
    RequestLineLeadingWhitespace = "request_line_leading_whitespace",
    /// More content codings than are undone.
    TooManyEncodingLayers = "too_many_encoding_layers",
    /// A content coding nobody knows.
    AbnormalCeHeader = "abnormal_ce_header",
    /// An Authorization header of no known kind.
    RequestAuthUnrecognized = "request_auth_unrecognized",
    /// One request header name too often.
    RequestHeaderRepetition = "request_header_repetition",
    /// One response header name too often.
    ResponseHeaderRepetition = "response_header_repetition",
    /// A multipart/byteranges response.
    ResponseMultipartByteranges = "response_multipart_byteranges",
    /// `chunked` among other things in a response's Transfer-Encoding.
    ResponseAbnormalTransferEncoding = "response_abnormal_transfer_encoding",
    /// Chunked in answer to, or sent as, HTTP/0.9 or 1.0.
    ResponseChunkedOldProto = "response_chunked_old_proto",
    /// A status line's protocol that is not HTTP.
    ResponseInvalidProtocol = "response_invalid_protocol",
    /// A status code that is no three-digit number.
    ResponseInvalidStatus = "response_invalid_status",
    /// The stream ended inside the request line.
    RequestLineIncomplete = "request_line_incomplete",
    /// The URI still holds percent codes after decoding.
    DoubleEncodedUri = "double_encoded_uri",
    /// A request line that is none.
    RequestLineInvalid = "request_line_invalid",
    /// A body with a method that has none.
    RequestBodyUnexpected = "request_body_unexpected",
    /// LZMA wants more memory than it gets.
    LzmaMemlimitReached = "lzma_memlimit_reached",
    /// A body that grows past the limits when decoded.
    CompressionBomb = "compression_bomb",
    /// 101 without an Upgrade known here.
    FailedProtocolChange = "failed_protocol_change",
    /// A chunk extension in a request.
    RequestChunkExtension = "request_chunk_extension",
    /// A chunk extension in a response.
    ResponseChunkExtension = "response_chunk_extension",
    /// A request line without protocol that is not HTTP/0.9 either.
    RequestLineMissingProtocol = "request_line_missing_protocol",
    /// More request header fields than are kept.
    RequestTooManyHeaders = "request_too_many_headers",
    /// More response header fields than are kept.
    ResponseTooManyHeaders = "response_too_many_headers",
    /// A multipart body that is not read on.
    MultipartGenericError = "multipart_generic_error",
    /// A multipart part that announces a file and has none.
    MultipartNoFiledata = "multipart_no_filedata",
    /// A malformed header in a multipart part.
    MultipartInvalidHeader = "multipart_invalid_header",
    /// More oddities on one connection than are reported.
    TooManyWarnings = "too_many_warnings",
    /// A Content-Range that is none.
    RangeInvalid = "range_invalid",
    /// A file name past the limit.
    FileNameTooLong = "file_name_too_long",
    /// More transactions open at once than are kept; the rest of the connection is not read.
    TooManyTransactions = "too_many_transactions",
    /// A gap fell where the message's form was still open; that direction is not read any further.
    LostInGap = "lost_in_gap",
}

impl HttpEvent {
    /// The event of that name, whatever its case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|event| event.name().eq_ignore_ascii_case(name))
    }
}

/// A set of events: what one transaction showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events(u64);

impl Events {
    /// Adds one.
    pub fn raise(&mut self, event: HttpEvent) {
        self.0 |= 1 << event as u8;
    }

    /// Whether it was raised.
    pub fn contains(self, event: HttpEvent) -> bool {
        self.0 & (1 << event as u8) != 0
    }

    /// Whether none was raised.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those raised, in the enum's order.
    pub fn iter(self) -> impl Iterator<Item = HttpEvent> {
        HttpEvent::ALL
            .iter()
            .copied()
            .filter(move |&event| self.contains(event))
    }

    /// Adds those of another set.
    pub fn merge(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Those in `self` that are not in `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self(self.0 & !earlier.0)
    }
}

const _: () = assert!(HttpEvent::ALL.len() <= 64, "Events is a 64-bit set");
