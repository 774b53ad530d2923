//! What a TLS connection can be odd about, by Suricata's names.

macro_rules! events {
    ($($(#[$doc:meta])* $constant:ident = $name:literal;)*) => {
        $($(#[$doc])* pub const $constant: &str = $name;)*
        /// All of them.
        pub const NAMES: &[&str] = &[$($name,)*];
    };
}

events! {
    /// An SSL 2 record is empty.
    INVALID_SSLV2_HEADER = "invalid_sslv2_header";
    /// Known to rules, raised by nothing: any five bytes of another kind are an invalid type.
    INVALID_TLS_HEADER = "invalid_tls_header";
    /// Known to rules, raised by nothing: the version of a record is not looked at.
    INVALID_RECORD_VERSION = "invalid_record_version";
    /// A record of a type that TLS does not have.
    INVALID_RECORD_TYPE = "invalid_record_type";
    /// A record is longer than records may be.
    INVALID_RECORD_LENGTH = "invalid_record_length";
    /// A handshake message of a type that is not known.
    INVALID_HANDSHAKE_MESSAGE = "invalid_handshake_message";
    /// Known to rules, raised by nothing: heartbeats as such are no oddity.
    HEARTBEAT_MESSAGE = "heartbeat_message";
    /// A heartbeat of unknown type, with too little padding, or while another is under way.
    INVALID_HEARTBEAT_MESSAGE = "invalid_heartbeat_message";
    /// A heartbeat asks for more than it brings (CVE-2014-0160).
    OVERFLOW_HEARTBEAT_MESSAGE = "overflow_heartbeat_message";
    /// An encrypted heartbeat is answered by more than it brought.
    DATALEAK_HEARTBEAT_MISMATCH = "dataleak_heartbeat_mismatch";
    /// A length in a hello leads past its end.
    HANDSHAKE_INVALID_LENGTH = "handshake_invalid_length";
    /// More than one host name is asked for.
    MULTIPLE_SNI_EXTENSIONS = "multiple_sni_extensions";
    /// A server name that is no host name.
    INVALID_SNI_TYPE = "invalid_sni_type";
    /// A host name is empty, too long, or leads past its end.
    INVALID_SNI_LENGTH = "invalid_sni_length";
    /// Known to rules, raised by nothing: records are read in any number.
    TOO_MANY_RECORDS_IN_PACKET = "too_many_records_in_packet";
    /// A certificate cannot be read for another reason than those below.
    INVALID_CERTIFICATE = "invalid_certificate";
    /// A certificate is cut short.
    CERTIFICATE_INVALID_LENGTH = "certificate_invalid_length";
    /// The certificate's part of that name cannot be read.
    CERTIFICATE_INVALID_VERSION = "certificate_invalid_version";
    /// The certificate's part of that name cannot be read.
    CERTIFICATE_INVALID_SERIAL = "certificate_invalid_serial";
    /// The certificate's part of that name cannot be read.
    CERTIFICATE_INVALID_ALGORITHMIDENTIFIER = "certificate_invalid_algorithmidentifier";
    /// The certificate's part of that name cannot be read.
    CERTIFICATE_INVALID_X509NAME = "certificate_invalid_x509name";
    /// The certificate's part of that name cannot be read.
    CERTIFICATE_INVALID_DATE = "certificate_invalid_date";
    /// The certificate's part of that name cannot be read.
    CERTIFICATE_INVALID_EXTENSIONS = "certificate_invalid_extensions";
    /// The certificate's part of that name cannot be read.
    CERTIFICATE_INVALID_DER = "certificate_invalid_der";
    /// The certificate's part of that name cannot be read.
    CERTIFICATE_INVALID_SUBJECT = "certificate_invalid_subject";
    /// The certificate's part of that name cannot be read.
    CERTIFICATE_INVALID_ISSUER = "certificate_invalid_issuer";
    /// The certificate's part of that name cannot be read.
    CERTIFICATE_INVALID_VALIDITY = "certificate_invalid_validity";
    /// An SSL 2 error message.
    ERROR_MESSAGE_ENCOUNTERED = "error_message_encountered";
    /// A record is too short to hold what it should.
    INVALID_SSL_RECORD = "invalid_ssl_record";
}
