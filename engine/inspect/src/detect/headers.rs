//! Which ends fit a signature's header.
//!
//! Most signatures share their header with many others, and all packets of one direction of a connection have the same
//! ends. So each distinct header is asked about once, and what it said is kept until a packet has other ends.
use std::collections::HashMap;
use std::net::IpAddr;

use crate::rule::Protocol;
use crate::Direction;

use super::address::{AddressTest, HomeLists, PortTest};
use super::scratch::Stamps;
use super::{Context, Home, PacketView, MAX_SIDES};

/// A distinct header; the numbers are those of [`Tests`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Header {
    pub(super) protocol: Protocol,
    pub(super) src: u32,
    pub(super) dst: u32,
    pub(super) src_ports: u32,
    pub(super) dst_ports: u32,
    pub(super) both_ways: bool,
}

/// Collects distinct headers.
#[derive(Debug, Default)]
pub(super) struct HeadersBuilder {
    index: HashMap<Header, u32>,
    headers: Vec<Header>,
}

impl HeadersBuilder {
    /// The header's number.
    pub(super) fn get(&mut self, header: Header) -> u32 {
        *self.index.entry(header).or_insert_with(|| {
            self.headers.push(header);
            self.headers.len() as u32 - 1
        })
    }

    pub(super) fn build(self, tests: Tests) -> Headers {
        let headers = self.headers.into();
        Headers { headers, tests }
    }
}

/// What headers ask of addresses and ports.
#[derive(Debug)]
pub(super) struct Tests {
    pub(super) addresses: Vec<AddressTest>,
    pub(super) ports: Vec<PortTest>,
    pub(super) home: HomeLists,
}

/// All distinct headers of a matcher's signatures.
#[derive(Debug)]
pub(super) struct Headers {
    headers: Box<[Header]>,
    pub(super) tests: Tests,
}

impl Headers {
    /// The sides for which a header fits the packet: one bit each.
    pub(super) fn sides(&self, header: u32, context: &Context<'_>, known: &mut Fits) -> u8 {
        let is_new = known.asked.is_first(header);
        let Some(sides) = known.sides.get_mut(header as usize) else {
            return self.ask(header, context);
        };
        if is_new {
            *sides = self.ask(header, context);
        }
        *sides
    }

    fn ask(&self, header: u32, context: &Context<'_>) -> u8 {
        let Some(header) = self.headers.get(header as usize) else {
            return 0;
        };
        let sides = context.sides.iter().take(MAX_SIDES).enumerate();
        sides
            .filter(|(_, side)| self.tests.fit(header, context.packet, side.home))
            .fold(0, |found, (at, _)| found | 1 << at)
    }
}

impl Tests {
    fn fit(&self, header: &Header, packet: &PacketView<'_>, home: Home) -> bool {
        let family_fits = match header.protocol {
            Protocol::Ip4 => packet.src.is_ipv4(),
            Protocol::Ip6 => packet.src.is_ipv6(),
            _ => true,
        };
        if !family_fits || !header.protocol.carries(packet.ip_proto) {
            return false;
        }
        let (src_home, dst_home) = home_ends(home, packet.direction);
        let src = (packet.src, packet.src_port, src_home);
        let dst = (packet.dst, packet.dst_port, dst_home);
        let has_ports = matches!(packet.ip_proto, 6 | 17 | 132);
        let port_fits = |ports: u32, port: u16| {
            let ports = &self.ports[ports as usize];
            match has_ports {
                true => ports.holds(port),
                false => ports.is_any(),
            }
        };
        let fits = |from: End, to: End| {
            port_fits(header.src_ports, from.1)
                && port_fits(header.dst_ports, to.1)
                && self.addresses[header.src as usize].holds(from.0, from.2, &self.home)
                && self.addresses[header.dst as usize].holds(to.0, to.2, &self.home)
        };
        fits(src, dst) || header.both_ways && fits(dst, src)
    }
}

/// One end of a packet: address, port, and whether it is home (`None`: its address says).
type End = (IpAddr, u16, Option<bool>);

/// Whether a packet's source and destination are home (`None`: their addresses say).
pub(super) fn home_ends(home: Home, direction: Direction) -> (Option<bool>, Option<bool>) {
    let (client, server) = match home {
        Home::Addresses => (None, None),
        Home::Client => (Some(true), Some(false)),
        Home::Server => (Some(false), Some(true)),
        Home::Both => (Some(true), Some(true)),
    };
    match direction {
        Direction::ToServer => (client, server),
        Direction::ToClient => (server, client),
    }
}

/// What headers said of the ends at hand.
#[derive(Debug, Default)]
pub(super) struct Fits {
    of: Option<Asked>,
    /// By header, of those that were asked about.
    sides: Vec<u8>,
    asked: Stamps,
}

/// All that what a header says depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    matcher: u64,
    ip_proto: u8,
    direction: Direction,
    ends: [(IpAddr, u16); 2],
    homes: [Option<Home>; MAX_SIDES],
}

impl Fits {
    /// Forgets what was said unless the packet has the same ends. To be called before any header is asked of it.
    pub(super) fn turn_to(&mut self, matcher: u64, headers: &Headers, context: &Context<'_>) {
        let packet = context.packet;
        let asked = Some(Asked {
            matcher,
            ip_proto: packet.ip_proto,
            direction: packet.direction,
            ends: [(packet.src, packet.src_port), (packet.dst, packet.dst_port)],
            homes: std::array::from_fn(|at| context.sides.get(at).map(|side| side.home)),
        });
        if self.of == asked {
            return;
        }
        self.of = asked;
        self.asked.begin(headers.headers.len());
        self.sides.resize(headers.headers.len(), 0);
    }
}
