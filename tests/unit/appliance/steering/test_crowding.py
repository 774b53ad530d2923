"""Who makes room in the kernel's table of connections, and how much."""

import ipaddress
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import netlink
from appliance.control.room import pinned
from appliance.model.guest import Guest, Vnic
from appliance.steering.crowding import (
    ASSURED,
    CTA_ID,
    CTA_IP,
    CTA_STATUS,
    CTA_TIMEOUT,
    CTA_TUPLE_ORIG,
    CTA_ZONE,
    Answered,
    Holdings,
    Pair,
    water_level,
)


@pytest.mark.parametrize(
    ("held", "room", "level"),
    [
        ([], 10, 0),
        ([3, 4], 10, 4),
        ([3, 100], 10, 7),
        ([50, 100], 10, 5),
        ([1, 2, 100, 200], 13, 5),
        ([100, 200], 0, 0),
    ],
)
def test_who_holds_little_keeps_it_and_the_others_share_the_rest(
    held: list[int], room: int, level: int
) -> None:
    assert water_level(held, room) == level


@given(st.lists(st.integers(0, 10_000), max_size=50), st.integers(0, 100_000))
def test_what_is_left_fits_and_wastes_less_than_one_each(held: list[int], room: int) -> None:
    level = water_level(held, room)
    kept = sum(min(each, level) for each in held)
    assert kept <= room or not held
    assert kept == sum(held) or room - kept < len(held)


def pair(source: str, destination: str, zone: int = 1) -> Pair:
    raw = b""
    for index, each in enumerate((source, destination)):
        packed = ipaddress.ip_address(each).packed
        raw += netlink.attribute(CTA_IP[len(packed)][index], packed)
    return zone, raw


GUESTS = {(1, "10.0.0.1"): "web", (1, "10.0.0.2"): "db", (1, "fd00::1"): "web", (0, "10.0.0.2"): "db"}


def held(*pairs: tuple[Pair, int]) -> Holdings:
    return Holdings(Counter(dict(pairs)), GUESTS)


@pytest.mark.parametrize(
    ("source", "destination", "holder"),
    [
        ("10.0.0.1", "10.0.0.2", "web"),
        ("10.0.0.2", "10.0.0.1", "db"),
        ("10.0.0.2", "192.0.2.1", "db"),
        ("fd00::1", "fd00::9", "web"),
    ],
)
def test_a_connection_is_the_guests_that_began_it(source: str, destination: str, holder: str) -> None:
    assert held((pair(source, destination), 3)).by_holder == {holder: 3}


def test_a_crowds_connections_to_a_guest_are_the_guests_and_one_strangers_are_strangers() -> None:
    crowd = [(pair(f"192.0.2.{number}", "10.0.0.1"), 1) for number in range(10)]
    assert held(*crowd).by_holder == {"web": 10}
    flood = (pair("192.0.2.99", "10.0.0.1"), 90)
    found = held(*crowd, flood)
    assert found.by_holder == {"web": 10, 1: 90}
    assert found.name(1) == "addresses that are no guest's, most of 192.0.2.99"


def test_any_number_of_forged_addresses_is_one_holder() -> None:
    forged = [(pair(f"192.0.{n >> 8}.{n & 255}", f"198.51.{n >> 8}.{n & 255}"), 1) for n in range(2_000)]
    found = held(*forged, (pair("10.0.0.1", "10.0.0.2"), 50))
    assert found.by_holder == {1: 2_000, "web": 50}
    assert len(found.pairs_to_take(1, 1_000)) >= 1_000


def test_of_strangers_those_who_have_most_make_room() -> None:
    much, little = pair("192.0.2.1", "198.51.100.1"), pair("192.0.2.2", "198.51.100.2")
    assert held((much, 90), (little, 10)).pairs_to_take(1, 50) == [much]


def test_a_guests_address_on_another_segment_is_a_strangers() -> None:
    assert held((pair("10.0.0.1", "10.0.0.7", zone=2), 1)).by_holder == {2: 1}


def test_of_the_hosts_own_zone_what_a_guest_began_is_the_guests() -> None:
    found = held(
        (pair("10.0.0.2", "10.0.0.254", zone=0), 5),
        (pair("10.0.0.254", "10.0.0.2", zone=0), 7),
        (pair("192.0.2.1", "192.0.2.2", zone=0), 9),
    )
    assert (found.by_holder, found.hosts) == ({"db": 5}, 16)


def test_addresses_that_cannot_be_read_are_strangers() -> None:
    for raw in (b"", b"\x08\x00\x01\x00\x0a", netlink.attribute(1, b"abc")):
        found = held(((1, raw), 3))
        assert found.by_holder == {1: 3}
        assert found.name(1).endswith("most of ?")


def test_an_address_that_two_guests_have_is_nobodys_in_the_hosts_zone() -> None:
    guests = [
        Guest("a", "one", (Vnic("eth0", "a0", "02:00:00:00:00:01", ("10.0.0.1",)),)),
        Guest("b", "two", (Vnic("eth0", "b0", "02:00:00:00:00:02", ("10.0.0.1", "10.0.0.2")),)),
    ]
    assert pinned(guests, {"one": 1, "two": 2}) == {
        (1, "10.0.0.1"): "a",
        (2, "10.0.0.1"): "b",
        (2, "10.0.0.2"): "b",
        (0, "10.0.0.2"): "b",
    }


def test_what_the_kernel_says_is_read_within_its_lengths() -> None:
    """Every message cut anywhere, and with any length in any place, is read without error."""
    whole = entry("10.0.0.1", "10.0.0.2", zone=1, timeout_s=77)
    for end in range(len(whole) + 1):
        answered = Answered()
        answered._take(whole[:end], 0, end, {1})
    for at in range(4, len(whole), 2):
        for length in (0, 1, 3, 4, 5, 0xFFFF):
            changed = whole[:at] + length.to_bytes(2, "little") + whole[at + 2 :]
            Answered()._take(changed, 0, len(changed), {1})


def test_those_that_end_soonest_are_taken_and_only_what_was_answered_counts() -> None:
    answered = Answered()
    for timeout_s in (300, 20, 432_000, 5):
        data = entry("10.0.0.1", "10.0.0.2", zone=1, timeout_s=timeout_s)
        answered._take(data, 0, len(data), {1})
    for status, zone in ((0, 1), (ASSURED, 9)):
        data = entry("10.0.0.1", "10.0.0.2", zone=zone, timeout_s=1, status=status)
        answered._take(data, 0, len(data), {1})
    (ends,) = answered.counts()
    assert answered.counts() == {ends: 4}
    assert answered.elsewhere == 1
    assert answered.soonest([ends], 2) == [3, 1]


def entry(source: str, destination: str, *, zone: int, timeout_s: int, status: int = ASSURED) -> bytes:
    """Return a body as the kernel lists it."""
    _, addresses = pair(source, destination)
    ends = netlink.attribute(1, addresses) + netlink.attribute(2, netlink.attribute(1, b"\x06"))
    fields = (
        (CTA_TUPLE_ORIG, ends),
        (2, ends),
        (CTA_ZONE, zone.to_bytes(2, "big")),
        (CTA_STATUS, status.to_bytes(4, "big")),
        (CTA_ID, b"abcd"),
        (CTA_TIMEOUT, timeout_s.to_bytes(4, "big")),
    )
    return bytes(4) + b"".join(netlink.attribute(kind, value) for kind, value in fields)
