"""The guest that records what its sockets receive, the attacker's wire, and what passed on it."""

import contextlib
import enum
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyroute2 import NetNS, netns
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from appliance.lab.settings import CLIENT, WEB, LabSettings
from appliance.netns import run_in
from tests.netns.topology import socket_in

PORT = 7000
"""Where the guest records streams and datagrams."""
INLINE_PORT = 7001
"""The same, with urgent data left in the stream (SO_OOBINLINE)."""
HOP_PORT = 7002
"""Behind a router: the guest hands this port on to a namespace of its own."""
HOP_ADDRESS = "10.98.0.2"
ATTACKER_PORT = 7003
"""Where the attacker listens, for the guest to connect to."""

QUIET_S = 0.01
"""With nothing on the wire for so long behind a fence, whoever was to react has reacted."""
PATIENCE_S = 2.0
SETTLED_S = 10.0
"""What always comes, on a machine with much else to do."""

EXPLOIT, HARMLESS = b"exploit-7f3a", b"harmless-7f3"
RULES = """\
alert tcp any any -> any !7080 (msg:"exploit"; content:"exploit-7f3a"; sid:1;)
alert http any any -> any !7080 (msg:"exploit in a request"; http.uri; content:"exploit-7f3a"; sid:2;)
alert udp any any -> any any (msg:"exploit in a datagram"; content:"exploit-7f3a"; sid:3;)
alert http any any -> any 7080 (msg:"exploit in a request to nginx"; http.uri; content:"exploit-7f3a"; sid:4;)
alert http any any -> any 7080 (msg:"exploit in a header"; http.header; content:"exploit-7f3a"; sid:5;)
alert http any any -> any 7080 (msg:"exploit in a body"; http.request_body; content:"exploit-7f3a"; sid:6;)
"""
MARK_AT = 40
"""Where in a text the two kinds differ."""


def text(mark: bytes) -> bytes:
    """Return a request of 96 bytes: both kinds differ in MARK_AT … MARK_AT + 12 alone."""
    head = b"GET /a?q=".ljust(MARK_AT, b"a") + mark
    return head.ljust(70, b"b") + b" HTTP/1.1\r\nHost: web\r\n\r\n"


MARK_END = MARK_AT + len(EXPLOIT)
LENGTH = len(text(EXPLOIT))


class Guest(enum.Enum):
    """Which of the two texts of an evasion a Linux guest's socket receives whole."""

    REAL = "real"
    DECOY = "decoy"
    NEITHER = "neither"
    ANY = "any"
    """Whatever the kernel of the day makes of it."""


@dataclass(slots=True)
class Recorder:
    """Sockets of the guest that keep what they receive, by the sender's port."""

    settings: LabSettings
    received: dict[int, bytearray] = field(default_factory=dict)
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    stopping: bool = False

    def listen(self, namespace: str, port: int, *, inline: bool = False) -> None:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            made = socket_in(namespace, kind, socket.AF_INET6)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            if kind == socket.SOCK_STREAM:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, int(inline))
            made.bind(("::", port))
            made.setblocking(False)
            if kind == socket.SOCK_STREAM:
                made.listen(64)
                self.selector.register(made, selectors.EVENT_READ, self._accept)
            else:
                self.selector.register(made, selectors.EVENT_READ, self._datagram)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            self.keep(connection)

    def keep(self, connection: socket.socket, port: int | None = None) -> None:
        """Record what a connection receives, under its peer's port or the one given."""
        connection.setblocking(False)
        known = port if port is not None else connection.getpeername()[1]
        self.received.setdefault(known, bytearray())

        def read(stream: socket.socket) -> None:
            try:
                piece = stream.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                piece = b""
            self.received[known] += piece
            if not piece:
                self.selector.unregister(stream)
                stream.close()

        self.selector.register(connection, selectors.EVENT_READ, read)

    def _datagram(self, server: socket.socket) -> None:
        # Readable it was, but a datagram with a bad checksum is thrown away only when it is read.
        with contextlib.suppress(BlockingIOError):
            data, peer = server.recvfrom(65536)
            self.received.setdefault(peer[1], bytearray()).extend(data)

    def run(self) -> None:
        while not self.stopping:
            for key, _ in self.selector.select(0.1):
                callback: Callable[[socket.socket], None] = key.data
                callback(key.fileobj)  # type: ignore[arg-type]

    def close(self) -> None:
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]


