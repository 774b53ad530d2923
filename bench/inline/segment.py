"""Guests as network namespaces on one bridge in a namespace of its own."""

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from pyroute2 import NetNS, netns

from appliance.model.guest import Guest, GuestInventory, Vnic
from appliance.model.guest import Segment as SegmentOfGuests
from appliance.netns import entered, exists, run_in

PREFIX_LENGTH = 16
BRIDGE = "bench0"
# A client opens more connections in a few seconds than the default range has ports.
PORT_RANGE = "1024 65535"


@dataclass(frozen=True, slots=True)
class BenchGuest:
    """A guest: a namespace with one interface, `eth0`. Number 0 is the client, all others are servers."""

    prefix: str
    number: int

    @property
    def netns(self) -> str:
        """The namespace that is the guest."""
        return f"{self.prefix}-{self.number}"

    @property
    def name(self) -> str:
        """What policies call it."""
        return f"guest{self.number}" if self.number else "client"

    @property
    def tap(self) -> str:
        """The bridge port that it ends at."""
        return f"bench{self.number}p"

    @property
    def mac(self) -> str:
        """Its MAC."""
        return f"02:5e:98:00:{self.number >> 8:02x}:{self.number & 255:02x}"

    @property
    def address(self) -> str:
        """Its IPv4 address."""
        return f"10.98.{self.number >> 8}.{(self.number & 255) + 1}"


@dataclass(frozen=True, slots=True)
class Traffic:
    """What entered the bridge; a packet is what the kernel moves as one, up to 64 KiB."""

    packets: int
    bytes: int

    def __sub__(self, other: "Traffic") -> "Traffic":
        return Traffic(self.packets - other.packets, self.bytes - other.bytes)


@dataclass(frozen=True, slots=True)
class Segment:
    """The guests and their bridge. guests: how many, the client among them."""

    prefix: str
    size: int = 2

    @property
    def netns(self) -> str:
        """The bridge's namespace, where an inspector runs."""
        return f"{self.prefix}-br"

    @property
    def client(self) -> BenchGuest:
        """Who asks."""
        return BenchGuest(self.prefix, 0)

    @property
    def server(self) -> BenchGuest:
        """Who answers; the first of `servers`."""
        return BenchGuest(self.prefix, 1)

    @property
    def servers(self) -> list[BenchGuest]:
        """The guests that are protected."""
        return [BenchGuest(self.prefix, number) for number in range(1, self.size)]

    @property
    def guests(self) -> list[BenchGuest]:
        """All of them."""
        return [self.client, *self.servers]

    def inventory(self) -> GuestInventory:
        """Return the guests as the appliance knows them; every failure policy is open."""
        guests = tuple(
            Guest(each.name, "bench", (Vnic("eth0", each.tap, each.mac, (each.address,)),))
            for each in self.guests
        )
        return GuestInventory((SegmentOfGuests("bench", BRIDGE),), guests)

    def guests_yaml(self) -> str:
        """Return the inventory as `guests.yaml`."""
        vnics = {
            each.name: {"name": "eth0", "tap": each.tap, "mac": each.mac, "addresses": [each.address]}
            for each in self.guests
        }
        guests = [{"name": name, "segment": "bench", "vnics": [vnic]} for name, vnic in vnics.items()]
        return yaml.safe_dump({"segments": [{"name": "bench", "bridge": BRIDGE}], "guests": guests})

    def traffic(self) -> Traffic:
        """Return what all guests sent into the bridge so far."""
        with entered(self.netns):
            lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
        fields = [line.split() for line in lines if line.strip().startswith("bench") and "p:" in line]
        return Traffic(sum(int(field[2]) for field in fields), sum(int(field[1]) for field in fields))

    def forget_connections(self) -> None:
        """Empty the bridge's connection table."""
        run_in(self.netns, ["conntrack", "-F"])


@contextlib.contextmanager
def segment_of(size: int = 2) -> Iterator[Segment]:
    """Yield a segment that is up, under names of its own, and remove it. Raises OSError, NetlinkError."""
    segment = Segment(f"sekisho-bench-{os.getpid()}-{size}", size)
    try:
        _build(segment)
        yield segment
    finally:
        for name in (segment.netns, *(guest.netns for guest in segment.guests)):
            if exists(name):
                netns.remove(name)


def _build(segment: Segment) -> None:
    netns.create(segment.netns)
    run_in(segment.netns, ["sh", "-ec", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6"])
    with NetNS(segment.netns, flags=0) as bridge_side:
        bridge_side.link("add", ifname=BRIDGE, kind="bridge", br_stp_state=0, br_mcast_snooping=0)
        (bridge,) = bridge_side.link_lookup(ifname=BRIDGE)
        bridge_side.link("set", index=bridge, state="up")
        for guest in segment.guests:
            _plug_in(bridge_side, bridge, guest)


def _plug_in(bridge_side: NetNS, bridge: int, guest: BenchGuest) -> None:
    netns.create(guest.netns)
    script = (
        "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6\n"
        f"echo '{PORT_RANGE}' > /proc/sys/net/ipv4/ip_local_port_range\n"
        "echo 4096 > /proc/sys/net/core/somaxconn\n"
    )
    run_in(guest.netns, ["sh", "-e"], script)
    peer = {"ifname": "eth0", "net_ns_fd": guest.netns, "address": guest.mac}
    bridge_side.link("add", ifname=guest.tap, kind="veth", peer=peer)
    (tap,) = bridge_side.link_lookup(ifname=guest.tap)
    bridge_side.link("set", index=tap, master=bridge, state="up")
    with NetNS(guest.netns, flags=0) as guest_side:
        for name in ("lo", "eth0"):
            (index,) = guest_side.link_lookup(ifname=name)
            guest_side.link("set", index=index, state="up")
        guest_side.addr(
            "add", index=index, address=guest.address, prefixlen=PREFIX_LENGTH, family=socket.AF_INET
        )
