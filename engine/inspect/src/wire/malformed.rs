//! Why a packet could not be decoded: one variant per reason.

use std::fmt;

use super::event::PacketEvent;

macro_rules! malformed {
    ($($(#[$doc:meta])* $variant:ident => $reason:literal, $event:expr;)*) => {
        /// Why decoding stopped before the end of a packet's headers. Expected from hostile peers: counted,
        /// never a panic.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Malformed {
            $($(#[$doc])* $variant,)*
        }

        impl Malformed {
            /// Every reason, for counters indexed by `as usize`.
            pub const ALL: &'static [Malformed] = &[$(Malformed::$variant,)*];

            /// A short name for counters and logs.
            pub fn reason(self) -> &'static str {
                match self { $(Malformed::$variant => $reason,)* }
            }

            /// The decoder event that stands for it, where there is one.
            pub fn event(self) -> Option<PacketEvent> {
                match self { $(Malformed::$variant => $event,)* }
            }
        }
    };
}

use PacketEvent as Event;

malformed! {
    /// Fewer bytes than an Ethernet header.
    EthernetTooShort => "ethernet_too_short", Some(Event::EthernetPktTooSmall);
    /// A VLAN tag is cut off.
    VlanTooShort => "vlan_too_short", Some(Event::VlanHeaderTooSmall);
    /// More than [`MAX_VLAN_TAGS`](super::MAX_VLAN_TAGS) tags.
    VlanTooMany => "vlan_too_many", Some(Event::VlanTooManyLayers);
    /// An 802.1ah header is cut off.
    BackboneTooShort => "backbone_too_short", Some(Event::Ieee8021ahHeaderTooSmall);
    /// A VN-Tag is cut off.
    VnTagTooShort => "vntag_too_short", Some(Event::VntagHeaderTooSmall);
    /// A FabricPath header is cut off.
    FabricPathTooShort => "fabric_path_too_short", Some(Event::DcePktTooSmall);
    /// A stack of MPLS labels is cut off.
    MplsTooShort => "mpls_too_short", Some(Event::MplsHeaderTooSmall);
    /// Too little behind MPLS labels to tell what it is.
    MplsPayloadTooShort => "mpls_payload_too_short", Some(Event::MplsPktTooSmall);
    /// An MPLS payload that is neither IP nor a pseudowire.
    MplsPayloadUnknown => "mpls_payload_unknown", Some(Event::MplsUnknownPayloadType);
    /// A reserved MPLS label at the bottom of the stack.
    MplsLabel => "mpls_label", None;
    /// A network service header is cut off.
    NshTooShort => "nsh_too_short", Some(Event::NshHeaderTooSmall);
    /// A network service header of another version.
    NshVersion => "nsh_version", Some(Event::NshUnsupportedVersion);
    /// A network service header whose length does not suit its type.
    NshLength => "nsh_length", Some(Event::NshBadHeaderLength);
    /// A network service header of a reserved metadata type.
    NshReservedType => "nsh_reserved_type", Some(Event::NshReservedType);
    /// A network service header of an unknown metadata type.
    NshType => "nsh_type", Some(Event::NshUnsupportedType);
    /// A network service header before an unknown protocol.
    NshPayload => "nsh_payload", Some(Event::NshUnknownPayload);
    /// More than [`MAX_LAYERS`](super::MAX_LAYERS) layers, one in the other.
    TooManyLayers => "too_many_layers", Some(Event::TooManyLayers);
    /// Fewer bytes than a Linux cooked (SLL, SLL2) header.
    SllTooShort => "sll_too_short", Some(Event::SllPktTooSmall);
    /// Fewer bytes than a BSD loopback header.
    NullTooShort => "null_too_short", Some(Event::LtnullPktTooSmall);
    /// A BSD loopback address family that is not IP.
    NullUnsupported => "null_unsupported", Some(Event::LtnullUnsupportedType);
    /// Fewer bytes than a PPP header.
    PppTooShort => "ppp_too_short", Some(Event::PppPktTooSmall);
    /// A known PPP protocol that does not carry IP.
    PppUnsupported => "ppp_unsupported", Some(Event::PppUnsupProto);
    /// An unknown PPP protocol.
    PppUnknown => "ppp_unknown", Some(Event::PppWrongType);
    /// PPP with less than an IPv4 header.
    PppIpv4TooShort => "ppp_ipv4_too_short", Some(Event::PppIp4PktTooSmall);
    /// PPP with less than an IPv6 header.
    PppIpv6TooShort => "ppp_ipv6_too_short", Some(Event::PppIp6PktTooSmall);
    /// PPP with less than an uncompressed Van Jacobson packet.
    PppVanJacobsonTooShort => "ppp_vj_too_short", Some(Event::PppVjuPktTooSmall);
    /// Fewer bytes than a Cisco HDLC header.
    CiscoHdlcTooShort => "cisco_hdlc_too_short", Some(Event::ChdlcPktTooSmall);
    /// A PPPoE header is cut off.
    PppoeTooShort => "pppoe_too_short", Some(Event::PppoePktTooSmall);
    /// PPPoE discovery with an unknown code.
    PppoeCode => "pppoe_code", Some(Event::PppoeWrongCode);
    /// A capture link type that is not decoded.
    LinkTypeUnsupported => "link_type_unsupported", None;
    /// Raw IP whose version is neither 4 nor 6.
    IpVersionUnknown => "ip_version_unknown", Some(Event::IprawInvalidIpVersion);
    /// Fewer bytes than an IPv4 header.
    Ipv4TooShort => "ipv4_too_short", Some(Event::Ipv4PktTooSmall);
    /// An IPv4 EtherType before another version.
    Ipv4WrongVersion => "ipv4_wrong_version", Some(Event::Ipv4WrongIpVersion);
    /// The IPv4 header length is under 20.
    Ipv4HeaderLength => "ipv4_header_length", Some(Event::Ipv4HlenTooSmall);
    /// The IPv4 total length is shorter than its header.
    Ipv4TotalLength => "ipv4_total_length", Some(Event::Ipv4IplenSmallerThanHlen);
    /// The IPv4 total length is longer than the data.
    Ipv4Truncated => "ipv4_truncated", Some(Event::Ipv4TruncPkt);
    /// An IPv4 option that runs past the header; receivers drop such packets (RFC 1122, 3.2.1.8).
    Ipv4Option => "ipv4_option", None;
    /// Fewer bytes than an IPv6 header.
    Ipv6TooShort => "ipv6_too_short", None;
    /// An IPv6 EtherType before another version.
    Ipv6WrongVersion => "ipv6_wrong_version", Some(Event::Ipv6WrongIpVersion);
    /// The IPv6 payload length is longer than the data.
    Ipv6Truncated => "ipv6_truncated", Some(Event::Ipv6TruncPkt);
    /// A jumbogram (RFC 2675): payload length 0 with a hop-by-hop header.
    Ipv6Jumbogram => "ipv6_jumbogram", Some(Event::Ipv6TruncExthdr);
    /// An extension header runs past the packet.
    Ipv6ExtensionTruncated => "ipv6_extension_truncated", Some(Event::Ipv6TruncExthdr);
    /// More than [`MAX_EXTENSION_HEADERS`](super::MAX_EXTENSION_HEADERS) extension headers.
    Ipv6TooManyExtensions => "ipv6_too_many_extensions", None;
    /// Fewer bytes than a TCP header.
    TcpTooShort => "tcp_too_short", Some(Event::TcpPktTooSmall);
    /// The TCP data offset is under 20 bytes.
    TcpHeaderLength => "tcp_header_length", Some(Event::TcpInvalidOptlen);
    /// The TCP data offset is past the data.
    TcpOptionsTruncated => "tcp_options_truncated", Some(Event::TcpHlenTooSmall);
    /// Fewer bytes than a UDP header.
    UdpTooShort => "udp_too_short", Some(Event::UdpHlenTooSmall);
    /// The UDP length is longer than the data.
    UdpTruncated => "udp_truncated", Some(Event::UdpPktTooSmall);
    /// The UDP length is shorter than its header.
    UdpLength => "udp_length", Some(Event::UdpLenInvalid);
    /// Fewer bytes than an SCTP header.
    SctpTooShort => "sctp_too_short", Some(Event::SctpPktTooSmall);
    /// Fewer bytes than an ESP header.
    EspTooShort => "esp_too_short", Some(Event::EspPktTooSmall);
    /// Fewer bytes than an ICMP header.
    Icmpv4TooShort => "icmpv4_too_short", Some(Event::Icmpv4PktTooSmall);
    /// Fewer bytes than an ICMPv6 header.
    Icmpv6TooShort => "icmpv6_too_short", Some(Event::Icmpv6PktTooSmall);
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Malformed {}
