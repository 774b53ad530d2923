"""Nothing gets past by way of what the kernel is told not to show: real packets, the real engine."""

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import lab
from appliance.model.policy import Mode
from appliance.netns import run_in
from tests.netns.kit import Bench
from tests.netns.live_kit import EVIL, GOOD, OK, Live, Web, ask, client_of, is_stopped, live, serving
from tests.netns.topology import PATIENCE_S, eventually, read_exactly

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

HTTP = 'alert http any any -> $HOME_NET any (flow:established,to_server; http.uri; content:"/evil"; sid:1;)\n'
RESPONSE = 'alert http $HOME_NET any -> any any (flow:to_client; http.stat_code; content:"500"; sid:2;)\n'
RAW = 'alert tcp any any -> $HOME_NET 6300 (flow:established,to_server; content:"exploit"; sid:3;)\n'
DATAGRAM = 'alert udp any any -> $HOME_NET 6400 (content:"exploit"; sid:4;)\n'
PORT = 6200
RAW_PORT = 6300
MIB = 1 << 20
BIG_MIB = 100


@pytest.fixture
def engine(bench: Bench, tmp_path: Path) -> Iterator[Live]:
    with live(bench, tmp_path / "live") as running:
        yield running


@pytest.fixture
def web(bench: Bench) -> Iterator[Web]:
    server = Web()
    with serving(bench, PORT, server):
        yield server


def test_the_exploit_behind_a_thousand_requests_is_stopped(engine: Live, bench: Bench, web: Web) -> None:
    engine.push(HTTP)
    with client_of(bench, PORT) as connection:
        ask(connection)
        before = engine.queued()
        for _ in range(1000):
            ask(connection)
        queued = engine.queued() - before
        assert is_stopped(connection)
    print(f"queued of 1000 requests and responses: {queued} packets")
    assert queued < 1100, "neither responses nor acknowledgments leave the kernel"
    assert b"GET /evil HTTP/1.1" not in web.lines


def test_the_exploit_pipelined_behind_a_body_past_its_depth_is_stopped(
    engine: Live, bench: Bench, web: Web
) -> None:
    engine.push(HTTP)
    post = f"POST /upload HTTP/1.1\r\nHost: web\r\nContent-Length: {BIG_MIB * MIB}\r\n\r\n".encode()
    with client_of(bench, PORT) as connection:
        ask(connection)
        connection.sendall(post)
        for _ in range(BIG_MIB - 1):
            connection.sendall(b"x" * MIB)
        assert is_stopped(connection, b"x" * MIB + EVIL)
    assert b"GET /evil HTTP/1.1" not in web.lines
    # Workers publish what they counted a few times a second.
    eventually(lambda: past_depth(engine) > (BIG_MIB - 2) * MIB)


def past_depth(engine: Live) -> int:
    counted = engine.stats()["engine"]["guests"].get("web", {})
    return int(counted.get("uninspected", {}).get("past-depth", 0))


