use std::time::Duration;

use crate::wire::{attributes, u16_be, u32_be, u64_be, NETFILTER_HEADER};

const NFQA_PACKET_HDR: u16 = 1;
const NFQA_MARK: u16 = 3;
const NFQA_TIMESTAMP: u16 = 4;
const NFQA_IFINDEX_INDEV: u16 = 5;
const NFQA_IFINDEX_OUTDEV: u16 = 6;
const NFQA_IFINDEX_PHYSINDEV: u16 = 7;
const NFQA_IFINDEX_PHYSOUTDEV: u16 = 8;
const NFQA_HWADDR: u16 = 9;
const NFQA_PAYLOAD: u16 = 10;
const NFQA_CT: u16 = 11;
const NFQA_CAP_LEN: u16 = 13;
const NFQA_SKB_INFO: u16 = 14;
const NFQA_VLAN: u16 = 19;
const NFQA_L2HDR: u16 = 20;

const NFQA_VLAN_PROTO: u16 = 1;
const NFQA_VLAN_TCI: u16 = 2;
const CTA_MARK: u16 = 8;
const CTA_ZONE: u16 = 18;

// The third flag, 4, says that no card checked the checksum; the bytes are final, so it does not matter to us.
const SKB_CSUM_NOT_READY: u32 = 1;
const SKB_GSO: u32 = 2;

/// The tag of a frame that had one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// Tag protocol: 0x8100 or 0x88a8.
    pub protocol: u16,
    /// Tag control information: priority, drop eligible and the VLAN's number.
    pub tci: u16,
}

/// A packet the kernel holds until it is decided; everything is borrowed from the receive buffer.
///
/// Fields the kernel did not send are zero or `None`.
#[derive(Clone, Copy, Debug)]
pub struct QueuedPacket<'a> {
    /// The kernel's number for it.
    pub id: u32,
    /// From the IP header on.
    pub payload: &'a [u8],
    /// Bytes the packet has in the kernel, from the IP header on.
    pub original_len: usize,
    /// The packet mark.
    pub mark: u32,
    /// Index of the port it came in by: the bridge port where there is one, else the interface; 0 unknown.
    pub in_dev: u32,
    /// Index of the port it leaves by, likewise.
    pub out_dev: u32,
    /// The sender's MAC.
    pub src_mac: Option<[u8; 6]>,
    /// Whether the TCP or UDP checksum in the packet is to be believed and checked. False for packets of a local
    /// sender whose checksum is left to the network card, and for GSO packets.
    pub checksum_ready: bool,
    /// Whether it is a segmentation-offload packet: up to 64 KiB, sent as several.
    pub gso: bool,
    /// Its VLAN tag.
    pub vlan: Option<Vlan>,
    /// EtherType.
    pub hw_protocol: u16,
    /// Netfilter hook it waits in.
    pub hook: u8,
    /// The whole link-layer header (bridge family only).
    pub l2_header: Option<&'a [u8]>,
    /// When the card or driver took it, Unix nanoseconds.
    pub timestamp_ns: Option<u64>,
    /// How long it waited in the queue, as far as is known.
    pub waited: Duration,
    /// Mark of its connection.
    pub ct_mark: Option<u32>,
    /// Conntrack zone of its connection.
    pub ct_zone: Option<u16>,
}

impl<'a> QueuedPacket<'a> {
    /// A packet of which only the bytes are known; set the rest with struct update.
    pub fn of(payload: &'a [u8]) -> Self {
        Self {
            id: 0,
            payload,
            original_len: payload.len(),
            mark: 0,
            in_dev: 0,
            out_dev: 0,
            src_mac: None,
            checksum_ready: false,
            gso: false,
            vlan: None,
            hw_protocol: 0,
            hook: 0,
            l2_header: None,
            timestamp_ns: None,
            waited: Duration::ZERO,
            ct_mark: None,
            ct_zone: None,
        }
    }

    /// Whether there is more of this packet than [`QueuedPacket::payload`] shows.
    ///
    /// The kernel copies at most 65,531 bytes; an IP header may claim more than it copied, too.
    pub fn truncated(&self) -> bool {
        self.payload.len() < self.original_len || self.payload.len() < claimed_length(self.payload)
    }
}

