//! One signature as read.

/// What a signature asks for when it matches; ordered as Suricata evaluates them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Let through without looking further.
    Pass,
    /// Block.
    Drop,
    /// Block and tell the source.
    Reject,
    /// Block and tell the destination.
    RejectDst,
    /// Block and tell both.
    RejectBoth,
    /// Say so.
    Alert,
}

impl Action {
    /// The keyword.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::RejectDst => "rejectdst",
            Self::RejectBoth => "rejectboth",
            Self::Alert => "alert",
        }
    }
}

/// The protocol in a signature's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// Any IP packet.
    Ip,
    /// TCP: stream, or packets where a condition asks for them.
    Tcp,
    /// TCP, packets only.
    TcpPkt,
    /// TCP, stream only.
    TcpStream,
    /// UDP.
    Udp,
    /// ICMP or ICMPv6.
    Icmp,
    /// HTTP of any version.
    Http,
    /// HTTP/1.
    Http1,
}

impl Protocol {
    /// The keyword.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Tcp => "tcp",
            Self::TcpPkt => "tcp-pkt",
            Self::TcpStream => "tcp-stream",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Http => "http",
            Self::Http1 => "http1",
        }
    }
}

/// One signature.
#[derive(Clone, Debug)]
pub struct Signature {
    /// Generator, 1 by default.
    pub gid: u32,
    /// Signature number.
    pub sid: u32,
    /// Revision.
    pub rev: u32,
    /// What it says.
    pub msg: String,
    /// What it asks for.
    pub action: Action,
    /// The header's protocol.
    pub protocol: Protocol,
    /// Class, empty without one.
    pub classtype: String,
    /// The class's description as EVE calls `category`, empty without one.
    pub category: String,
    /// 1 most severe … 255; by class unless given, 3 without either.
    pub priority: u8,
    /// `type,id` as written.
    pub references: Vec<String>,
    /// Key and value pairs as written.
    pub metadata: Vec<(String, String)>,
    /// CVEs named by references and metadata, as `CVE-2021-44228`, sorted, once each.
    pub cves: Vec<String>,
    /// Which end `target` names.
    pub target: Option<Target>,
    /// File it came from.
    pub file: String,
    /// Line it starts on, from 1.
    pub line: u32,
}

/// `target:`, which end is attacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The packet's source.
    Source,
    /// The packet's destination.
    Destination,
}
