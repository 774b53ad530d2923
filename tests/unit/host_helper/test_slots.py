"""Which vNIC a slot is left to."""

from pathlib import Path

import pytest

from appliance.model.faults import SystemFault
from host_helper.model import HostGuest, HostVnic
from host_helper.slots import Choice, Slots
from host_helper.state import Protected, State

CHOICE = Choice(("pair1",), ("pair1",), "none is free")


def guest(uuid: str, *macs: str) -> HostGuest:
    return HostGuest(uuid, uuid, True, tuple(HostVnic(mac, "bridge", "br0", None) for mac in macs))


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state.json")


def test_two_vnics_of_a_guest_do_not_share_one(state: State) -> None:
    slots, web = Slots(state), guest("web", "m1", "m2")
    assert slots.claim(web, web.vnics[0], CHOICE) == "pair1"
    with pytest.raises(SystemFault, match="none is free"):
        slots.claim(web, web.vnics[1], CHOICE)


def test_that_of_a_vnic_that_its_guest_has_no_more_is_free(state: State) -> None:
    slots, web, db = Slots(state), guest("web", "m1"), guest("db", "m2")
    slots.claim(web, web.vnics[0], CHOICE)
    state.protected["web"] = Protected(home={"m1": "br0"})
    with pytest.raises(SystemFault):
        slots.claim(db, db.vnics[0], CHOICE)
    del state.protected["web"].home["m1"]
    assert slots.claim(db, db.vnics[0], CHOICE) == "pair1"
    assert slots.of(web, web.vnics[0]) is None


def test_that_of_a_protected_guest_that_the_host_has_no_more_is_left_to_who_needs_it(state: State) -> None:
    slots, web, db = Slots(state), guest("web", "m1"), guest("db", "m2")
    slots.claim(web, web.vnics[0], CHOICE)
    state.protected["web"] = Protected(home={"m1": "br0"})
    slots.note([web, db])
    with pytest.raises(SystemFault):
        slots.claim(db, db.vnics[0], CHOICE)
    slots.note([db])
    assert slots.claim(db, db.vnics[0], Choice(("pair1", "pair2"), ("pair1", "pair2"), "")) == "pair2"
    other = guest("other", "m3")
    assert slots.claim(other, other.vnics[0], CHOICE) == "pair1"


def test_one_that_comes_back_before_that_has_it_for_itself_again(state: State) -> None:
    slots, web, db = Slots(state), guest("web", "m1"), guest("db", "m2")
    slots.claim(web, web.vnics[0], CHOICE)
    state.protected["web"] = Protected(home={"m1": "br0"})
    slots.note([db])
    assert slots.claim(web, web.vnics[0], CHOICE) == "pair1"
    with pytest.raises(SystemFault):
        slots.claim(db, db.vnics[0], CHOICE)
