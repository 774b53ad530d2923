//! Packets as bytes: decoding, putting fragments together, capture files, and the few packets we build.
//!
//! Everything borrows from the bytes it was given and allocates nothing, except the [`Defragmenter`] (bounded)
//! and the packets that are built. Whatever the input, the answer is a value or a [`Malformed`], never a panic.

mod build;
mod capture;
mod checksum;
mod defrag;
mod event;
mod icmp;
mod ip4;
mod ip4_options;
mod ip6;
mod link;
mod malformed;
mod packet;
mod ppp;
mod quoted;
mod shim;
mod tcp;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_defrag;
mod tunnel;
mod udp;

pub use build::{reset_to, unreachable_to, Frame, Reset, Unreachable};
pub use capture::{CaptureError, CaptureReader, Record, MAX_RECORD_BYTES};
pub use checksum::{ipv4_header_checksum_ok, transport_checksum_ok};
pub use defrag::{DefragEvent, DefragLimits, DefragPolicy, Defragmenter, Reassembly};
pub use event::{PacketEvent, PacketEvents};
pub use icmp::Icmp;
pub use ip4::Ipv4;
pub use ip6::{Ipv6, MAX_EXTENSION_HEADERS};
pub use link::{Ethernet, VlanTag, Vlans, MAX_VLAN_TAGS};
pub use malformed::Malformed;
pub use packet::{
    decode_ethernet, decode_ip, decode_link, Fragment, Network, Packet, Transport, MAX_LAYERS,
};
pub use quoted::{decode_quoted, Quoted};
pub use tcp::{flags, Tcp, TcpOptions};
pub use tunnel::{inner_packet, Inner, Tunnel, UDP_PORTS as TUNNEL_UDP_PORTS};
pub use udp::Udp;

/// IP protocol numbers.
pub mod proto {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IPv4 in IP.
    pub const IPV4: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in IP.
    pub const IPV6: u8 = 41;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// GRE.
    pub const GRE: u8 = 47;
    /// ESP: the rest is encrypted.
    pub const ESP: u8 = 50;
    /// Authentication header.
    pub const AH: u8 = 51;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6 "no next header".
    pub const NO_NEXT: u8 = 59;
    /// IPv6 destination options.
    pub const DESTINATION: u8 = 60;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// Mobility header (RFC 6275).
    pub const MOBILITY: u8 = 135;
    /// Host Identity Protocol (RFC 7401).
    pub const HIP: u8 = 139;
    /// Shim6 (RFC 5533).
    pub const SHIM6: u8 = 140;
}

/// EtherTypes.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// 802.1Q tag.
    pub const VLAN: u16 = 0x8100;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// MPLS.
    pub const MPLS: u16 = 0x8847;
    /// MPLS, multicast.
    pub const MPLS_MULTICAST: u16 = 0x8848;
    /// PPPoE discovery.
    pub const PPPOE_DISCOVERY: u16 = 0x8863;
    /// PPPoE session.
    pub const PPPOE_SESSION: u16 = 0x8864;
    /// 802.1ad service tag.
    pub const QINQ: u16 = 0x88a8;
    /// Provider backbone bridging, 802.1ah.
    pub const BACKBONE: u16 = 0x88e7;
    /// Network service header (RFC 8300).
    pub const NSH: u16 = 0x894f;
    /// Cisco FabricPath.
    pub const FABRIC_PATH: u16 = 0x8903;
    /// VN-Tag.
    pub const VN_TAG: u16 = 0x8926;
    /// An Ethernet frame in GRE and its kin.
    pub const TRANSPARENT_ETHERNET: u16 = 0x6558;
    /// PPP in GRE (RFC 2637).
    pub const PPP: u16 = 0x880b;
    /// ERSPAN, versions I and II, in GRE.
    pub const ERSPAN: u16 = 0x88be;
    /// The service tag of older equipment.
    pub const QINQ_OLD: u16 = 0x9100;
}

/// Link types of capture files. Source: tcpdump.org/linktypes.html.
pub mod linktype {
    /// BSD loopback, host byte order.
    pub const NULL: u32 = 0;
    /// Ethernet.
    pub const ETHERNET: u32 = 1;
    /// PPP.
    pub const PPP: u32 = 9;
    /// Raw IP, where DLT_RAW leaked into files.
    pub const RAW_OLD_12: u32 = 12;
    /// Raw IP, OpenBSD.
    pub const RAW_OLD_14: u32 = 14;
    /// Raw IP.
    pub const RAW: u32 = 101;
    /// Cisco HDLC.
    pub const CISCO_HDLC: u32 = 104;
    /// OpenBSD loopback.
    pub const LOOP: u32 = 108;
    /// Linux cooked capture.
    pub const LINUX_SLL: u32 = 113;
    /// Raw IPv4.
    pub const IPV4: u32 = 228;
    /// Raw IPv6.
    pub const IPV6: u32 = 229;
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: u32 = 276;
}
