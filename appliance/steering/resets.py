"""Tells both ends of connections that are dropped from now on that they are over: TCP resets.

A reset counts only with the number that its receiver expects next (RFC 5961), which conntrack does not keep
and the inspector need not know. But an end says it when a SYN comes in the middle of its connection: it
answers with an acknowledgment, whatever the SYN's number is. So each guest is sent a SYN in the other end's
name, out of its own port, and reset with the number that it answers, which is read before the bridge drops
the answer. An end that is no guest is reset with the number that the guest would send with next.
"""

import contextlib
import ipaddress
import os
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from appliance.model.flow import End
from appliance.model.guest import GuestInventory, Vnic
from appliance.netns import entered
from appliance.steering.connections import TCP, Connection

ANSWER_S = 0.6
"""How long is waited for the next answer. Linux answers a connection's odd segments once in half a second."""
ATTEMPTS = 2
ETH_P_ALL, PACKET_OUTGOING = 3, 4
ETHER_TYPES = {4: 0x0800, 6: 0x86DD}
SO_RCVBUFFORCE, RECEIVE_BYTES = 33, 8 << 20
SYN, RST, ACK = 0x02, 0x04, 0x10
NOBODYS_MAC = bytes.fromhex("02534b000001")
"""Stands for an end whose MAC is not known; locally administered."""
HOP_LIMIT = 64

Key = tuple[str, int, str, int]
"""Source, its port, destination, its port."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A TCP segment of a frame. next_seq: the number of the byte after it."""

    key: Key
    to_mac: bytes
    next_seq: int
    ack: int
    flags: int

    @property
    def tells(self) -> bool:
        """Whether its sender has such a connection, and says where it stands in it."""
        return self.flags & (SYN | RST | ACK) == ACK


def reset_ends(connections: Sequence[Connection], inventory: GuestInventory, netns: str | None = None) -> int:
    """Reset the ends of TCP connections that are marked to be dropped; return how many ends were told.

    A guest that does not answer, or whose address guests.yaml does not know, notices when it times out.
    """
    told = 0
    for bridge, vnic, keys in _by_vnic(connections, inventory):
        with contextlib.suppress(OSError), entered(netns):  # the port may be gone
            told += _reset_guest(bridge, vnic, keys)
    return told


def _by_vnic(
    connections: Sequence[Connection], inventory: GuestInventory
) -> Iterator[tuple[str, Vnic, dict[Key, bool]]]:
    """Yield each vNIC with its bridge and the segments that it may send; True: the other end is no guest."""
    for segment in inventory.segments:
        vnics = [v for g in inventory.guests if g.segment == segment.name for v in g.vnics]
        known = {address for vnic in vnics for address in vnic.addresses}
        ours = [each for each in connections if each.zone == segment.zone and each.protocol == TCP]
        ways = [*((c.originator, c.responder) for c in ours), *((c.responder, c.originator) for c in ours)]
        for vnic in vnics:
            keys = {
                _key(end, peer): peer.address not in known
                for end, peer in ways
                if end.address in vnic.addresses
            }
            if keys:
                yield segment.bridge, vnic, keys


def _key(source: End, destination: End) -> Key:
    return source.address, source.port or 0, destination.address, destination.port or 0


def _reset_guest(bridge: str, vnic: Vnic, keys: dict[Key, bool]) -> int:
    mac, told, left = bytes.fromhex(vnic.mac.replace(":", "")), 0, dict(keys)
    with _port(vnic.tap) as port, _port(bridge) as beyond:
        for _ in range(ATTEMPTS):
            for source, sport, destination, dport in left:
                way_back = (destination, dport, source, sport)
                port.send(_frame(NOBODYS_MAC, mac, way_back, int.from_bytes(os.urandom(4)), SYN))
            for answer in _answers(port, left):
                peer_is_no_guest = left.pop(answer.key)
                source, sport, destination, dport = answer.key
                # also to one who has no such connection, and took the SYN for the beginning of one
                port.send(_frame(answer.to_mac, mac, (destination, dport, source, sport), answer.ack, RST))
                told += answer.tells
                if answer.tells and peer_is_no_guest:
                    beyond.send(_frame(mac, answer.to_mac, answer.key, answer.next_seq, RST))
                    told += 1
    return told


def _port(name: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    try:
        made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES)
        made.bind((name, ETH_P_ALL))
    except OSError:
        made.close()
        raise
    return made


def _answers(port: socket.socket, left: dict[Key, bool]) -> Iterator[Segment]:
    """Yield the guest's first segment of each connection that is left, until nothing comes any more."""
    until = time.monotonic() + ANSWER_S
    while left and (wait_s := until - time.monotonic()) > 0:
        if not select.select([port], [], [], wait_s)[0]:
            return
        frame, source = port.recvfrom(1 << 16)
        segment = _segment(frame) if source[2] != PACKET_OUTGOING else None
        if segment is not None and segment.flags & ACK and segment.key in left:
            until = time.monotonic() + ANSWER_S
            yield segment


def _segment(frame: bytes) -> Segment | None:
    """Return what a frame says of its TCP segment, if it holds one."""
    try:
        kind = int.from_bytes(frame[12:14])
        if kind == ETHER_TYPES[4] and frame[23] == TCP:
            tcp_at, end = 14 + (frame[14] & 15) * 4, 14 + int.from_bytes(frame[16:18])
            addresses = frame[26:30], frame[30:34]
        elif kind == ETHER_TYPES[6] and frame[20] == TCP:
            tcp_at, end = 54, 54 + int.from_bytes(frame[18:20])
            addresses = frame[22:38], frame[38:54]
        else:
            return None
        sport, dport, seq, ack, offset, flags = struct.unpack_from("!HHIIBB", frame, tcp_at)
        source, destination = (str(ipaddress.ip_address(each)) for each in addresses)
    except (IndexError, struct.error, ValueError):
        return None
    length = max(0, end - tcp_at - (offset >> 4) * 4) + (flags & SYN != 0) + (flags & 1)
    key = (source, sport, destination, dport)
    return Segment(key, frame[:6], (seq + length) % (1 << 32), ack, flags)


def _frame(from_mac: bytes, to_mac: bytes, key: Key, seq: int, flags: int) -> bytes:
    """Return a frame with a TCP segment that has no payload."""
    source, destination = (ipaddress.ip_address(address) for address in (key[0], key[2]))
    tcp = struct.pack("!HHIIBBHHH", key[1], key[3], seq, 0, 5 << 4, flags, 0, 0, 0)
    pseudo = source.packed + destination.packed + struct.pack("!II", len(tcp), TCP)
    tcp = tcp[:16] + _checksum(pseudo + tcp) + tcp[18:]
    if source.version == 4:
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, HOP_LIMIT, TCP, 0)
        ip += source.packed + destination.packed
        ip = ip[:10] + _checksum(ip) + ip[12:]
    else:
        ip = struct.pack("!IHBB", 6 << 28, len(tcp), TCP, HOP_LIMIT) + source.packed + destination.packed
    return to_mac + from_mac + ETHER_TYPES[source.version].to_bytes(2) + ip + tcp


def _checksum(data: bytes) -> bytes:
    """Return the Internet's checksum (RFC 1071) of an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF).to_bytes(2)
