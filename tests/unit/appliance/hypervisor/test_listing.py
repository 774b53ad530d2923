"""What a host helper may say, and which of it an appliance believes."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.hypervisor.inventory import with_listed
from appliance.hypervisor.links import Place
from appliance.hypervisor.listing import Listing, keep, read_answer, read_kept, settled
from appliance.model.faults import PolicyError
from appliance.model.guest import Guest, GuestInventory, Segment, Unplaced, Vnic

SHOP, OFFICE = Segment("shop", "br-shop"), Segment("office", "br-office", 2)
WRITTEN = GuestInventory((SHOP, OFFICE), ())
PORT, OTHER_PORT = "52:54:00:00:0b:01", "52:54:00:00:0b:02"
PLACES = {PORT: Place("eth1", "br-shop"), OTHER_PORT: Place("eth2", "br-shop")}
UUIDS = [f"0000000{n}-1111-4222-8333-123456789abc" for n in range(1, 5)]
MACS = [f"02:00:00:00:0a:0{n}" for n in range(1, 5)]


def vnic(number: int = 0, port: str | None = PORT, **more: Any) -> dict[str, Any]:
    return {"mac": MACS[number], "port": port, "tap": "vnet0", "led_through": True, **more}


def guest(number: int = 0, name: str = "web", *vnics: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "uuid": UUIDS[number],
        "name": "x",
        "known_as": name,
        "protected": True,
        "vnics": list(vnics) or [vnic(number)],
        **more,
    }


def answer(*guests: dict[str, Any]) -> bytes:
    return json.dumps({"ok": True, "report": {"host_uuid": "", "guests": guests}}).encode()


def listed(*guests: dict[str, Any], places: Any = PLACES, former: Listing | None = None) -> Listing:
    return settled(read_answer(answer(*guests)), {"br-shop": "shop", "br-office": "office"}, places, former)


def joined(
    *guests: dict[str, Any], places: Any = PLACES, written: GuestInventory = WRITTEN
) -> GuestInventory:
    return with_listed(written, listed(*guests, places=places), places)


def test_a_guest_is_behind_the_card_whose_mac_the_helper_names() -> None:
    inventory = joined(guest(0, "web", vnic(0, OTHER_PORT, addresses=["10.0.0.1"])))
    assert inventory.guests == (Guest("web", "shop", (Vnic("net0", "eth2", MACS[0]),)),)
    assert inventory.guests[0].vnics[0].announced == ("10.0.0.1",)


def test_an_address_that_a_guest_announces_is_neither_its_own_nor_a_change() -> None:
    with_address, without = (joined(guest(0, "web", vnic(addresses=a))) for a in (["10.0.0.1"], []))
    assert with_address.guests[0].vnics[0].addresses == ()
    assert with_address == without


def test_only_protected_guests_are_kept() -> None:
    assert listed(guest(0, "web", protected=False), guest(1, "db")).guests == listed(guest(1, "db")).guests


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"ok": true}',
        b'{"ok": true, "report": {"guests": null}}',
        answer(guest(0, "web", vnic(0, "52:54:00:00:0B:01"))),
        answer(guest(0, "web", vnic(0, f"{PORT}\n"))),
        answer(guest(0, "web", vnic(0, vlan=4095))),
        answer(guest(0, "web", vnic(addresses=["10.0.0.1"] * 65))),
        answer(guest(0, "web", *[vnic()] * 65)),
        answer(guest(0, "web", uuid="../../etc")),
        answer(guest(0, "w" * 2000)),
    ],
)
def test_what_is_no_list_of_guests_is_refused(line: bytes) -> None:
    with pytest.raises(PolicyError):
        read_answer(line)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_arrives_is_a_list_or_refused(line: bytes) -> None:
    with contextlib.suppress(PolicyError):
        read_answer(line)


def test_every_cut_of_a_good_answer_is_refused() -> None:
    whole = answer(guest())
    for length in range(len(whole)):
        with pytest.raises(PolicyError):
            read_answer(whole[:length])


def test_a_refusal_is_told_without_its_control_characters() -> None:
    with pytest.raises(PolicyError, match=r"it refuses: no\?\[2J"):
        read_answer(json.dumps({"ok": False, "error": "no\x1b[2J"}).encode())


def test_a_name_that_policies_cannot_have_is_replaced_by_the_uuid() -> None:
    assert [g.name for g in joined(guest(0, 'x"; drop')).guests] == [UUIDS[0]]


def test_a_second_guest_of_a_name_has_another_one() -> None:
    names = [g.name for g in joined(guest(0, "web"), guest(1, "web", vnic(1, OTHER_PORT))).guests]
    assert names == ["web", f"web@{UUIDS[1]}"]


def test_of_two_guests_at_one_port_the_second_is_left_out_and_named() -> None:
    inventory = joined(guest(0, "web"), guest(1, "db", vnic(1, PORT)))
    assert [g.name for g in inventory.guests] == ["web"]
    why = f"guest 'db': vNIC {MACS[1]} is not protected: its port eth1 is another's already"
    assert inventory.unplaced == (Unplaced(UUIDS[1], True, why),)


def test_what_guests_yaml_says_of_a_port_wins() -> None:
    by_hand = Guest("mine", "shop", (Vnic("eth0", "eth1", MACS[3]),))
    inventory = joined(guest(0, "web"), written=GuestInventory((SHOP,), (by_hand,)))
    assert inventory.guests == (by_hand,)
    assert "another's already" in inventory.unplaced[0].why


def test_a_guest_without_a_port_here_is_named() -> None:
    inventory = joined(guest(0, "web", vnic(0, None)), guest(1, "db", vnic(1, "52:54:00:00:0b:09")))
    assert inventory.guests == ()
    assert "leads it to no port" in inventory.unplaced[0].why
    assert "is on no segment's bridge" in inventory.unplaced[1].why
    assert [each.led_here for each in inventory.unplaced] == [False, True]


def test_a_guest_on_two_segments_is_protected_on_both() -> None:
    places = {**PLACES, OTHER_PORT: Place("eth2", "br-office")}
    inventory = joined(guest(0, "web", vnic(0), vnic(1, OTHER_PORT)), places=places)
    assert [(g.name, g.segment) for g in inventory.guests] == [("web", "shop"), ("web@office", "office")]


def test_guests_of_one_card_are_told_apart_by_their_vlan() -> None:
    trunk = GuestInventory((Segment("shop", "br-shop", trunk=PORT),), ())
    two = guest(0, "web", vnic(0, vlan=102)), guest(1, "db", vnic(1, vlan=101))
    for places, card in (({PORT: Place("eth1", None)}, "eth1"), (dict[str, Place](), "no-525400")):
        inventory = joined(*two, places=places, written=trunk)
        assert [(g.segment, g.vnics[0].tap) for g in inventory.guests] == [
            ("shop", f"{card}.102"),
            ("shop", f"{card}.101"),
        ]
    assert "no segment's trunk" in joined(*two).unplaced[0].why


def test_a_segment_is_remembered_while_its_bridge_is_not_there_yet() -> None:
    former = listed(guest())
    for places, tap in ((dict[Any, Any](), "no-525400000b01"), ({PORT: Place("eth1", None)}, "eth1")):
        now = with_listed(WRITTEN, listed(guest(), places=places, former=former), places)
        assert [(g.segment, g.vnics[0].tap) for g in now.guests] == [("shop", tap)]


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "helper.json"
    assert read_kept(path) is None
    keep(path, listed(guest()))
    assert read_kept(path) == listed(guest())
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("{")
    with pytest.raises(PolicyError, match="move it away"):
        read_kept(path)
