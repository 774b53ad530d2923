"""Who is led and who is not where a guest is on two segments, or one guest of many cannot be moved."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.model.faults import SystemFault
from host_helper.config import Config, HostConfig, HostSegment
from host_helper.helper import Helper
from host_helper.model import HostGuest, HostVnic
from host_helper.state import Protected
from host_helper.static_source import StaticSource

SHOP, MAIL = "52:54:00:00:00:01", "52:54:00:00:00:02"
DIRECT, LED = HostVnic(SHOP, "bridge", "br0", "vnet0"), HostVnic(MAIL, "bridge", "br1", "vnet1")


@pytest.fixture
def done(tmp_path: Path) -> tuple[Helper, list[tuple[str, tuple[str, ...]]]]:
    """A helper whose segment br0 is connected past its appliance, and what its topology is asked to do."""
    asked: list[tuple[str, tuple[str, ...]]] = []

    def release(guest: HostGuest, vnic: HostVnic, home: str, *, persistent: bool) -> None:
        asked.append(("release", (vnic.mac,)))
        raise SystemFault("libvirt: busy")

    def note(what: str) -> Any:
        return lambda guest: asked.append((what, tuple(vnic.mac for vnic in guest.vnics)))

    config = HostConfig(guests_file="guests.yaml", segments=(HostSegment(name="vms", bridge="br0"),))
    source = StaticSource(tmp_path / "guests.yaml")
    helper = Helper(Config(state_dir=str(tmp_path / "state"), host=config), source)
    helper._topology = SimpleNamespace(
        starting=note("starting"), passing_by=note("passing by"), release=release
    )
    helper._admission = SimpleNamespace(admit=lambda vnics: None, admit_known=lambda guest: None)
    helper._direct = {"br0"}
    return helper, asked


def test_a_guest_on_two_segments_starts_led_on_the_one_whose_appliance_is_up(
    done: tuple[Helper, list[tuple[str, tuple[str, ...]]]],
) -> None:
    helper, asked = done
    guest = HostGuest("u-1", "web", True, (DIRECT, LED))
    helper._state.protected["u-1"] = Protected(home={SHOP: "br0", MAIL: "br1"})
    asyncio.run(helper.starting(guest))
    assert asked == [("passing by", (SHOP,)), ("starting", (MAIL,))]


def test_a_guest_that_cannot_be_connected_past_leaves_no_other_behind(
    done: tuple[Helper, list[tuple[str, tuple[str, ...]]]],
) -> None:
    helper, asked = done
    guests = [
        HostGuest("u-1", "web", True, (DIRECT,)),
        HostGuest("u-2", "mail", True, (HostVnic(MAIL, "bridge", "br0", "vnet1"),)),
    ]
    for guest in guests:
        helper._state.protected[guest.uuid] = Protected(home={guest.vnics[0].mac: "br0"})
    helper._connect_past(helper._topology, "br0", guests)
    assert asked == [("release", (SHOP,)), ("release", (MAIL,))]
