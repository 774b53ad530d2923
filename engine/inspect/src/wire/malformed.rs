//! Why a packet could not be decoded: one variant per reason.

use std::fmt;

macro_rules! malformed {
    ($($(#[$doc:meta])* $variant:ident => $reason:literal, $event:expr;)*) => {
        /// Why bytes are not the packet they claim to be. Expected from hostile peers: counted, never a panic.
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

            /// Suricata's decoder event (as `decode-event` and EVE anomaly records spell it), where it has one.
            pub fn event_name(self) -> Option<&'static str> {
                match self { $(Malformed::$variant => $event,)* }
            }
        }
    };
}

malformed! {
    /// Fewer bytes than an Ethernet header.
    EthernetTooShort => "ethernet_too_short", Some("decoder.ethernet.pkt_too_small");
    /// A VLAN tag is cut off.
    VlanTooShort => "vlan_too_short", Some("decoder.vlan.header_too_small");
    /// More than [`MAX_VLAN_TAGS`](super::MAX_VLAN_TAGS) tags.
    VlanTooMany => "vlan_too_many", Some("decoder.vlan.too_many_layers");
    /// Fewer bytes than a Linux cooked (SLL, SLL2) header.
    SllTooShort => "sll_too_short", Some("decoder.sll.pkt_too_small");
    /// Fewer bytes than a BSD loopback header.
    NullTooShort => "null_too_short", Some("decoder.ltnull.pkt_too_small");
    /// A BSD loopback address family that is not IP.
    NullUnsupported => "null_unsupported", Some("decoder.ltnull.unsupported_type");
    /// Fewer bytes than a PPP header.
    PppTooShort => "ppp_too_short", Some("decoder.ppp.pkt_too_small");
    /// A PPP protocol that is not IP.
    PppUnsupported => "ppp_unsupported", Some("decoder.ppp.unsup_proto");
    /// Fewer bytes than a Cisco HDLC header.
    CiscoHdlcTooShort => "cisco_hdlc_too_short", Some("decoder.chdlc.pkt_too_small");
    /// A PPPoE session header is cut off.
    PppoeTooShort => "pppoe_too_short", Some("decoder.pppoe.pkt_too_small");
    /// A capture link type that is not decoded.
    LinkTypeUnsupported => "link_type_unsupported", None;
    /// Raw IP whose version is neither 4 nor 6.
    IpVersionUnknown => "ip_version_unknown", Some("decoder.ipraw.invalid_ip_version");
    /// Fewer bytes than an IPv4 header.
    Ipv4TooShort => "ipv4_too_short", Some("decoder.ipv4.pkt_too_small");
    /// An IPv4 EtherType before another version.
    Ipv4WrongVersion => "ipv4_wrong_version", Some("decoder.ipv4.wrong_ip_version");
    /// The IPv4 header length is under 20, or past the data.
    Ipv4HeaderLength => "ipv4_header_length", Some("decoder.ipv4.hlen_too_small");
    /// The IPv4 total length is shorter than its header.
    Ipv4TotalLength => "ipv4_total_length", Some("decoder.ipv4.iplen_smaller_than_hlen");
    /// The IPv4 total length is longer than the data.
    Ipv4Truncated => "ipv4_truncated", Some("decoder.ipv4.trunc_pkt");
    /// An IPv4 option runs past the header (the packet is still decoded).
    Ipv4OptionLength => "ipv4_option_length", Some("decoder.ipv4.opt_invalid_len");
    /// ICMPv6 inside IPv4 (the packet is still decoded).
    Ipv4WithIcmpv6 => "ipv4_with_icmpv6", Some("decoder.ipv4.icmpv6");
    /// A fragment that would end past 65,535 bytes.
    Ipv4FragmentTooLarge => "ipv4_fragment_too_large", Some("decoder.ipv4.frag_pkt_too_large");
    /// Fewer bytes than an IPv6 header.
    Ipv6TooShort => "ipv6_too_short", Some("decoder.ipv6.pkt_too_small");
    /// An IPv6 EtherType before another version.
    Ipv6WrongVersion => "ipv6_wrong_version", Some("decoder.ipv6.wrong_ip_version");
    /// The IPv6 payload length is longer than the data.
    Ipv6Truncated => "ipv6_truncated", Some("decoder.ipv6.trunc_pkt");
    /// A jumbogram (RFC 2675): payload length 0 with a hop-by-hop header.
    Ipv6Jumbogram => "ipv6_jumbogram", None;
    /// An extension header runs past the packet.
    Ipv6ExtensionTruncated => "ipv6_extension_truncated", Some("decoder.ipv6.trunc_exthdr");
    /// More than [`MAX_EXTENSION_HEADERS`](super::MAX_EXTENSION_HEADERS) extension headers.
    Ipv6TooManyExtensions => "ipv6_too_many_extensions", None;
    /// A second fragment header.
    Ipv6DuplicateFragmentHeader => "ipv6_duplicate_fragment_header", Some("decoder.ipv6.exthdr_dupl_fh");
    /// A type 0 routing header (RFC 5095; the packet is still decoded).
    Ipv6RoutingType0 => "ipv6_routing_type_0", Some("decoder.ipv6.rh_type_0");
    /// A fragment header on a whole packet (RFC 6946; the packet is still decoded).
    Ipv6UselessFragmentHeader => "ipv6_useless_fragment_header", Some("decoder.ipv6.exthdr_useless_fh");
    /// ICMPv4 inside IPv6 (the packet is still decoded).
    Ipv6WithIcmpv4 => "ipv6_with_icmpv4", Some("decoder.ipv6.icmpv4");
    /// A fragment that would end past 65,535 bytes.
    Ipv6FragmentTooLarge => "ipv6_fragment_too_large", Some("decoder.ipv6.frag_pkt_too_large");
    /// Fewer bytes than a TCP header.
    TcpTooShort => "tcp_too_short", Some("decoder.tcp.pkt_too_small");
    /// The TCP data offset is under 20 bytes.
    TcpHeaderLength => "tcp_header_length", Some("decoder.tcp.hlen_too_small");
    /// The TCP data offset is past the data.
    TcpOptionsTruncated => "tcp_options_truncated", Some("decoder.tcp.invalid_optlen");
    /// A TCP option has an impossible length (the packet is still decoded).
    TcpOptionLength => "tcp_option_length", Some("decoder.tcp.opt_invalid_len");
    /// Fewer bytes than a UDP header.
    UdpTooShort => "udp_too_short", Some("decoder.udp.pkt_too_small");
    /// The UDP length is longer than the data.
    UdpTruncated => "udp_truncated", Some("decoder.udp.hlen_too_small");
    /// The UDP length is shorter than its header.
    UdpLength => "udp_length", Some("decoder.udp.hlen_invalid");
    /// Fewer bytes than an ICMP header.
    Icmpv4TooShort => "icmpv4_too_short", Some("decoder.icmpv4.pkt_too_small");
    /// Fewer bytes than an ICMPv6 header.
    Icmpv6TooShort => "icmpv6_too_short", Some("decoder.icmpv6.pkt_too_small");
    /// A GRE header is cut off.
    GreTooShort => "gre_too_short", Some("decoder.gre.pkt_too_small");
    /// A GRE version that is neither 0 nor 1.
    GreVersion => "gre_version", Some("decoder.gre.wrong_version");
    /// A VXLAN header is cut off or does not carry the valid-VNI flag.
    VxlanHeader => "vxlan_header", Some("decoder.vxlan.unknown_payload_type");
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Malformed {}
