"""Make the ordinary conversations of `appliance/canary`: `python -m tests.tools.make_canary`.

The TLS handshake is OpenSSL's own, with fresh keys each time; the others are the same bytes every time.
"""

import contextlib
import datetime
import ssl
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from scapy.packet import Packet

from tests.tools.wire import Path2, Tcp, http, ping, udp, write

CANARY = Path(__file__).resolve().parents[2] / "appliance" / "canary"
ENDS = Path2("10.21.0.7", "10.21.0.80")
BROWSER = (
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.5"),
    ("Connection", "keep-alive"),
)
Turns = Sequence[tuple[bool, bytes]]


def talk(port: int, turns: Turns) -> list[Packet]:
    """Return a connection in which client (True) and server take turns."""
    connection = Tcp(ENDS, dport=port).open()
    for to_server, data in turns:
        connection.say(data, to_server=to_server, cuts=range(1400, len(data), 1400))
    return connection.close().packets


def answer(content_type: str, body: bytes) -> bytes:
    """Return a response of an ordinary server."""
    head = (
        f"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    )
    return head.encode() + b"Connection: keep-alive\r\n\r\n" + body


def web() -> list[Packet]:
    """Return a page, a form and a call of an interface, over one connection."""
    host = ("Host", "intranet.example.org")
    page = (
        b"<!DOCTYPE html><html><head><title>Orders</title></head><body>"
        + b"<p>one</p>" * 300
        + b"</body></html>"
    )
    form = (
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Referer", "http://intranet.example.org/"),
    )
    call = (host, ("User-Agent", "orders/2.1"), ("Content-Type", "application/json"))
    return talk(
        80,
        [
            (True, http("GET", "/", host, *BROWSER)),
            (False, answer("text/html; charset=utf-8", page)),
            (True, http("GET", "/orders?page=2&sort=date", host, *BROWSER, ("Cookie", "session=8c1f0e"))),
            (False, answer("text/html; charset=utf-8", page)),
            (True, http("POST", "/orders", host, *BROWSER, *form, body=b"item=chair&count=4&note=by+noon")),
            (False, answer("text/html; charset=utf-8", b"<p>Thank you.</p>")),
            (True, http("PUT", "/api/v1/orders/17", *call, body=b'{"item": "chair", "count": 5}')),
            (False, answer("application/json", b'{"ok": true}')),
        ],
    )


def tls() -> list[Packet]:
    """Return a real handshake of TLS 1.3, a request and an answer."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "intranet.example.org")])
    now = datetime.datetime(2026, 1, 1)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(17).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    serving, asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
        secret = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file.write(key.private_bytes(serialization.Encoding.PEM, *secret))
        file.flush()
        serving.load_cert_chain(file.name)
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(down, up, server_hostname="intranet.example.org")
    server = serving.wrap_bio(up, down, server_side=True)
    turns: list[tuple[bool, bytes]] = []
    wires = {True: _Tap(up), False: _Tap(down)}

    def step(side: ssl.SSLObject, to_server: bool) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
        wires[to_server].take(turns, to_server)

    for _ in range(3):
        step(client, True)
        step(server, False)
    client.write(http("GET", "/"))
    wires[True].take(turns, True)
    server.write(answer("text/plain", b"secret"))
    wires[False].take(turns, False)
    return talk(443, turns)


class _Tap:
    """What was written into one direction, which the other end reads just the same."""

    def __init__(self, wire: ssl.MemoryBIO) -> None:
        self.wire = wire

    def take(self, turns: list[tuple[bool, bytes]], to_server: bool) -> None:
        data = self.wire.read()
        if data:
            turns.append((to_server, data))
            self.wire.write(data)


def dns() -> list[Packet]:
    """Return a question for an address, and its answer."""
    name = b"\x08intranet\x07example\x03org\x00"
    question = name + b"\x00\x01\x00\x01"
    asked = b"\x1a\x2b\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + question
    told = b"\x1a\x2b\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + question
    told += b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\x0a\x15\x00\x50"
    return [udp(asked, path=ENDS), udp(told, path=ENDS, to_server=False)]


def smb() -> list[Packet]:
    """Return SMB 3's negotiation, and its end."""

    def message(command: int, flags: int, body: bytes) -> bytes:
        head = b"\xfeSMB" + struct.pack("<HHIHHIIQIIQ16x", 64, 0, 0, command, 1, flags, 0, 0, 0, 0, 0)
        return struct.pack(">I", len(head) + len(body)) + head + body

    asked = struct.pack("<HHHHI16sQHHH", 36, 3, 1, 0, 0x7F, bytes(range(16)), 0, 0x0210, 0x0300, 0x0302)
    told = struct.pack("<HHHH16sIIIIQQHHI", 65, 1, 0x0302, 0, bytes(16), 0x2F, 1 << 20, 1 << 20, 1 << 20,
                       0x01DB8D3C00000000, 0, 128, 0, 0)  # fmt: skip
    return talk(445, [(True, message(0, 0, asked)), (False, message(0, 1, told))])


def ssh() -> list[Packet]:
    """Return banners and the lists of algorithms."""
    names = [b"curve25519-sha256", b"ssh-ed25519", *[b"chacha20-poly1305@openssh.com"] * 2,
             *[b"hmac-sha2-256"] * 2, *[b"none"] * 2, b"", b""]  # fmt: skip
    lists = b"".join(struct.pack(">I", len(name)) + name for name in names)
    body = b"\x14" + bytes(range(16)) + lists + bytes(5)
    padding = 8 - (len(body) + 5) % 8 + 8
    offer = struct.pack(">IB", len(body) + padding + 1, padding) + body + bytes(padding)
    banner = b"SSH-2.0-OpenSSH_10.0\r\n"
    return talk(22, [(False, banner), (True, banner), (True, offer), (False, offer)])


def smtp() -> list[Packet]:
    """Return a letter."""
    letter = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: Chairs\r\n\r\nThey came at noon.\r\n.\r\n"
    return talk(
        25,
        [
            (False, b"220 mail.example.org ESMTP\r\n"),
            (True, b"EHLO client.example.org\r\n"),
            (False, b"250-mail.example.org\r\n250 8BITMIME\r\n"),
            (True, b"MAIL FROM:<a@example.org>\r\n"),
            (False, b"250 Ok\r\n"),
            (True, b"RCPT TO:<b@example.org>\r\n"),
            (False, b"250 Ok\r\n"),
            (True, b"DATA\r\n"),
            (False, b"354 End data with <CR><LF>.<CR><LF>\r\n"),
            (True, letter),
            (False, b"250 Ok: queued\r\n"),
            (True, b"QUIT\r\n"),
            (False, b"221 Bye\r\n"),
        ],
    )


def time_of_day() -> list[Packet]:
    """Return a question for the time, and its answer."""
    asked = b"\x23" + bytes(47)
    told = b"\x24\x02\x00\xe9" + bytes(8) + bytes(range(1, 37))
    return [udp(data, path=ENDS, dport=123, to_server=way) for data, way in ((asked, True), (told, False))]


def echo() -> list[Packet]:
    """Return a ping, and its answer."""
    data = bytes(range(56))
    return [ping(data, path=ENDS), ping(data, path=ENDS, to_server=False, kind=0)]


ORDINARY = {
    "dns": dns, "http": web, "ntp": time_of_day, "ping": echo,
    "smb": smb, "smtp": smtp, "ssh": ssh, "tls": tls,
}  # fmt: skip


def main() -> None:
    """Write the captures."""
    for name, conversation in ORDINARY.items():
        write(CANARY / f"{name}.pcap", conversation())


if __name__ == "__main__":
    main()
