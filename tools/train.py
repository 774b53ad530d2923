"""Traffic and rules for a build that is told by a profile what its code does most: `tools/trained` runs this.

Usage: train.py ENGINE, the instrumented extension module. It plays conversations to the engine offline, as
IDS and as IPS, and live for a guest, with few signatures and with many. What is said in them is made up, with
a fixed seed; beside it the canary's captures and those of tests/cases are played. Nothing is measured here:
only how often which branch of the engine is taken, relative to others, is kept.
"""

import importlib.util
import ipaddress
import json
import random
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

HERE = Path(__file__).resolve().parents[1]
MTU, BUNDLE = 1448, 60_000
"""Bytes of payload in a packet, and in what a kernel puts together from several."""
FEW, MANY = 300, 6_000
SYN, FIN, PSH, ACK = 2, 1, 8, 16
Said = tuple[bool, bytes]
"""Whether the server says it, and what."""


class Conversation(NamedTuple):
    """What two ends say to one another, a segment carrying at most `most` bytes."""

    port: int
    said: list[Said]
    protocol: int = 6
    most: int = MTU


def main() -> None:
    engine = _load(Path(sys.argv[1]))
    chance = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="sekisho-train-") as name:
        work = Path(name)
        captures = work / "captures"
        captures.mkdir()
        for kind, conversations in _traffic(chance).items():
            _write(captures / f"{kind}.pcap", conversations)
        known = sorted([*(HERE / "appliance/canary").glob("*.pcap"), *(HERE / "tests/cases").rglob("*.pcap")])
        played = [(str(path), "/dev/null") for path in (*sorted(captures.glob("*.pcap")), *known)]
        shipped = [str(path) for path in sorted((HERE / "signatures").glob("*.rules"))]
        for count in (FEW, MANY):
            made = work / f"{count}.rules"
            made.write_text("".join(_rules(chance, count)))
            for ips in (False, True):
                engine.Rules([*shipped, str(made)]).replay(played, ips=ips)
            _live(engine, work, [*shipped, str(made)], captures)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("_engine", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"train.py: {path} is no extension module; `tools/trained` builds one")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _live(engine: ModuleType, work: Path, rules: list[str], captures: Path) -> None:
    """Play the captures as the trial of a policy does: to a guest, with the live path's settings."""
    guest = {
        "name": "web", "segment": "lab", "zone": 1, "addresses": ["10.99.0.10"], "on_drop": "reset",
        "overrides": [], "assignments": [{"rule_set": "train", "mode": "prevent", "sids": None}],
    }  # fmt: skip
    document = {
        "format": 1, "version": 1, "generation": 1, "rule_sets": [{"name": "train", "files": rules}],
        "ports": [{"tap": "web0", "ifindex": 4, "number": 1, "guest": "web"}], "guests": [guest],
        "segments": [{"name": "lab", "failure": {}}],
    }  # fmt: skip
    policy = work / "engine.json"
    policy.write_text(json.dumps(document))
    settings = {"queues": 1, "spool_max_bytes": 32 << 20, "memory_max_bytes": 256 << 20}
    inspector = engine.Inspector(str(work / "spool"), json.dumps(settings | {"canary": str(captures)}))
    try:
        inspector.load(str(policy), try_first=True)
    except engine.PolicyError as refused:
        # On a busy machine a packet may take longer than a trial allows. What was played until then counts.
        print(f"train.py: the live part ended early: {refused}", file=sys.stderr)
    finally:
        inspector.stop()


def _traffic(chance: random.Random) -> dict[str, list[Conversation]]:
    """Return conversations by kind; those of a kind take turns, packet by packet."""
    padding = b"Cookie: session=" + b"0123456789abcdef" * 48 + b"\r\n"
    exchange = [(False, _request("/small", padding)), (True, _answer(chance.randbytes(1024)))]
    words = [(at % 2 == 1, chance.randbytes(chance.randrange(8, 96))) for at in range(24)]
    page = b"<p>" + " ".join(_words(chance, 30_000)).encode()
    posted = [(False, _request("/form", body=chance.randbytes(1 << 20))), (True, _answer(b"ok"))]
    large = chance.randbytes(4 << 20)
    query = [(False, _query("shop.example.org")), (True, _query("shop.example.org", answers=1))]
    return {
        "small": [Conversation(20_000 + at % 50, words) for at in range(400)],
        "keep-alive": [Conversation(80, exchange * 100) for _ in range(16)],
        "connections": [Conversation(80, exchange) for _ in range(600)],
        "pages": [Conversation(80, [exchange[0], (True, _answer(page))]) for _ in range(40)],
        "upload": [Conversation(8088, posted, most=BUNDLE) for _ in range(8)],
        "upload-cut": [Conversation(8088, posted) for _ in range(2)],
        "download": [Conversation(80, [exchange[0], (True, _answer(large))], most=BUNDLE)],
        "raw": [Conversation(7777, [(False, chance.randbytes(2 << 20))], most=BUNDLE) for _ in range(4)],
        "dns": [Conversation(53, query, 17) for _ in range(2_000)],
        "datagrams": [Conversation(7, words, 17) for _ in range(200)],
    }


