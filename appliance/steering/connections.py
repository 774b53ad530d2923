"""The kernel's connections on the guests' bridges, and what their marks say of them."""

import asyncio
import socket
import struct
import time
from dataclasses import dataclass
from typing import Any

from pyroute2 import NFCTSocket
from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import (
    IPCTNL_MSG_CT_GET,
    AsyncNFCTSocket,
    NFCTAttrTuple,
    nfct_msg,
)

from appliance.model.faults import SystemFault
from appliance.model.flow import End
from appliance.model.marks import (
    CONNTRACK_BYPASS_ORIGINATOR,
    CONNTRACK_BYPASS_RESPONDER,
    CONNTRACK_CLEARED,
    CONNTRACK_DROP,
    CONNTRACK_ENCRYPTED,
    CONNTRACK_GENERATION,
    CONNTRACK_PLACED,
)
from appliance.netns import entered

PROTOCOLS = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmpv6", 132: "sctp"}
TCP = 6
TCP_STATES = (
    "none",
    "syn-sent",
    "syn-received",
    "established",
    "fin-wait",
    "close-wait",
    "last-ack",
    "time-wait",
    "closed",
    "syn-sent-2",
)
FAMILIES = (socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True, slots=True)
class Connection:
    """One entry of conntrack. age_s: None where the kernel does not note when an entry began.

    originator: who was seen first, which of a midstream connection may be the server.
    """

    originator: End
    responder: End
    protocol: int
    zone: int
    mark: int
    state: str
    age_s: float | None

    @property
    def is_dropped(self) -> bool:
        """Whether all its packets are dropped."""
        return bool(self.mark & CONNTRACK_DROP)

    @property
    def is_midstream(self) -> bool:
        """Whether it was under way already when it was seen first."""
        return self.protocol == TCP and not self.mark & CONNTRACK_PLACED

    @property
    def is_bypassed(self) -> bool:
        """Whether a firewall rule of either end said that it is not inspected."""
        return bool(self.mark & (CONNTRACK_BYPASS_ORIGINATOR | CONNTRACK_BYPASS_RESPONDER))

    @property
    def is_cleared(self) -> bool:
        """Whether the inspector said of a direction that it need not see it any more."""
        return bool(self.mark & CONNTRACK_CLEARED & ~(CONNTRACK_GENERATION | CONNTRACK_ENCRYPTED))

    def __str__(self) -> str:
        name = PROTOCOLS.get(self.protocol, str(self.protocol))
        return f"{self.originator} -> {self.responder} {name}"


def connections(
    zones: tuple[int, ...],
    netns: str | None = None,
    *,
    address: str | None = None,
    midstream: bool = False,
) -> list[Connection]:
    """Return the connections of these conntrack zones (segments).

    address: only those with an end there. midstream: only midstream ones. Of either the kernel does the
    picking, for to read a hundred thousand entries takes a minute and more. Raises SystemFault.
    """
    now_s = time.time()
    try:
        with entered(netns):
            found = [
                _connection(entry, family, now_s)
                for family in FAMILIES
                for entry in asyncio.run(_entries(family, address, midstream))
                if (entry.get_attr("CTA_ZONE") or 0) in zones
            ]
    except (NetlinkError, OSError) as error:
        raise SystemFault(f"conntrack: {error}") from error
    return [each for each in found if each.is_midstream] if midstream else found


async def _entries(family: int, address: str | None, midstream: bool) -> list[Any]:
    """Return what conntrack has of one IP version; of an address and midstream it goes by the address."""
    if address is not None and (":" in address) != (family == socket.AF_INET6):
        return []
    async with AsyncNFCTSocket(nfgen_family=family) as conntrack:
        if address is None:
            # `dump` cannot ask for bits that are not set.
            request = nfct_msg.create_from(
                **({"mark": 0, "mark_mask": CONNTRACK_PLACED} if midstream else {})
            )
            dump = await conntrack.request(request, IPCTNL_MSG_CT_GET, msg_flags=NLM_F_REQUEST | NLM_F_DUMP)
            return [entry async for entry in dump]
        found: list[Any] = []
        for way in ("saddr", "daddr"):
            ends = NFCTAttrTuple(family=family, **{way: address})
            found += [entry async for entry in await conntrack.dump(tuple_orig=ends)]
        return found


def drop(connection: Connection, netns: str | None = None) -> bool:
    """Have every further packet of the connection dropped; return False if it ended meanwhile.

    Raises SystemFault.
    """
    family = socket.AF_INET6 if ":" in connection.originator.address else socket.AF_INET
    ends = NFCTAttrTuple(
        family=family,
        saddr=connection.originator.address,
        daddr=connection.responder.address,
        proto=connection.protocol,
        sport=connection.originator.port,
        dport=connection.responder.port,
    )
    try:
        with entered(netns), NFCTSocket(nfgen_family=family) as conntrack:
            conntrack.entry(
                "set", tuple_orig=ends, zone=connection.zone, mark=CONNTRACK_DROP, mark_mask=CONNTRACK_DROP
            )
    except NetlinkError as error:
        if error.code == 2:
            return False
        raise SystemFault(f"conntrack: {connection}: {error}") from error
    except OSError as error:
        raise SystemFault(f"conntrack: {error}") from error
    return True


def _connection(entry: Any, family: int, now_s: float) -> Connection:
    ends = entry.get_attr("CTA_TUPLE_ORIG")
    addresses, protocol = ends.get_attr("CTA_TUPLE_IP"), ends.get_attr("CTA_TUPLE_PROTO")
    version = "V6" if family == socket.AF_INET6 else "V4"
    number = protocol.get_attr("CTA_PROTO_NUM")
    return Connection(
        originator=End(addresses.get_attr(f"CTA_IP_{version}_SRC"), protocol.get_attr("CTA_PROTO_SRC_PORT")),
        responder=End(addresses.get_attr(f"CTA_IP_{version}_DST"), protocol.get_attr("CTA_PROTO_DST_PORT")),
        protocol=number,
        zone=entry.get_attr("CTA_ZONE") or 0,
        mark=entry.get_attr("CTA_MARK") or 0,
        state=_state(entry),
        age_s=_age_s(entry, now_s),
    )


def _state(entry: Any) -> str:
    for name in ("CTA_PROTOINFO", "CTA_PROTOINFO_TCP", "CTA_PROTOINFO_TCP_STATE"):
        if (entry := entry.get_attr(name)) is None:
            return ""
    return TCP_STATES[entry] if entry < len(TCP_STATES) else str(entry)


def _age_s(entry: Any, now_s: float) -> float | None:
    stamp = entry.get_attr("CTA_TIMESTAMP")
    began_ns = stamp.get_attr("CTA_TIMESTAMP_START") if stamp is not None else None
    if isinstance(began_ns, bytes):
        (began_ns,) = struct.unpack(">Q", began_ns)
    return None if began_ns is None else max(0.0, now_s - began_ns / 1e9)
