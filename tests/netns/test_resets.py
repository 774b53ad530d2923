"""`sekisho flows reset` ends idle connections at both ends, whoever followed them: sockets, no inspector."""

import contextlib
import socket
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from appliance import lab
from appliance.model.guest import GuestInventory
from appliance.steering.connections import Connection, connections, drop
from appliance.steering.resets import reset_ends
from tests.netns.kit import Bench, policy
from tests.netns.topology import socket_in

PORT = 6600


@contextlib.contextmanager
def connected(bench: Bench, version: int) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give both ends of a connection that has spoken and is idle."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    address = lab.WEB.ipv4 if version == 4 else lab.WEB.ipv6
    with socket_in(bench.guest(lab.WEB), family=family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, PORT))
        listener.listen()
        with socket_in(bench.guest(lab.CLIENT), family=family) as client:
            client.connect((address, PORT))
            server, _ = listener.accept()
            with server:
                client.sendall(b"question")
                assert server.recv(100) == b"question"
                server.sendall(b"answer")
                assert client.recv(100) == b"answer"
                yield client, server


def reset(bench: Bench, inventory: GuestInventory) -> tuple[list[Connection], int]:
    """Drop and reset all connections of PORT; return them, and how many ends were told."""
    (segment,) = inventory.segments
    found = [c for c in connections((segment.zone,), bench.netns) if c.responder.port == PORT]
    for each in found:
        assert drop(each, bench.netns)
    return found, reset_ends(found, inventory, bench.netns)


@pytest.mark.parametrize("version", [4, 6])
def test_both_ends_of_an_idle_connection_are_reset_at_once(bench: Bench, version: int) -> None:
    bench.apply(policy(inspected=False))
    with connected(bench, version) as (client, server):
        found, told = reset(bench, bench.inventory)
        assert (len(found), told) == (1, 2)
        for end in (client, server):
            with pytest.raises(ConnectionResetError):
                end.recv(1)


def test_an_end_that_is_no_guest_is_reset_with_what_the_guest_says(bench: Bench) -> None:
    (web,) = [guest for guest in bench.inventory.guests if guest.name == "web"]
    alone = replace(bench.inventory, guests=(web,))
    bench.apply(policy(inspected=False))
    with connected(bench, 4) as (client, server):
        assert reset(bench, alone)[1] == 2
        for end in (client, server):
            with pytest.raises(ConnectionResetError):
                end.recv(1)


def test_an_end_that_sent_what_was_dropped_is_reset_where_the_other_stands(bench: Bench) -> None:
    bench.apply(policy(inspected=False))
    with connected(bench, 4) as (client, server):
        (segment,) = bench.inventory.segments
        (each,) = [c for c in connections((segment.zone,), bench.netns) if c.responder.port == PORT]
        assert drop(each, bench.netns)
        client.sendall(b"never arrives")
        assert reset_ends([each], bench.inventory, bench.netns) == 2
        for end in (client, server):
            with pytest.raises(ConnectionResetError):
                end.recv(1)


def test_nobody_is_told_of_a_connection_that_is_gone(bench: Bench) -> None:
    bench.apply(policy(inspected=False))
    with connected(bench, 4):
        found, _ = reset(bench, bench.inventory)
    assert reset_ends(found, bench.inventory, bench.netns) == 0
