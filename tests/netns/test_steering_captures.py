"""Attacks of captures, spoken again between live guests: steering hides nothing that replay finds in them.

Each capture's TCP connections are played over real sockets, in the order in which their ends spoke, and
written as a capture between the same addresses for `replay --ips`. `make captures` plays all that can be,
`make test` a handful.
"""

import contextlib
import os
import re
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.utils import PcapWriter, rdpcap

from appliance import lab
from appliance.model.policy import Mode
from tests.corpora.test_signatures import CORPORA, listed
from tests.netns.kit import Bench
from tests.netns.live_kit import Live, client_of, live
from tests.netns.topology import PATIENCE_S, eventually, read_exactly, socket_in
from tests.tools.referee import count_alerts

_engine = pytest.importorskip("appliance._engine", reason="the engine is not built", exc_type=ImportError)

HANDFUL = 12
EVERYTHING = os.environ.get("SEKISHO_CAPTURES") == "all"
MAX_CAPTURE_BYTES = 4 << 20 if EVERYTHING else 300 << 10
MAX_TURNS = 400
"""Of one connection; longer ones are bulk transfers."""
FIN, SYN, RST = 1, 2, 4
SEGMENT = 1400
TAKEN = {lab.HTTP_PORT: 8088, lab.RAW_PORT: 8089}
"""Ports at which the lab itself listens, and those that stand for them, live and offline."""


@dataclass(slots=True)
class Dialogue:
    """One connection: the server's port, and what was said, by whom, in order."""

    port: int
    turns: list[tuple[bool, bytes]] = field(default_factory=list)

    def say(self, by_client: bool, text: bytes) -> None:
        if self.turns and self.turns[-1][0] == by_client:
            text = self.turns.pop()[1] + text
        self.turns.append((by_client, text))


def dialogues(capture: Path) -> list[Dialogue]:
    """Return the connections whose SYN is in the capture and that speak; bytes out of order are left out."""
    found: dict[tuple[Any, ...], Dialogue] = {}
    expected: dict[tuple[Any, ...], int] = {}
    for packet in rdpcap(str(capture)):
        network = packet.getlayer(IP) or packet.getlayer(IPv6)
        if network is None or TCP not in packet or IP in network.payload:
            continue
        segment = packet[TCP]
        way = (network.src, segment.sport, network.dst, segment.dport)
        back = (*way[2:], *way[:2])
        flags = int(segment.flags)
        if flags & SYN:
            expected[way] = segment.seq + 1 & 0xFFFFFFFF
            if not flags & 0x10:
                found[way] = Dialogue(TAKEN.get(segment.dport, segment.dport))
            continue
        text = bytes(segment.payload)[: _payload_length(network, segment)]
        if not text or expected.get(way) != segment.seq:
            continue
        expected[way] = segment.seq + len(text) & 0xFFFFFFFF
        if way in found or back in found:
            found[way if way in found else back].say(way in found, text)
    return [each for each in found.values() if each.turns]


def _payload_length(network: Any, segment: Any) -> int:
    """Frames are padded; the IP header knows better."""
    length = network.len - network.ihl * 4 if network.version == 4 else network.plen
    return max(int(length) - segment.dataofs * 4, 0)


def write(connections: list[Dialogue], path: Path) -> None:
    """Write them as a capture between the lab's guests, one after the other, in order and acknowledged."""
    with PcapWriter(str(path)) as out:
        for number, dialogue in enumerate(connections):
            ports = (20_000 + number, dialogue.port)
            numbers = [1000, 5000]

            def send(
                by_client: bool, flags: str, text: bytes = b"", *,
                ports: tuple[int, int] = ports, numbers: list[int] = numbers,
            ) -> None:  # fmt: skip
                own, other = (0, 1) if by_client else (1, 0)
                ends = (lab.CLIENT, lab.WEB)
                frame = Ether(src=ends[own].mac, dst=ends[other].mac)
                frame /= IP(src=ends[own].ipv4, dst=ends[other].ipv4)
                acknowledged = 0 if flags == "S" else numbers[other]
                segment = TCP(
                    sport=ports[own], dport=ports[other], flags=flags, seq=numbers[own], ack=acknowledged
                )
                out.write(frame / segment / text)
                numbers[own] += len(text) + ("S" in flags or "F" in flags)

            send(True, "S")
            send(False, "SA")
            send(True, "A")
            for by_client, text in dialogue.turns:
                for start in range(0, len(text), SEGMENT):
                    send(by_client, "PA", text[start : start + SEGMENT])
                send(not by_client, "A")
            send(True, "FA")
            send(False, "FA")
            send(True, "A")


