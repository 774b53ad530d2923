"""What of a guest's traffic leaves the kernel, by what its signatures look at: a real bridge."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from appliance import lab
from appliance.lab.wire import Outcome
from appliance.model.marks import (
    ANSWER_CLEAR_TO_CLIENT,
    ANSWER_CLEAR_TO_SERVER,
    ANSWER_ENCRYPTED,
    ANSWER_ODD,
    FROM_SERVER,
    PLACED,
)
from appliance.model.needs import Directions, Ends, Needs, PortRange, Roles
from appliance.netns import run_in
from tests.netns.kit import Bench, Seen, policy
from tests.netns.topology import read_exactly, socket_in

FIN, SYN, RST = 1, 2, 4
UNUSED: PortRange = (47, 47)
PORT = 6100


def server_needs(
    to_server: PortRange | None, to_client: PortRange | None, empty: PortRange | None = None
) -> Needs:
    """A guest that is looked at as a server on these TCP ports. empty: in acknowledgments both ways."""

    def roles(ports: PortRange | None) -> Roles:
        return Roles(server=Ends(own=(ports,) if ports else ()))

    return Needs(tcp=Directions(roles(to_server), roles(to_client)), empty=Directions(*[roles(empty)] * 2))


def tcp_parts(packet: Seen) -> tuple[int, int, int, bytes]:
    """Return source port, destination port, flags and payload."""
    data = packet.data
    start = (data[0] & 15) * 4 if data[0] >> 4 == 4 else 40
    segment = data[start:]
    ports = int.from_bytes(segment[:2], "big"), int.from_bytes(segment[2:4], "big")
    return (*ports, segment[13], segment[(segment[12] >> 4) * 4 :])


@contextlib.contextmanager
def connected(bench: Bench, port: int = PORT) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield the client's and the server's end of a connection to `web`."""
    with socket_in(bench.guest(lab.WEB)) as listener, socket_in(bench.guest(lab.CLIENT)) as client:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((lab.WEB.ipv4, port))
        listener.listen()
        client.connect((lab.WEB.ipv4, port))
        server, _ = listener.accept()
        server.settimeout(20)
        with server:
            yield client, server


def say(sender: socket.socket, receiver: socket.socket, text: bytes) -> None:
    sender.sendall(text)
    assert read_exactly(receiver, len(text)) == text


def texts(seen: list[Seen]) -> bytes:
    return b"".join(
        tcp_parts(packet)[3] for packet in seen if packet.data[9] == 6 or packet.data[0] >> 4 == 6
    )


def test_a_port_that_nobody_looks_at_is_never_queued(bench: Bench) -> None:
    bench.apply(policy(), needs={"web": server_needs(UNUSED, UNUSED)})
    with bench.consumer() as seen:
        assert bench.get().outcome is Outcome.ANSWERED
        assert bench.get(ip_version=6).outcome is Outcome.ANSWERED
    assert [packet for packet in seen if packet.data[9] == 6 or packet.data[6] == 6] == []
    assert bench.counters().uninspected["steered"].bytes > 0


@pytest.mark.parametrize("ip_version", [4, 6])
def test_a_direction_that_nobody_looks_at_is_not_queued_but_for_its_opening_and_end(
    bench: Bench, ip_version: int
) -> None:
    bench.apply(policy(), needs={"web": server_needs((lab.RAW_PORT, lab.RAW_PORT), None)})
    with bench.consumer() as seen:
        assert bench.get("/marker", ip_version=ip_version).outcome is Outcome.ANSWERED
    tcp = [tcp_parts(each) for each in seen if each.data[9 if ip_version == 4 else 6] == 6]
    assert b"GET /marker" in texts(seen)
    assert b"200 OK" not in texts(seen)
    assert any(source == lab.RAW_PORT and flags & SYN for source, _, flags, _ in tcp)
    assert all(flags & (SYN | FIN | RST) for source, _, flags, _ in tcp if source == lab.RAW_PORT)
    assert any(source == lab.RAW_PORT and flags & (FIN | RST) for source, _, flags, _ in tcp)
    marks = {each.mark & (PLACED | FROM_SERVER) for each in seen if tcp_parts(each)[0] == lab.RAW_PORT}
    assert marks == {PLACED | FROM_SERVER}


