"""Guests that what they send does not tell apart: equal connections on two segments, swapped MACs."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance import lab
from appliance.model.guest import Guest, GuestInventory, Segment, Vnic
from appliance.model.policy import Mode
from appliance.netns import run_in
from tests.netns.kit import Bench
from tests.netns.live_kit import EVIL, OK, Live, Web, ask, client_of, is_stopped, live, serving
from tests.netns.topology import read_exactly, socket_in

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

HTTP = 'alert http any any -> $HOME_NET any (flow:established,to_server; http.uri; content:"/evil"; sid:1;)\n'
PORT, SOURCE_PORT = 6200, 40_000
TWIN = Segment("twin", "sekisho1", zone=2)
TWIN_MAC = "02:5e:98:00:00:10"


@pytest.fixture
def twin(bench: Bench) -> Iterator[Bench]:
    """A second bridge beside the first one, with guests of the same addresses; one inventory has both."""
    other = replace(bench.settings, prefix=f"{bench.settings.prefix}-twin", bridge=TWIN.bridge)
    guests = {lab.WEB: ("twin0", TWIN_MAC), lab.CLIENT: ("twin1", "02:5e:98:00:00:20")}
    known = bench.inventory
    web = Guest("twin", TWIN.name, (Vnic("eth0", "twin0", TWIN_MAC, lab.WEB.addresses),))
    inventory = GuestInventory((*known.segments, TWIN), (*known.guests, web))
    try:
        run_in(bench.netns, ["ip", "link", "add", TWIN.bridge, "up", "type", "bridge", "mcast_snooping", "0"])
        for guest, (tap, mac) in guests.items():
            netns = other.guest_netns(guest)
            run_in(None, ["ip", "netns", "add", netns])
            peer = ["peer", "name", "eth0", "netns", netns, "address", mac]
            run_in(bench.netns, ["ip", "link", "add", tap, "type", "veth", *peer])
            run_in(bench.netns, ["ip", "link", "set", tap, "up", "master", TWIN.bridge])
            run_in(netns, ["ip", "link", "set", "eth0", "up"])
            run_in(netns, ["ip", "address", "add", f"{guest.ipv4}/24", "dev", "eth0"])
        bench.inventory = inventory
        yield Bench(other, inventory, bench.live)
    finally:
        for name in (TWIN.bridge, *(tap for tap, _ in guests.values())):
            with contextlib.suppress(Exception):
                run_in(bench.netns, ["ip", "link", "delete", name])
        for guest in guests:
            with contextlib.suppress(Exception):
                run_in(None, ["ip", "netns", "delete", other.guest_netns(guest)])


@pytest.fixture
def engine(bench: Bench, tmp_path: Path) -> Iterator[Live]:
    with live(bench, tmp_path / "live") as running:
        yield running


@contextlib.contextmanager
def connected(bench: Bench) -> Iterator[socket.socket]:
    """Yield a connection whose five-tuple is the same wherever it is made."""
    with socket_in(bench.guest(lab.CLIENT)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        connection.bind((lab.CLIENT.ipv4, SOURCE_PORT))
        connection.connect((lab.WEB.ipv4, PORT))
        yield connection


def test_equal_connections_on_two_segments_are_held_to_their_own_guests_policies(
    bench: Bench, twin: Bench, engine: Live
) -> None:
    engine.push_to(HTTP, {"web": Mode.PREVENT, "twin": Mode.DETECT})
    ours, theirs = Web(), Web()
    with (
        serving(bench, PORT, ours),
        serving(twin, PORT, theirs),
        connected(bench) as first,
        connected(twin) as second,
    ):
        ask(first)
        ask(second)
        assert is_stopped(first)
        second.sendall(EVIL)
        assert read_exactly(second, len(OK)) == OK
        ask(second)
    assert b"GET /evil HTTP/1.1" not in ours.lines
    assert b"GET /evil HTTP/1.1" in theirs.lines
    engine.await_alert(1, count=2)


def set_mac(bench: Bench, guest: lab.LabGuest, mac: str) -> None:
    run_in(bench.guest(guest), ["ip", "link", "set", "eth0", "address", mac])


@pytest.fixture
def swapped(bench: Bench) -> Iterator[None]:
    """The guests have taken each other's MACs, with the addresses that they had."""
    macs = {lab.WEB: lab.CLIENT.mac, lab.CLIENT: lab.WEB.mac}
    try:
        for guest, mac in macs.items():
            set_mac(bench, guest, mac)
        yield
    finally:
        for guest in macs:
            set_mac(bench, guest, guest.mac)
            run_in(bench.guest(guest), ["ip", "neigh", "flush", "all"])
        bench.forget_macs()


@pytest.mark.usefixtures("swapped")
def test_a_guest_that_took_anothers_mac_keeps_its_own_policy(bench: Bench, engine: Live) -> None:
    engine.push_to(HTTP, {"web": Mode.PREVENT})
    web = Web()
    with serving(bench, PORT, web), client_of(bench, PORT) as connection:
        ask(connection)
        assert is_stopped(connection)
    assert b"GET /evil HTTP/1.1" not in web.lines
    violations = {guest: bench.counters(guest).violations["mac"].packets for guest in ("web", "client")}
    assert all(violations.values()), violations