def play(bench: Bench, dialogue: Dialogue) -> None:
    """Speak it between the guests."""
    with socket_in(bench.guest(lab.WEB)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((lab.WEB.ipv4, dialogue.port))
        listener.listen()
        with client_of(bench, dialogue.port) as client:
            server, _ = listener.accept()
            server.settimeout(PATIENCE_S)
            with server:
                for by_client, text in dialogue.turns:
                    sender, receiver = (client, server) if by_client else (server, client)
                    speaking = threading.Thread(target=sender.sendall, args=(text,))
                    speaking.start()
                    assert read_exactly(receiver, len(text)) == text
                    speaking.join(PATIENCE_S)
                client.shutdown(socket.SHUT_WR)
                assert server.recv(1) == b""


def candidates() -> Iterator[tuple[str, Path]]:
    """Yield the captures that can be spoken again, those of as many kinds as there are first."""
    by_kind: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for row in listed("exploits"):
        path = CORPORA / "exploits" / row["pcap"]
        if row["sids"] and path.stat().st_size <= MAX_CAPTURE_BYTES:
            by_kind["/".join(row["pcap"].split("/")[:2])].append((row["pcap"], path))
    while by_kind:
        for kind in list(by_kind):
            yield by_kind[kind].pop(0)
            if not by_kind[kind]:
                del by_kind[kind]


def read_rules() -> dict[int, str]:
    """Return ET Open's rules by sid."""
    lines = (CORPORA / "rules/et-open.rules").read_text(errors="replace").splitlines()
    return {int(found[1]): line for line in lines if (found := re.search(r"\bsid: ?(\d+)", line))}


def chosen(by_sid: dict[int, str], sids: frozenset[int]) -> str:
    """Return these rules, and the ones that set the flowbits they read."""
    picked = {sid: by_sid[sid] for sid in sids if sid in by_sid}
    read = {bit for line in picked.values() for bit in re.findall(r"flowbits:\s*isset,\s*([\w.]+)", line)}
    for sid, line in by_sid.items():
        if read & set(re.findall(r"flowbits:\s*set,\s*([\w.]+)", line)):
            picked[sid] = line
    return "\n".join(picked[sid] for sid in sorted(picked)) + "\n"


@pytest.fixture
def engine(bench: Bench, tmp_path: Path) -> Iterator[Live]:
    with live(bench, tmp_path / "live") as running:
        yield running


def test_attacks_spoken_live_raise_what_replay_finds_in_them(
    engine: Live, bench: Bench, tmp_path: Path
) -> None:
    wanted = {row["pcap"]: frozenset(row["sids"]) for row in listed("exploits")}
    emerging = read_rules()
    differences, played, raised = {}, 0, 0
    for number, (name, path) in enumerate(candidates()):
        connections = dialogues(path)
        if not connections or any(len(each.turns) > MAX_TURNS for each in connections):
            continue
        text = chosen(emerging, wanted[name])
        file = tmp_path / f"{number}.rules"
        file.write_text(text)
        nets = [("HOME_NET", lab.WEB.ipv4), ("EXTERNAL_NET", f"!{lab.WEB.ipv4}")]
        offline = _engine.Rules([str(file)], variables=nets)
        capture, eve = tmp_path / f"{number}.pcap", tmp_path / f"{number}.json"
        write(connections, capture)
        ((error, _),) = offline.replay([(str(capture), str(eve))], ips=True)
        assert error == ""
        expected = set(count_alerts(eve))
        if not expected and not EVERYTHING:
            continue
        engine.push(text, Mode.DETECT)
        before = len(engine.alerts())
        for dialogue in connections:
            play(bench, dialogue)
        found = alerts_since(engine, before, len(expected))
        played, raised = played + 1, raised + len(expected)
        if found != expected:
            differences[name] = (sorted(expected - found), sorted(found - expected))
        if played == HANDFUL and not EVERYTHING:
            break
    print(f"{played} captures, {raised} signatures, {engine.queued()} packets queued")
    assert differences == {}
    assert played >= HANDFUL
    assert bench.counters().uninspected["steered"].bytes > 0, "nothing was steered"


def alerts_since(engine: Live, before: int, expected: int) -> set[int]:
    """Return the signatures that alerted since, once there are as many as expected or no more come."""
    with contextlib.suppress(AssertionError):
        eventually(lambda: len(set(engine.alerts()[before:])) >= expected)
    return set(engine.alerts()[before:])
