#!/usr/bin/env python3
"""Makes the fuzzer's seeds, FOLDER/TARGET/…, from the captures and rules below tests/cases and signatures.

Protocols that no capture there speaks get messages made here; each target takes another form, see its source.
Then `BINARY -merge=1 engine/fuzz/corpus/TARGET FOLDER/TARGET` keeps those that reach something: that is how the
files in the repository came about, beside the smallest of what fuzzing found from there.
"""

import hashlib
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from scapy.asn1.asn1 import ASN1_OID
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.isakmp import (
    ISAKMP,
    ISAKMP_payload_Proposal,
    ISAKMP_payload_SA,
    ISAKMP_payload_Transform,
)
from scapy.layers.l2 import Ether
from scapy.layers.ntp import NTP
from scapy.layers.snmp import SNMP, SNMPget, SNMPvarbind
from scapy.layers.tftp import TFTP, TFTP_RRQ
from scapy.layers.tls.handshake import TLSClientHello
from scapy.layers.tls.record import TLS
from scapy.packet import Raw
from scapy.utils import PcapReader

ROOT = Path(__file__).resolve().parents[1]
MAX_SEED_BYTES = 4096
SERVERS = [80, 443, 445, 25, 21, 53, 5060, 1883]
"""The ports of the target `packets`, in its order."""
LIVE_DETECT = 10
"""Its setting in which most packets come through to the end."""

Turn = tuple[bool, bytes]
"""Whether a message goes to the client, and its bytes."""


def keep(target: str, data: bytes) -> None:
    if 0 < len(data) <= MAX_SEED_BYTES:
        folder = Path(sys.argv[1]) / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def app_steps(turns: list[Turn]) -> bytes:
    """Return the input of the target `app`."""
    return b"".join(struct.pack(">BH", to_client, len(data)) + data for to_client, data in turns)


def packet_steps(port: int, turns: list[Turn], mode: int) -> bytes:
    """Return the input of the target `packets`: segments in order to and from one of its servers."""
    which = SERVERS.index(port) << 3 | 2 << 1
    steps = (struct.pack(">BH", which | to_client, len(data)) + data for to_client, data in turns)
    return bytes([mode]) + b"".join(steps)


def conversations(capture: Path) -> Iterator[tuple[int, int, list[Turn]]]:
    """Yield protocol, server's port and turns of each conversation of a capture, by who spoke first."""
    found: dict[tuple[object, ...], tuple[int, int, list[Turn]]] = {}
    for packet in PcapReader(str(capture)):
        network = packet.getlayer(IP) or packet.getlayer(IPv6)
        layer = TCP if TCP in packet else UDP
        if network is None or layer not in packet:
            continue
        ends = (network.src, packet[layer].sport, network.dst, packet[layer].dport)
        back = (*ends[2:], *ends[:2])
        to_client = back in found
        kept = found.setdefault(back if to_client else ends, (6 if layer is TCP else 17, ends[3], []))
        payload = bytes(packet[layer].payload)
        if payload and not (layer is TCP and packet[TCP].flags.S):
            kept[2].append((to_client, payload))
    yield from found.values()


def from_cases() -> None:
    for case in sorted((ROOT / "tests/cases").glob("*/input.pcap")):
        keep("capture", case.read_bytes())
        for packet in list(PcapReader(str(case)))[:3]:
            keep("decode_ethernet", bytes(packet))
        for protocol, port, turns in conversations(case):
            if protocol == 6 and turns:
                keep("app/http", app_steps(turns))
                if port in SERVERS:
                    keep("packets", packet_steps(port, turns, LIVE_DETECT))
        keep("rules", (case.parent / "test.rules").read_bytes())
    for rules in sorted((ROOT / "signatures").glob("**/*.rules")):
        for line in rules.read_text().splitlines():
            keep("rules", line.encode())