@dataclass(slots=True)
class Wire:
    """The attacker's interface, what passes on the bridge's port to it, and the guest's recorder."""

    settings: LabSettings
    recorder: Recorder
    sending: socket.socket
    listening: socket.socket
    frames: list[tuple[float, bytes]] = field(default_factory=list)
    next_port: int = 20000
    stopping: bool = False

    def new_port(self) -> int:
        self.next_port += 1
        return self.next_port

    def send(self, packet: Packet | bytes) -> None:
        """Send a whole frame."""
        self.sending.send(bytes(packet))

    def capture(self) -> None:
        while not self.stopping:
            with contextlib.suppress(TimeoutError):
                self.frames.append((time.time(), self.listening.recv(65536)))

    def await_segment(
        self, since: int, wanted: Callable[[Packet], bool], within_s: float = PATIENCE_S
    ) -> Packet | None:
        """Return the first segment captured since that is wanted; None if it does not come."""
        deadline = time.monotonic() + within_s
        at = since
        while time.monotonic() < deadline:
            while at < len(self.frames):
                packet = Ether(self.frames[at][1])
                at += 1
                if TCP in packet and wanted(packet):
                    return packet
            time.sleep(0.001)
        return None

    def settle(self) -> None:
        """Wait until what was sent has arrived, and nothing happens any more."""
        deadline = time.monotonic() + SETTLED_S
        fence, since = self.new_port(), len(self.frames)
        self.send(network(4) / UDP(sport=fence, dport=PORT) / Raw(b"fence"))

        def passed() -> bool:
            """Whether the guest has read it, and whoever captures has come as far."""
            return bool(self.received(fence)) and any(b"fence" in frame for _, frame in self.frames[since:])

        while not passed() and time.monotonic() < deadline:
            time.sleep(0.001)
        count = -1
        while count != len(self.frames) and time.monotonic() < deadline:
            count = len(self.frames)
            time.sleep(QUIET_S)

    def received(self, port: int) -> bytes:
        return bytes(self.recorder.received.get(port, b""))


def write_capture(path: Path, frames: list[tuple[float, bytes]]) -> None:
    """Write frames as a pcap file."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for at, frame in frames:
            seconds = int(at)
            file.write(struct.pack("<IIII", seconds, int((at - seconds) * 1e6), len(frame), len(frame)))
            file.write(frame)


@contextlib.contextmanager
def wire(settings: LabSettings) -> Iterator[Wire]:
    """Yield the wire between the attacker (guest `client`) and the recording guest (`web`).

    The attacker's kernel drops what comes back for its raw sockets, or it would reset their connections.
    """
    client, web = settings.guest_netns(CLIENT), settings.guest_netns(WEB)
    for tables in ("iptables", "ip6tables"):
        for protocol in ("tcp", "udp"):
            rule = f"-A INPUT -p {protocol} -m multiport --sports {PORT},{INLINE_PORT},{HOP_PORT} -j DROP"
            run_in(client, [tables, "-w", *rule.split()])
    run_in(
        client, ["iptables", "-w", "-A", "INPUT", "-p", "tcp", "--dport", str(ATTACKER_PORT), "-j", "DROP"]
    )
    run_in(client, ["iptables", "-w", "-A", "OUTPUT", "-p", "icmp", "-j", "DROP"])
    with _hop_behind(settings) as behind:
        sending = socket_in(client, socket.SOCK_RAW, socket.AF_PACKET)
        sending.bind(("eth0", 0))
        listening = socket_in(settings.bridge_netns, socket.SOCK_RAW, socket.AF_PACKET, socket.htons(3))
        listening.bind((CLIENT.tap, 3))
        listening.settimeout(0.1)
        recorder = Recorder(settings)
        recorder.listen(web, PORT)
        recorder.listen(web, INLINE_PORT, inline=True)
        recorder.listen(behind, HOP_PORT)
        made = Wire(settings, recorder, sending, listening)
        threads = [threading.Thread(target=run) for run in (recorder.run, made.capture)]
        for thread in threads:
            thread.start()
        # Frames sent from two processors may overtake each other.
        processors = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(processors)})
        try:
            yield made
        finally:
            os.sched_setaffinity(0, processors)
            recorder.stopping = made.stopping = True
            for thread in threads:
                thread.join()
            recorder.close()
            sending.close()
            listening.close()


@contextlib.contextmanager
def _hop_behind(settings: LabSettings) -> Iterator[str]:
    """Yield a namespace to which the guest routes HOP_PORT, one hop further on."""
    name = f"{settings.prefix}-hop"
    web = settings.guest_netns(WEB)
    netns.create(name)
    try:
        with NetNS(web, flags=0) as inside:
            inside.link("add", ifname="hop0", kind="veth", peer={"ifname": "eth0", "net_ns_fd": name})
        prefix = HOP_ADDRESS.rpartition(".")[0]
        run_in(web, ["sh", "-ec", f"ip addr add {prefix}.1/24 dev hop0; ip link set hop0 up"])
        run_in(
            name,
            ["sh", "-ec", f"ip addr add {HOP_ADDRESS}/24 dev eth0; ip link set eth0 up; ip link set lo up"],
        )
        run_in(name, ["ip", "route", "add", "default", "via", f"{prefix}.1"])
        run_in(web, ["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
        rule = f"-A PREROUTING -i eth0 -p tcp --dport {HOP_PORT} -j DNAT --to-destination {HOP_ADDRESS}"
        run_in(web, ["iptables", "-w", "-t", "nat", *rule.split()])
        yield name
    finally:
        netns.remove(name)


def lab_of(directory: Path) -> LabSettings:
    return LabSettings(run_dir=directory, prefix=f"skt-eva-{os.getpid()}", download_mib=8)


def addresses(version: int) -> tuple[str, str]:
    """Return the attacker's and the guest's address."""
    return (CLIENT.ipv4, WEB.ipv4) if version == 4 else (CLIENT.ipv6, WEB.ipv6)


def network(version: int, /, **fields: Any) -> Packet:
    """Return a frame from the attacker to the guest, up to the network header."""
    source, destination = addresses(version)
    link = Ether(src=CLIENT.mac, dst=WEB.mac)
    return link / (
        IP(src=source, dst=destination, **fields)
        if version == 4
        else IPv6(src=source, dst=destination, **fields)
    )
