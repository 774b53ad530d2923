"""Who makes room in the kernel's table of connections, and how much."""

import ipaddress
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import netlink
from appliance.steering.crowding import CTA_IP, Pair, _holders, water_level


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


GUESTS = {(1, "10.0.0.1"): "web", (1, "10.0.0.2"): "db", (1, "fd00::1"): "web"}


@pytest.mark.parametrize(
    ("source", "destination", "holder"),
    [
        ("10.0.0.1", "10.0.0.2", "guest web"),
        ("10.0.0.2", "10.0.0.1", "guest db"),
        ("192.0.2.1", "10.0.0.1", "guest web"),
        ("10.0.0.2", "192.0.2.1", "guest db"),
        ("fd00::9", "fd00::1", "guest web"),
    ],
)
def test_a_connection_is_the_guests_that_began_it_or_that_it_is_to(
    source: str, destination: str, holder: str
) -> None:
    found = pair(source, destination)
    assert _holders(Counter({found: 1}), GUESTS) == {found: holder}


def test_between_strangers_it_is_the_address_that_has_more() -> None:
    crowd = {pair(f"192.0.2.{number}", "198.51.100.1"): 1 for number in range(5)}
    alone = pair("192.0.2.9", "198.51.100.7")
    found = _holders(Counter({**crowd, alone: 9}), GUESTS)
    assert {found[each] for each in crowd} == {"198.51.100.1"}
    assert found[alone] in ("192.0.2.9", "198.51.100.7")


def test_a_guests_address_on_another_segment_is_a_strangers() -> None:
    elsewhere = pair("10.0.0.1", "10.0.0.7", zone=2)
    assert _holders(Counter({elsewhere: 1}), GUESTS)[elsewhere].startswith("10.0.0.")


def test_addresses_that_cannot_be_read_are_nobodys() -> None:
    for raw in (b"", b"\x08\x00\x01\x00\x0a", netlink.attribute(1, b"abc")):
        assert _holders(Counter({(1, raw): 3}), GUESTS) == {(1, raw): "?"}