/// Bytes the IP header says the packet has: a bare header's if it is too short to say, and at least one.
fn claimed_length(payload: &[u8]) -> usize {
    match payload.first().map(|byte| byte >> 4) {
        Some(4) => u16_be(payload, 2).map_or(20, usize::from),
        Some(6) => u16_be(payload, 4).map_or(40, |length| 40 + usize::from(length)),
        _ => 1,
    }
}

/// Reads the body of a packet message: the netfilter header and attributes.
///
/// `None` when it does not even hold the packet's id; any other attribute may be missing or odd.
pub(crate) fn read(body: &[u8]) -> Option<QueuedPacket<'_>> {
    let mut packet = QueuedPacket {
        // Without flags the checksum is there to be checked.
        checksum_ready: true,
        ..QueuedPacket::of(&[])
    };
    let (mut identified, mut captured) = (false, 0);
    let (mut in_port, mut out_port) = (0, 0);
    for (kind, value) in attributes(body.get(NETFILTER_HEADER..)?) {
        match kind {
            NFQA_PACKET_HDR => {
                packet.id = u32_be(value, 0)?;
                packet.hw_protocol = u16_be(value, 4).unwrap_or(0);
                packet.hook = value.get(6).copied().unwrap_or(0);
                identified = true;
            }
            NFQA_MARK => packet.mark = number(value),
            NFQA_TIMESTAMP => packet.timestamp_ns = timestamp(value),
            NFQA_IFINDEX_INDEV => packet.in_dev = number(value),
            NFQA_IFINDEX_OUTDEV => packet.out_dev = number(value),
            NFQA_IFINDEX_PHYSINDEV => in_port = number(value),
            NFQA_IFINDEX_PHYSOUTDEV => out_port = number(value),
            NFQA_HWADDR => packet.src_mac = mac(value),
            NFQA_PAYLOAD => packet.payload = value,
            NFQA_CT => read_conntrack(value, &mut packet),
            NFQA_CAP_LEN => captured = number(value) as usize,
            NFQA_SKB_INFO => {
                let flags = number(value);
                packet.gso = flags & SKB_GSO != 0;
                packet.checksum_ready = flags & (SKB_CSUM_NOT_READY | SKB_GSO) == 0;
            }
            NFQA_VLAN => packet.vlan = vlan(value),
            NFQA_L2HDR => packet.l2_header = Some(value),
            _ => {}
        }
    }
    packet.original_len = captured.max(packet.payload.len());
    if in_port != 0 {
        packet.in_dev = in_port;
    }
    if out_port != 0 {
        packet.out_dev = out_port;
    }
    identified.then_some(packet)
}

fn number(value: &[u8]) -> u32 {
    u32_be(value, 0).unwrap_or(0)
}

fn timestamp(value: &[u8]) -> Option<u64> {
    let (seconds, micros) = (u64_be(value, 0)?, u64_be(value, 8)?);
    seconds
        .checked_mul(1_000_000_000)?
        .checked_add(micros.checked_mul(1_000)?)
}

/// struct nfqnl_msg_packet_hw: the address' length, two bytes of padding, up to eight of address.
fn mac(value: &[u8]) -> Option<[u8; 6]> {
    if u16_be(value, 0)? != 6 {
        return None;
    }
    value.get(4..10)?.try_into().ok()
}

fn vlan(value: &[u8]) -> Option<Vlan> {
    let mut tag = Vlan {
        protocol: 0,
        tci: 0,
    };
    for (kind, value) in attributes(value) {
        match kind {
            NFQA_VLAN_PROTO => tag.protocol = u16_be(value, 0)?,
            NFQA_VLAN_TCI => tag.tci = u16_be(value, 0)?,
            _ => {}
        }
    }
    (tag.protocol != 0).then_some(tag)
}

fn read_conntrack(value: &[u8], packet: &mut QueuedPacket<'_>) {
    for (kind, value) in attributes(value) {
        match kind {
            CTA_MARK => packet.ct_mark = u32_be(value, 0),
            CTA_ZONE => packet.ct_zone = u16_be(value, 0),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