@pytest.mark.parametrize("empty", [None, UNUSED, (PORT, PORT)])
def test_only_acknowledgments_without_payload_stay_in_the_kernel(
    bench: Bench, empty: PortRange | None
) -> None:
    needs = server_needs((PORT, PORT), (PORT, PORT), empty)
    bench.apply(policy(), needs={"web": needs})
    with bench.consumer() as seen, connected(bench) as (client, server):
        for size in (1, 2, 3, 100, 20_000):
            say(client, server, b"q" * size)
            say(server, client, b"a" * size)
    found = texts(seen)
    # a sender may be so impatient as to send again
    assert min(found.count(b"q"), found.count(b"a")) >= 20_106, "a byte was not queued"
    bare = [flags for _, _, flags, payload in map(tcp_parts, seen) if flags == 0x10 and not payload]
    assert bool(bare) is (empty == (PORT, PORT))


def test_after_a_flush_of_conntrack_both_directions_are_queued(bench: Bench) -> None:
    """Whoever sends next is conntrack's originator now, be it the server."""
    bench.apply(policy(), needs={"web": server_needs((PORT, PORT), None)})
    with bench.consumer() as seen, connected(bench) as (client, server):
        say(server, client, b"unseen")
        run_in(bench.netns, ["conntrack", "-F"])
        say(server, client, b"server-first")
        say(client, server, b"exploit")
    assert b"unseen" not in texts(seen)
    assert b"server-first" in texts(seen)
    assert b"exploit" in texts(seen)
    assert not any(packet.mark & PLACED for packet in seen if b"exploit" in packet.data)


def test_a_connection_that_is_older_than_the_rules_is_queued_both_ways(bench: Bench) -> None:
    with connected(bench) as (client, server):
        say(server, client, b"before")
        bench.apply(policy(), needs={"web": server_needs((PORT, PORT), None)})
        with bench.consumer() as seen:
            say(server, client, b"banner")
            say(client, server, b"exploit")
    assert b"banner" in texts(seen)
    assert b"exploit" in texts(seen)


CLEAR_BOTH = ANSWER_CLEAR_TO_SERVER | ANSWER_CLEAR_TO_CLIENT


def both(port: int) -> dict[str, Needs]:
    return {"web": server_needs((port, port), (port, port))}


@pytest.mark.parametrize(
    ("generation", "answer", "seen_after"),
    [
        (4, CLEAR_BOTH, b""),
        (5, CLEAR_BOTH | ANSWER_ODD, b""),
        (4, ANSWER_CLEAR_TO_CLIENT, b"request"),
        (4, ANSWER_CLEAR_TO_SERVER, b"response"),
        (4, CLEAR_BOTH | ANSWER_ODD, b"requestresponse"),
        (5, CLEAR_BOTH, b"requestresponse"),
    ],
)
def test_what_the_inspector_clears_is_not_queued_any_more_if_it_is_of_the_live_policy(
    bench: Bench, generation: int, answer: int, seen_after: bytes
) -> None:
    bench.apply(policy(), needs=both(PORT), generation=generation)
    with bench.consumer(1, "--answer", hex(answer)) as seen, connected(bench) as (client, server):
        say(client, server, b"first")
        say(client, server, b"request")
        say(server, client, b"response")
    # an answer to the handshake clears already
    assert texts(seen).replace(b"first", b"") == seen_after


def test_what_is_cleared_is_counted_by_its_reason(bench: Bench) -> None:
    bench.apply(policy(), needs=both(PORT))
    for answer, reason in ((CLEAR_BOTH, "steered"), (CLEAR_BOTH | ANSWER_ENCRYPTED, "encrypted")):
        before = bench.counters().uninspected[reason].bytes
        with bench.consumer(1, "--answer", hex(answer)), connected(bench) as (client, server):
            say(client, server, b"first")
            say(client, server, b"x" * 10_000)
        assert bench.counters().uninspected[reason].bytes - before > 10_000