def test_the_exploit_that_drips_in_is_stopped(engine: Live, bench: Bench, web: Web) -> None:
    engine.push(HTTP)
    with client_of(bench, PORT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ask(connection)
        for byte in EVIL[:-1]:
            with contextlib.suppress(ConnectionError):
                connection.sendall(bytes([byte]))
        assert is_stopped(connection, EVIL[-1:])
    assert b"GET /evil HTTP/1.1" not in web.lines


@pytest.mark.parametrize("speaks_first", ["client", "server"])
def test_the_exploit_behind_a_flush_of_conntrack_is_stopped(
    engine: Live, bench: Bench, speaks_first: str
) -> None:
    """Whoever speaks first then is conntrack's originator."""
    ends: list[socket.socket] = []
    done = threading.Event()

    def keep(connection: socket.socket) -> None:
        ends.append(connection)
        done.wait(PATIENCE_S)

    engine.push(HTTP)
    with serving(bench, PORT, keep), client_of(bench, PORT) as client:
        client.sendall(GOOD)
        eventually(lambda: bool(ends))
        server = ends[0]
        read_exactly(server, len(GOOD))
        server.sendall(OK)
        read_exactly(client, len(OK))
        run_in(bench.netns, ["conntrack", "-F"])
        if speaks_first == "server":
            server.sendall(b"HTTP/1.1 408 Late\r\nConnection: close\r\n\r\n")
            client.recv(100)
        assert is_stopped(client)
        done.set()
    engine.await_alert(1)


def test_the_exploit_behind_a_reset_that_its_receiver_ignores_is_stopped(
    engine: Live, bench: Bench, web: Web
) -> None:
    """A reset at a number that nobody expects, from either end's wire."""
    from scapy.layers.inet import IP, TCP
    from scapy.layers.l2 import Ether

    from tests.netns.kit import send_frames

    engine.push(HTTP)
    for sender, receiver in ((lab.CLIENT, lab.WEB), (lab.WEB, lab.CLIENT)):
        with client_of(bench, PORT) as connection:
            ask(connection)
            own = connection.getsockname()[1]
            ports = (own, PORT) if sender is lab.CLIENT else (PORT, own)
            frame = Ether(src=sender.mac, dst=receiver.mac) / IP(src=sender.ipv4, dst=receiver.ipv4)
            for flags in ("R", "RA", "FA"):
                segment = frame / TCP(sport=ports[0], dport=ports[1], flags=flags, seq=0x7ABCDEF0, ack=1)
                send_frames(bench.guest(sender), [bytes(segment)])
            ask(connection)
            assert is_stopped(connection)
    assert b"GET /evil HTTP/1.1" not in web.lines


def test_a_new_policy_looks_at_connections_that_were_cleared(engine: Live, bench: Bench, web: Web) -> None:
    engine.push(RAW)
    with client_of(bench, PORT) as connection, client_of(bench, PORT) as other:
        for each in (connection, other):
            ask(each)
        assert engine.queued() == 0
        engine.push(HTTP)
        assert is_stopped(connection)
        # and over again, through as many policies as it takes for the count's lowest bit to come round
        engine.push(RAW)
        ask(other)
        engine.push(HTTP)
        assert is_stopped(other)
    assert b"GET /evil HTTP/1.1" not in web.lines


def test_a_connection_whose_protocol_nobody_looks_at_is_cleared_until_a_new_policy(
    engine: Live, bench: Bench, web: Web
) -> None:
    mail = 'alert dns any any -> $HOME_NET any (dns.query; content:"evil"; sid:9;)\n'
    engine.push(mail + 'alert tls any any -> $HOME_NET any (tls.sni; content:"evil"; sid:10;)\n')
    with client_of(bench, PORT) as connection:
        ask(connection)
        engine.push(mail + HTTP)
        ask(connection)
        assert is_stopped(connection)
    assert b"GET /evil HTTP/1.1" not in web.lines


def test_a_port_without_signatures_is_never_queued(engine: Live, bench: Bench, web: Web) -> None:
    engine.push(RAW)
    with client_of(bench, PORT) as connection:
        for _ in range(10):
            ask(connection)
    assert engine.queued() == 0
    assert bench.counters().uninspected["steered"].bytes > 0


def test_responses_that_nobody_looks_at_stay_in_the_kernel_and_are_counted(
    engine: Live, bench: Bench
) -> None:
    """On the port of a raw signature from the beginning, as soon as its protocol is known otherwise."""

    def reply(connection: socket.socket) -> None:
        while connection.recv(1 << 16):
            connection.sendall(OK + b"x" * 200_000)

    engine.push(RAW + HTTP.replace("any (", "6200 ("))
    for port in (RAW_PORT, PORT):
        before = bench.counters().uninspected["steered"].bytes
        with serving(bench, port, reply), client_of(bench, port) as connection:
            for _ in range(10):
                connection.sendall(GOOD)
                read_exactly(connection, len(OK) + 200_000)
        assert bench.counters().uninspected["steered"].bytes - before > 2_000_000
        with serving(bench, port, reply), client_of(bench, port) as connection:
            connection.sendall(GOOD)
            # a reset is for what the client has acknowledged: it must not arrive while more is under way
            read_exactly(connection, len(OK) + 200_000)
            assert is_stopped(connection, EVIL if port == PORT else b"exploit")


def test_responses_are_shown_where_a_signature_looks_at_them(engine: Live, bench: Bench) -> None:
    def fail(connection: socket.socket) -> None:
        while connection.recv(1 << 16):
            connection.sendall(OK.replace(b"200 OK", b"500 No"))

    engine.push(HTTP + RESPONSE)
    with serving(bench, PORT, fail), client_of(bench, PORT) as connection:
        assert is_stopped(connection, GOOD)
    engine.await_alert(2)


def test_a_tunnel_behind_cleared_responses_is_looked_into(engine: Live, bench: Bench) -> None:
    def proxy(connection: socket.socket) -> None:
        while (request := connection.recv(1 << 16)) and not request.startswith(b"CONNECT"):
            connection.sendall(OK)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while connection.recv(1 << 16):
            connection.sendall(OK)

    engine.push(HTTP)
    with serving(bench, PORT, proxy), client_of(bench, PORT) as connection:
        for _ in range(3):
            ask(connection)
        connection.sendall(b"CONNECT inner:80 HTTP/1.1\r\nHost: inner\r\n\r\n")
        assert read_exactly(connection, 19) == b"HTTP/1.1 200 OK\r\n\r\n"
        ask(connection)
        assert is_stopped(connection)


def certificate(directory: Path) -> ssl.SSLContext:
    key, chain = directory / "key.pem", directory / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=web", "-keyout", str(key), "-out", str(chain)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_stays_in_the_kernel_behind_its_handshake(
    engine: Live, bench: Bench, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    server = certificate(tmp_path)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.minimum_version = client.maximum_version = version

    def echo(connection: socket.socket) -> None:
        with server.wrap_socket(connection, server_side=True) as secure:
            while piece := secure.recv(1 << 16):
                secure.sendall(piece)

    sni = 'alert tls any any -> $HOME_NET any (flow:to_server; tls.sni; content:"evil"; sid:5;)\n'
    engine.push(HTTP + sni)
    before = bench.counters().uninspected["encrypted"].bytes
    with (
        serving(bench, PORT, echo),
        client_of(bench, PORT) as plain,
        client.wrap_socket(plain, server_hostname="web") as secure,
    ):
        for _ in range(3):
            secure.sendall(b"first")
            read_exactly(secure, 5)
        queued = engine.queued()
        for _ in range(100):
            secure.sendall(b"x" * 10_000)
            read_exactly(secure, 10_000)
        assert engine.queued() == queued
    assert bench.counters().uninspected["encrypted"].bytes - before > 2_000_000
    with (
        serving(bench, PORT, echo),
        client_of(bench, PORT) as plain,
        pytest.raises(OSError),
        client.wrap_socket(plain, server_hostname="evil"),
    ):
        pass
    engine.await_alert(5)


def test_datagrams_are_looked_at_one_by_one_and_those_of_other_ports_not_at_all(
    engine: Live, bench: Bench
) -> None:
    from tests.netns.topology import socket_in

    engine.push(DATAGRAM)
    with (
        socket_in(bench.guest(lab.WEB), socket.SOCK_DGRAM) as looked_at,
        socket_in(bench.guest(lab.WEB), socket.SOCK_DGRAM) as other,
        socket_in(bench.guest(lab.CLIENT), socket.SOCK_DGRAM) as client,
    ):
        looked_at.bind((lab.WEB.ipv4, 6400))
        other.bind((lab.WEB.ipv4, 6401))
        client.sendto(b"exploit", other.getsockname())
        assert other.recv(100) == b"exploit"
        assert engine.queued() == 0
        for number in range(50):
            client.sendto(b"harmless", looked_at.getsockname())
            assert looked_at.recv(100) == b"harmless", number
        client.sendto(b"exploit", looked_at.getsockname())
        client.sendto(b"after", looked_at.getsockname())
        assert looked_at.recv(100) == b"after"
    engine.await_alert(4)
    assert engine.queued() == 52


def test_a_guest_in_detect_is_looked_at_alike(engine: Live, bench: Bench, web: Web) -> None:
    engine.push(HTTP, Mode.DETECT)
    with client_of(bench, PORT) as connection:
        for _ in range(50):
            ask(connection)
        ask(connection, EVIL)
        ask(connection)
        ask(connection, EVIL)
    engine.await_alert(1, 2)
