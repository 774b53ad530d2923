"""guests.yaml is read strictly: what is wrong is named with its place, nothing is guessed."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import lab
from appliance.hypervisor import load_guests, number_ports, parse_guests
from appliance.model.faults import PolicyError
from appliance.model.guest import GuestInventory

GOOD = """
segments:
  - {name: lab, bridge: br0, zone: 1, failure: {inspector_down: closed}}
guests:
  - name: web
    segment: lab
    vnics:
      - {name: eth0, tap: vnet0, mac: "02-5E-99-00-00-10", addresses: [10.0.0.1, "FD00:0::1"]}
  - name: db
    segment: lab
    vnics:
      - {name: eth0, tap: vnet1, mac: "02:5e:99:00:00:11"}
"""


def test_reads_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "guests.yaml"
    path.write_text(GOOD)
    inventory = load_guests(path)
    assert inventory.segments[0].failure.inspector_down == "closed"
    assert inventory.guests[0].vnics[0].mac == "02:5e:99:00:00:10"
    assert inventory.guests[0].vnics[0].addresses == ("10.0.0.1", "fd00::1")


def test_reads_the_lab() -> None:
    inventory = parse_guests(lab.guests_yaml().encode())
    assert [guest.name for guest in inventory.guests] == ["web", "client"]


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ("addresses:", "adresses:", "unknown key 'adresses' at guests[0].vnics[0]; known: addresses,"),
        ("segments:", "segmets:", "unknown key 'segmets' at the top"),
        ("zone: 1", "zone: 1, zone: 2", "the key 'zone' stands here twice"),
        ("inspector_down", "inspector_dwn", "unknown key 'inspector_dwn' at segments[0].failure"),
        ("closed", "shut", "shut"),
        ("zone: 1", "zone: 0", "zone 0 is not between 1 and 65535"),
        ("zone: 1", "zone: one", "Expected `int`"),
        ("tap: vnet1", "tap: vnet0", "tap 'vnet0' stands here twice"),
        ("name: db", "name: web", "guest 'web' stands here twice"),
        ("tap: vnet1, ", "", "missing required field `tap`"),
        ("tap: vnet1", 'tap: "a/b"', "'a/b' is no interface name"),
        ("tap: vnet1", "tap: sixteencharacter", "is no interface name"),
        ("02:5e:99:00:00:11", "03:5e:99:00:00:11", "is no MAC address of one interface"),
        ("02:5e:99:00:00:11", "02:5e:99", "is no MAC address"),
        ("10.0.0.1", "10.0.0.256", "'10.0.0.256' is no IPv4 or IPv6 address"),
        ("name: db\n    segment: lab", "name: db\n    segment: dmz", "there is no segment 'dmz'"),
        ("name: db", 'name: "d\\tb"', "a name is"),
        ("bridge: br0", "bridge: ''", "is no interface name"),
        ("guests:", "guests: &a [*a]\nx:", "aliases are not used here"),
    ],
)  # fmt: skip
def test_refuses_with_place_and_reason(was: str, becomes: str, says: str) -> None:
    assert was in GOOD
    with pytest.raises(PolicyError) as refusal:
        parse_guests(GOOD.replace(was, becomes).encode())
    assert says in str(refusal.value)
    assert str(refusal.value).startswith("guests.yaml: ")


def test_refuses_a_repeated_key_in_json_too() -> None:
    with pytest.raises(PolicyError, match="the key 'guests' stands here twice"):
        parse_guests(b'{"segments": [], "guests": [], "guests": []}')


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"none\.yaml: No such file"):
        load_guests(tmp_path / "none.yaml")


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_an_inventory_or_a_refusal(text: bytes) -> None:
    with contextlib.suppress(PolicyError):
        assert isinstance(parse_guests(text), GuestInventory)


@given(st.data())
def test_a_damaged_file_is_an_inventory_or_a_refusal(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(GOOD)))
    damaged = GOOD[:at] + data.draw(st.text(max_size=5)) + GOOD[at + data.draw(st.integers(0, 20)) :]
    with contextlib.suppress(PolicyError):
        parse_guests(damaged.encode())


@pytest.mark.parametrize("text", ["[" * 5000, "{a: " * 5000, "- " * 5000])
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(PolicyError):
        parse_guests(text.encode())


def test_ports_keep_their_numbers_when_guests_come_and_go() -> None:
    both = parse_guests(GOOD.encode())
    numbers = number_ports(both)
    assert numbers == {"vnet0": 1, "vnet1": 2}
    only_db = GuestInventory(both.segments, both.guests[1:])
    assert number_ports(only_db, numbers) == {"vnet1": 2}
    assert number_ports(both, {"vnet1": 2, "gone": 1}) == {"vnet0": 3, "vnet1": 2}
