"""Bridges that control makes: their cards join while down, and frames pass only once they are opened."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Literal

import msgspec
import pytest

from appliance import rtnetlink, steering
from appliance.control.network import Network
from appliance.hypervisor import bridges, read_links
from appliance.model.guest import FailurePolicy, Guest, GuestInventory, Segment, Vnic
from appliance.netns import run_in
from tests.host_helper_fixture import KNOCK

PREFIX = f"skt-ob-{os.getpid()}"
APPLIANCE, LEFT, RIGHT = (f"{PREFIX}-{name}" for name in ("appliance", "left", "right"))
MACS = {LEFT: "02:00:00:00:0c:01", RIGHT: "02:00:00:00:0c:02"}
CARDS = {LEFT: "eth1", RIGHT: "eth2"}
ADDRESSES = {LEFT: "10.86.0.1", RIGHT: "10.86.0.2"}
INVENTORY = GuestInventory(
    (Segment("shop", "br-shop", nics=tuple(MACS.values())),),
    (Guest("web", "shop", (Vnic("eth0", CARDS[RIGHT], "02:00:00:00:0d:02"),)),),
)


@pytest.fixture
def wires() -> Iterator[None]:
    """Two namespaces, each with a wire to a card of the appliance's."""
    try:
        for netns in (APPLIANCE, LEFT, RIGHT):
            run_in(None, ["ip", "netns", "add", netns])
        for netns, card in CARDS.items():
            there = ["name", "eth0", "netns", netns]
            run_in(
                APPLIANCE, ["ip", "link", "add", card, "address", MACS[netns], "type", "veth", "peer", *there]
            )
            run_in(netns, ["ip", "address", "add", f"{ADDRESSES[netns]}/24", "dev", "eth0"])
            run_in(netns, ["ip", "link", "set", "eth0", "up"])
        yield
    finally:
        for netns in (APPLIANCE, LEFT, RIGHT):
            subprocess.run(["ip", "netns", "delete", netns], check=False)


def reaches() -> bool:
    return run_in(LEFT, [sys.executable, "-c", KNOCK, ADDRESSES[RIGHT]]) == "refused\n"


def test_nothing_passes_before_the_bridge_is_opened(wires: None) -> None:
    for card in CARDS.values():  # as somebody else may have left it
        run_in(APPLIANCE, ["ip", "link", "set", card, "up"])
    bridges.make(INVENTORY, APPLIANCE)
    assert not reaches()
    bridges.open_up(INVENTORY, APPLIANCE)
    assert reaches()


def test_opening_changes_nothing_that_rules_go_by(wires: None) -> None:
    bridges.make(INVENTORY, APPLIANCE)
    made = read_links(INVENTORY, APPLIANCE)
    bridges.open_up(INVENTORY, APPLIANCE)
    assert read_links(INVENTORY, APPLIANCE) == made
    assert not made.missing
    (bridge,) = made.bridges
    assert (bridge.mac, bridge.members) == (MACS[LEFT], tuple(CARDS.values()))


def test_a_card_that_comes_later_joins_and_the_others_go_on(wires: None) -> None:
    run_in(APPLIANCE, ["ip", "link", "set", CARDS[RIGHT], "address", "02:00:00:00:0c:ff"])
    bridges.make(INVENTORY, APPLIANCE)
    bridges.open_up(INVENTORY, APPLIANCE)
    assert not reaches()
    run_in(APPLIANCE, ["ip", "link", "set", CARDS[RIGHT], "address", MACS[RIGHT]])
    bridges.make(INVENTORY, APPLIANCE)
    assert "state UP" in run_in(APPLIANCE, ["ip", "-o", "link", "show", CARDS[LEFT]])
    bridges.open_up(INVENTORY, APPLIANCE)
    assert reaches()


@pytest.mark.parametrize(("inspector_down", "passes"), [("open", True), ("closed", False)])
def test_without_rules_the_failure_policy_says_whether_it_is_opened(
    wires: None, inspector_down: Literal["open", "closed"], passes: bool
) -> None:
    failure = FailurePolicy(inspector_down=inspector_down)
    segments = (msgspec.structs.replace(INVENTORY.segments[0], failure=failure),)
    choice = steering.choose_backend(APPLIANCE, None)
    network = Network(APPLIANCE, steering.Queues(), choice)
    network.let_pass(msgspec.structs.replace(INVENTORY, segments=segments))
    assert reaches() is passes


def test_bridges_of_others_are_left_alone(wires: None) -> None:
    run_in(APPLIANCE, ["ip", "link", "add", "br-shop", "type", "bridge"])
    others = GuestInventory((Segment("shop", "br-shop"),), ())
    bridges.make(others, APPLIANCE)
    bridges.open_up(others, APPLIANCE)
    (bridge,) = (each for each in rtnetlink.interfaces(APPLIANCE) if each.name == "br-shop")
    assert "state DOWN" in run_in(APPLIANCE, ["ip", "-o", "link", "show", "br-shop"])
    assert all(each.master != bridge.ifindex for each in rtnetlink.interfaces(APPLIANCE))
