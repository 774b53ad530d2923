//! What a caller shows the matcher of one packet and its flow.
use std::net::IpAddr;

use crate::app::AppProto;
use crate::wire::{Packet, PacketEvents};
use crate::Direction;

/// What is known of a packet's flow when the packet is inspected.
#[derive(Clone, Copy, Debug)]
pub struct FlowView {
    /// Address of the end that opened the flow.
    pub client: IpAddr,
    /// Its port; 0 where the protocol has none.
    pub client_port: u16,
    /// Address of the other end.
    pub server: IpAddr,
    /// Its port.
    pub server_port: u16,
    /// IP protocol number.
    pub ip_proto: u8,
    /// TCP: the handshake is complete (or the flow was picked up midstream); else: both ends have spoken.
    pub established: bool,
    /// The same, before the packet at hand came.
    pub was_established: bool,
    /// The application protocol, once told.
    pub app: Option<AppProto>,
    /// The protocol of the packet's direction will not change any more: it was told, or there is none known.
    pub app_done: bool,
    /// What the packet's direction itself brought is nothing known, though the other one told the protocol.
    pub app_foreign: bool,
    /// Signatures on the protocol alone see this packet.
    pub app_news: bool,
    /// TCP: its segments are followed, from the handshake on or from the middle.
    pub followed: bool,
    /// TCP: how many sequence numbers were used so far, by direction (`to_server` first): the SYN, bytes, gaps.
    pub stream_bytes: [u64; 2],
    /// Whole seconds since its first packet.
    pub age_s: u32,
}

/// The TCP header's fields that signatures test.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpView {
    /// The flag byte, CWR and ECE at the top.
    pub flags: u8,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Window as sent, unscaled.
    pub window: u16,
}

/// The ICMP header's fields that signatures test.
#[derive(Clone, Copy, Debug, Default)]
pub struct IcmpView {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Identifier of an echo.
    pub id: Option<u16>,
    /// Sequence number of an echo.
    pub seq: Option<u16>,
}

/// One packet (or datagram put together from fragments), or, with an empty payload and `pseudo`, the moment
/// at which stream bytes or a transaction became ready.
#[derive(Clone, Copy, Debug)]
pub struct PacketView<'a> {
    /// Which way the packet travels in its flow; without a flow `ToServer`.
    pub direction: Direction,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Source port; 0 where the protocol has none.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// IP protocol number, after extension headers.
    pub ip_proto: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// IPv4 identification.
    pub ip_id: Option<u16>,
    /// IPv4's three fragment bits: 4 reserved, 2 don't fragment, 1 more fragments.
    pub fragment_bits: u8,
    /// Fragment offset in 8-byte units; 0 for whole packets.
    pub fragment_offset: u16,
    /// The TCP header, if any.
    pub tcp: Option<TcpView>,
    /// The ICMP header, if any.
    pub icmp: Option<IcmpView>,
    /// Bytes after the transport header (after the IP header where the transport is not parsed).
    pub payload: &'a [u8],
    /// How many there are where they are not looked at: encrypted, or no part of a connection.
    pub hidden_bytes: usize,
    /// What is odd about it.
    pub events: PacketEvents,
    /// Not even its IP header was read. Where something is odd about such a packet, only signatures on that are asked.
    pub undecoded: bool,
    /// The payload went into a TCP stream, so that signatures on the stream see it there.
    pub in_stream: bool,
    /// Bytes of its direction were shown to signatures on the stream since the packet before it: as Suricata, which
    /// shows them now, such a packet does not count as one without payload.
    pub stream_news: bool,
    /// Not a packet from the wire: packet-only signatures pass it by.
    pub pseudo: bool,
    /// The flow ends with something in this direction that no packet has shown: signatures that ask for a protocol
    /// alone are asked once more.
    pub closing: bool,
    /// The packet as decoded; `None` where it is pseudo.
    pub wire: Option<&'a Packet<'a>>,
    /// It was put together from fragments.
    pub defragmented: bool,
}

/// Bytes of one direction of a stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamView<'a> {
    /// Stream offset of `bytes[0]`, counted from the first byte after the SYN.
    pub offset: u64,
    /// The window to inspect.
    pub bytes: &'a [u8],
    /// How many bytes at the front of `bytes` were shown before: a match must reach past them.
    pub seen_before: usize,
    /// No byte will follow in this direction.
    pub last: bool,
}

/// Which end of the flow `$HOME_NET` is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Home {
    /// Whatever address falls in the lists given when compiling.
    #[default]
    Addresses,
    /// The end that opened the flow.
    Client,
    /// The end it was opened to.
    Server,
    /// Both ends are one and the same protected guest.
    Both,
}

/// One perspective on a flow: a protected guest and the signatures it holds.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Which end is home.
    pub home: Home,
    /// Signatures (by index) evaluated for this side; `None` is all.
    pub assigned: Option<&'a SignatureSet>,
    /// Keys thresholds; the guest's number.
    pub guest: u32,
}

impl Side<'_> {
    /// Offline: every signature, home from the address lists.
    pub const OFFLINE: Side<'static> = Side {
        home: Home::Addresses,
        assigned: None,
        guest: 0,
    };
}

/// A set of signature indices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignatureSet {
    words: Vec<u64>,
}

impl SignatureSet {
    /// Adds `index`.
    pub fn insert(&mut self, index: u32) {
        let word = index as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (index % 64);
    }

    /// Removes `index`.
    pub fn remove(&mut self, index: u32) {
        if let Some(word) = self.words.get_mut(index as usize / 64) {
            *word &= !(1 << (index % 64));
        }
    }

    /// Whether `index` is in the set.
    pub fn contains(&self, index: u32) -> bool {
        self.words
            .get(index as usize / 64)
            .is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    /// How many are in the set.
    pub fn len(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }
}

/// Everything about the moment of inspection that is not the bytes themselves.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The packet's time.
    pub now_ns: u64,
    /// The flow; `None` for packets that belong to none.
    pub flow: Option<&'a FlowView>,
    /// The packet.
    pub packet: &'a PacketView<'a>,
    /// One or two perspectives (`MAX_SIDES`).
    pub sides: &'a [Side<'a>],
    /// Inline: judge growing bodies now. Offline detection waits until a body is complete or large.
    pub at_once: bool,
    /// Shared by all workers.
    pub shared: &'a super::SharedState,
}