def _request(path: str, more: bytes = b"", body: bytes = b"") -> bytes:
    verb, length = (b"POST", b"Content-Length: %d\r\n" % len(body)) if body else (b"GET", b"")
    head = b"%b %b HTTP/1.1\r\nHost: shop.example.org\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n"
    return head % (verb, path.encode()) + more + length + b"\r\n" + body


def _answer(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


def _query(name: str, answers: int = 0) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    asked = labels + b"\0" + struct.pack(">HH", 1, 1)
    said = b"\xc0\x0c" + struct.pack(">HHIH4s", 1, 1, 60, 4, bytes([192, 0, 2, 1]))
    return struct.pack(">6H", 7, 0x8180 if answers else 0x0100, 1, answers, 0, 0) + asked + said * answers


def _words(chance: random.Random, count: int) -> list[str]:
    letters, weights = "etaoinshrdlucmfwypvbgkjqxz", range(26, 0, -1)
    return ["".join(chance.choices(letters, weights, k=chance.randrange(2, 9))) for _ in range(count)]


def _rules(chance: random.Random, count: int) -> Iterator[str]:
    """Yield as many rules in about the shares in which published rule sets ask for buffers."""
    places = {
        "tcp any any -> $HOME_NET {port} (flow:established,to_server;": 20,
        "tcp $HOME_NET {port} -> any any (flow:established,to_client;": 10,
        "http any any -> any any (flow:established,to_server; http.uri;": 30,
        "http any any -> any any (flow:established,to_server; http.request_body;": 12,
        "http any any -> any any (flow:established,to_server; http.user_agent;": 8,
        "http any any -> any any (flow:established,to_client; file.data;": 10,
        "dns any any -> any any (dns.query;": 6,
        "tls any any -> any any (tls.sni;": 6,
        "udp any any -> any {port} (": 4,
    }
    for sid, place in enumerate(chance.choices(list(places), places.values(), k=count), 1):
        first, second = ("/".join(_words(chance, 2)) for _ in range(2))
        port = chance.choice(["any", "any", "80", "445", "[21,25,110]", "1024:"])
        tests = f'content:"{first}"; nocase; content:"{second}"; distance:0; within:200;'
        tests += f' pcre:"/{first}[a-z0-9]{{4}}/R";' if sid % 4 == 0 else ""
        yield f'alert {place.format(port=port)} {tests} msg:"made up"; sid:{sid};)\n'


def _write(path: Path, conversations: list[Conversation]) -> None:
    """Write a capture of Ethernet frames in which the conversations take turns."""
    packets = [_packets(conversation, number) for number, conversation in enumerate(conversations)]
    now_us = 10**15
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, 1))
        while packets:
            for each in list(packets):
                frame = next(each, None)
                if frame is None:
                    packets.remove(each)
                    continue
                now_us += 10
                file.write(struct.pack("<IIII", *divmod(now_us, 10**6), len(frame), len(frame)) + frame)


def _packets(conversation: Conversation, number: int) -> Iterator[bytes]:
    port, said, protocol, most = conversation
    sequence = [1000, 5000]

    def tcp(server: bool, flags: int, payload: bytes = b"") -> bytes:
        ports = _ports(port, number, server)
        own, other = sequence[server], 0 if flags == SYN else sequence[not server]
        sequence[server] += len(payload) + (flags & (SYN | FIN) > 0)
        header = struct.pack(">HHIIBBHHH", *ports, own, other, 0x50, flags, 0xFFFF, 0, 0)
        return _frame(server, 6, header + payload, 16)

    if protocol == 17:
        for server, payload in said:
            header = struct.pack(">HHHH", *_ports(port, number, server), 8 + len(payload), 0)
            yield _frame(server, 17, header + payload, 6)
        return
    yield from (tcp(False, SYN), tcp(True, SYN | ACK), tcp(False, ACK))
    for server, payload in said:
        for at in range(0, len(payload), most):
            yield tcp(server, PSH | ACK, payload[at : at + most])
            yield tcp(not server, ACK)
    yield from (tcp(False, FIN | ACK), tcp(True, FIN | ACK), tcp(False, ACK))


def _ports(port: int, number: int, server: bool) -> tuple[int, int]:
    client = 30_000 + number
    return (port, client) if server else (client, port)


def _frame(server: bool, protocol: int, segment: bytes, checksum_at: int) -> bytes:
    client_ip, server_ip = (ipaddress.ip_address(it).packed for it in ("10.99.0.20", "10.99.0.10"))
    ends = server_ip + client_ip if server else client_ip + server_ip
    sum_ = _checksum(ends + struct.pack(">HH", protocol, len(segment)) + segment)
    segment = segment[:checksum_at] + struct.pack(">H", sum_) + segment[checksum_at + 2 :]
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0x4000, 64, protocol, 0)
    head = head[:10] + struct.pack(">H", _checksum(head + ends)) + ends
    macs = bytes.fromhex("020000000010020000000020")
    macs = macs[6:] + macs[:6] if server else macs
    return macs + b"\x08\x00" + head + segment


def _checksum(data: bytes) -> int:
    """Return the internet checksum (RFC 1071): words added modulo 65,535."""
    return ~(int.from_bytes(data + bytes(len(data) % 2), "big") % 0xFFFF) & 0xFFFF


if __name__ == "__main__":
    main()