MAIL = (
    b"From: a@b\r\nSubject: =?utf-8?q?h=69?=\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n"
    b"Content-Type: text/html\r\n\r\n<a href=http://e.vil/>\r\n--x\r\nContent-Transfer-Encoding: base64\r\n"
    b"Content-Disposition: attachment; filename=a.exe\r\n\r\nTVqQAAMA\r\n--x--\r\n.\r\n"
)
TEXT: dict[str, list[list[Turn]]] = {
    "app/smtp": [
        [(True, b"220 m ESMTP\r\n"), (False, b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"),
         (True, b"250-m\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n354 go\r\n"), (False, MAIL), (True, b"250 ok\r\n")],
        [(False, b"EHLO c\r\n"), (True, b"250 STARTTLS\r\n"), (False, b"STARTTLS\r\n"), (True, b"220 go\r\n")],
        [(False, b"EHLO c\r\nBDAT 5 LAST\r\nhello"), (False, b"RSET\r\nQUIT\r\n")],
    ],
    "app/ftp": [
        [(True, b"220 f\r\n"), (False, b"USER a\r\nPASS b\r\n"), (True, b"331 p\r\n230 in\r\n"),
         (False, b"PORT 10,0,0,1,4,1\r\n"), (True, b"200 ok\r\n"), (False, b"RETR x.txt\r\n"), (True, b"150 go\r\n226 ok\r\n")],
        [(False, b"EPSV\r\n"), (True, b"229 Extended (|||4097|)\r\n"), (False, b"STOR y\r\n"), (True, b"150 go\r\n")],
        [(False, b"PASV\r\n"), (True, b"227 Passive (10,0,0,2,4,1)\r\n"), (False, b"AUTH TLS\r\n"), (True, b"234 go\r\n")],
    ],
    "app/ftp-data": [[(False, b"%PDF-1.4 file")], [(True, b"MZ file")]],
    "app/ssh": [
        [(False, b"SSH-2.0-OpenSSH_9\r\n"), (True, b"SSH-2.0-x y\r\n"),
         (False, bytes.fromhex("0000002c061400112233445566778899aabbccddeeff0000000461612c62000000016300000001640000000165000000"))],
    ],
    "app/http": [
        [(False, b"POST /a?b=%2e%u0041 HTTP/1.1\r\nHost: h:80\r\nTransfer-Encoding: chunked\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n"
                 b"39;e\r\n--x\r\nContent-Disposition: form-data; filename=\"f\"\r\n\r\nMZ\r\n\r\n0\r\nT: v\r\n\r\n"),
         (True, b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 23\r\n\r\n"
                + bytes.fromhex("1f8b08000000000000034b4c4a4e010011cd82ed06000000"))],
        [(False, b"CONNECT h:443 HTTP/1.1\r\n\r\n"), (True, b"HTTP/1.1 200 ok\r\n\r\n"), (False, b"\x16\x03\x01\x00\x02")],
        [(False, b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"), (True, b"HTTP/1.1 101 S\r\n\r\n")],
        [(False, b"GET /\r\n"), (True, b"body")],
        [(False, b"HEAD / HTTP/1.0\r\nAuthorization: Basic YTpi\r\nCookie: a=b\r\n\r\n"),
         (True, b"HTTP/1.1 206 P\r\nContent-Range: bytes 1-2/9\r\nTransfer-Encoding: deflate, chunked\r\n\r\n")],
    ],
    "app/sip-datagrams": [[
        (False, b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c\r\nFrom: <sip:d@e>\r\nContent-Length: 0\r\n\r\n"),
        (True, b"SIP/2.0 180 Ringing\r\nCall-ID: 1\r\n\r\n"),
    ]],
    "app/smb": [
        [(False, bytes.fromhex("0000002f ff534d4272 00000000 18 0128 0000 0000000000000000 0000 0000 0000 0100 0000 00 0c00 024e54204c4d20302e313200")),
         (True, bytes.fromhex("00000023 ff534d4272 00000000 98 0128 0000 0000000000000000 0000 0000 0000 0100 0000 00 0000"))],
        [(False, bytes.fromhex("00000066 fe534d42 4000 0000 00000000 0000 1f00 00000000 00000000 0000000000000000 00000000 00000000"
                               "0000000000000000 00000000000000000000000000000000 2400 0100 0100 0000 00000000"
                               "00000000000000000000000000000000 0000000000000000 1003"))],
    ],
    "app/dcerpc": [[(False, bytes.fromhex(
        "05000b0310000000480000000100000010b810b8000000000100000000000100"
        "c4fe fc9960521b10bbcb00aa0021347a 00000000 045d888aeb1cc9119fe808002b104860 02000000"))]],
    "app/dcerpc-datagrams": [[(False, bytes.fromhex("04002800100000000000000000000000000000000000000000000000"
        "c4fefc9960521b10bbcb00aa0021347a" "00" * 16 + "00000000" "01000000" "00000000" "0100" "ffff" "ffff" "0800" "0000" "0000"))]],
    "app/krb5": [[(False, bytes.fromhex("0000001e6a1c301aa103020105a20302010aa40e300ca00703050000000000a2011b00"))]],
    "app/krb5-datagrams": [[(False, bytes.fromhex("6a1c301aa103020105a20302010aa40e300ca00703050000000000a2011b00"))]],
    "app/quic-datagrams": [[(False, bytes.fromhex(
        "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9bd8bab936b47d92ec356c"))]],
}  # fmt: skip


def made() -> None:
    for target, seeds in TEXT.items():
        for turns in seeds:
            keep(target, app_steps(turns))
    question = DNS(id=7, rd=1, qd=DNSQR(qname="a.example", qtype="TXT"))
    answer = DNS(id=7, qr=1, qd=question.qd, an=DNSRR(rrname="a.example", type="TXT", rdata=[b"x", b"y"]))
    turns = [(False, bytes(question)), (True, bytes(answer))]
    keep("app/dns-datagrams", app_steps(turns))
    keep("app/dns", app_steps([(way, struct.pack(">H", len(data)) + data) for way, data in turns]))
    keep("app/tls", app_steps([(False, bytes(TLS(msg=[TLSClientHello(ciphers=[0x1301, 0x2F])])))]))
    keep("app/tftp-datagrams", app_steps([(False, bytes(TFTP() / TFTP_RRQ(filename=b"f", mode=b"octet")))]))
    keep("app/ntp-datagrams", app_steps([(False, bytes(NTP())), (True, bytes(NTP(mode=4)))]))
    keep(
        "app/dhcp-datagrams",
        app_steps(
            [(False, bytes(BOOTP() / DHCP(options=[("message-type", "request"), ("hostname", b"h"), "end"])))]
        ),
    )
    get = SNMP(community=b"public", PDU=SNMPget(varbindlist=[SNMPvarbind(oid=ASN1_OID("1.3.6.1.2.1"))]))
    keep("app/snmp-datagrams", app_steps([(False, bytes(get))]))
    offer = ISAKMP_payload_SA(
        prop=ISAKMP_payload_Proposal(trans=ISAKMP_payload_Transform(transforms=[("Encryption", "AES-CBC")]))
    )
    keep(
        "app/ike-datagrams", app_steps([(False, bytes(ISAKMP(init_cookie=b"12345678", exch_type=2) / offer))])
    )
    for number, size, offset, more, fill in [
        (0, 40, 0, True, 1),
        (0, 40, 40, False, 2),
        (0, 40, 16, False, 3),
    ]:
        keep("defrag", bytes([number, size, offset, more, fill]) * 24)
    keep("tcp_session", bytes(range(256)))
    keep(
        "decode_ethernet",
        bytes(
            Ether() / IPv6() / UDP(sport=4789, dport=4789) / Raw(b"\x08" + bytes(7)) / Ether() / IP() / TCP()
        ),
    )
    http = [
        (False, b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n"),
        (True, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"),
    ]
    for mode in (0, 1, 2, 6, LIVE_DETECT, 14, 18, 42):
        keep("packets", packet_steps(80, http, mode))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: tools/fuzz_seeds.py FOLDER")
    from_cases()
    made()