def test_a_new_policy_looks_again_at_what_was_cleared(bench: Bench) -> None:
    bench.apply(policy(), needs=both(PORT), generation=1)
    with connected(bench) as (client, server):
        with bench.consumer(1, "--answer", hex(CLEAR_BOTH | ANSWER_ODD)) as seen:
            say(client, server, b"first")
            say(client, server, b"cleared")
        assert b"cleared" not in texts(seen)
        bench.apply(policy(), needs=both(PORT), generation=2)
        with bench.consumer() as seen:
            say(client, server, b"exploit")
            say(server, client, b"response")
        assert b"exploitresponse" in texts(seen)


def test_the_inspector_takes_back_what_it_cleared(bench: Bench) -> None:
    bench.apply(policy(), needs=both(PORT))
    with connected(bench) as (client, server):
        with bench.consumer(1, "--answer", hex(ANSWER_CLEAR_TO_CLIENT)) as seen:
            say(client, server, b"first")
            say(server, client, b"cleared")
        assert b"cleared" not in texts(seen)
        with bench.consumer() as seen:
            say(client, server, b"CONNECT")
            say(server, client, b"granted")
        assert b"granted" in texts(seen)


def test_a_connection_on_the_addresses_and_ports_of_a_cleared_one_is_looked_at(bench: Bench) -> None:
    bench.apply(policy(), needs=both(PORT))
    with connected(bench) as (client, server):
        source = client.getsockname()[1]
        with bench.consumer(1, "--answer", hex(CLEAR_BOTH)):
            say(client, server, b"first")
        # neither end tells the kernel between them that the connection is over
        for guest in (lab.WEB, lab.CLIENT):
            run_in(bench.guest(guest), ["ss", "-K", "dst", "10.99.0.0/16"])
    with bench.consumer() as seen, socket_in(bench.guest(lab.WEB)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((lab.WEB.ipv4, PORT))
        listener.listen()
        with socket_in(bench.guest(lab.CLIENT)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind(("", source))
            client.connect((lab.WEB.ipv4, PORT))
            client.sendall(b"exploit")
            server, _ = listener.accept()
            with server:
                assert read_exactly(server, 7) == b"exploit"
    assert b"exploit" in texts(seen)


def test_datagrams_are_queued_both_ways_if_a_signature_looks_at_their_port_and_not_at_all_if_none_does(
    bench: Bench,
) -> None:
    looked_at = Roles(server=Ends(own=((PORT, PORT),)))
    bench.apply(policy(), needs={"web": Needs(udp=Directions(to_server=looked_at))})
    with (
        bench.consumer(1, "--answer", hex(CLEAR_BOTH)) as seen,
        socket_in(bench.guest(lab.WEB), socket.SOCK_DGRAM) as web,
        socket_in(bench.guest(lab.WEB), socket.SOCK_DGRAM) as other,
        socket_in(bench.guest(lab.CLIENT), socket.SOCK_DGRAM) as client,
    ):
        web.bind((lab.WEB.ipv4, PORT))
        other.bind((lab.WEB.ipv4, PORT + 1))
        for _ in range(3):
            for server in (web, other):
                client.sendto(b"question", server.getsockname())
                _, address = server.recvfrom(100)
                server.sendto(b"answer", address)
                assert client.recv(100) == b"answer"
    datagrams = [packet.data for packet in seen if packet.data[0] >> 4 == 4 and packet.data[9] == 17]
    ports = {(int.from_bytes(data[20:22], "big"), int.from_bytes(data[22:24], "big")) for data in datagrams}
    assert len(datagrams) == 6, "no answer clears datagrams"
    assert all(PORT in pair for pair in ports)


def test_a_later_fragment_is_queued_though_it_shows_no_port(bench: Bench) -> None:
    """Conntrack puts fragments together before; told not to track them, it leaves them alone."""
    bench.apply(policy(), needs={"web": server_needs(UNUSED, UNUSED)})
    table = "table ip untracked { chain c { type filter hook prerouting priority -450; notrack; }; }"
    run_in(bench.netns, ["nft", table])
    try:
        with bench.consumer() as seen, socket_in(bench.guest(lab.CLIENT), socket.SOCK_DGRAM) as client:
            client.sendto(b"f" * 4000, (lab.WEB.ipv4, PORT))
    finally:
        run_in(bench.netns, ["nft", "delete", "table", "ip", "untracked"])
    offsets = [int.from_bytes(p.data[6:8], "big") & 0x1FFF for p in seen if p.data[0] >> 4 == 4]
    assert any(offset > 0 for offset in offsets)
