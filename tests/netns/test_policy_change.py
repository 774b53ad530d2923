"""What a change of the policy leaves alone while it happens."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace

import msgspec
import pytest

from appliance import lab, steering
from appliance.hypervisor import read_links
from appliance.model.faults import SystemFault
from appliance.model.needs import Directions, Ends, Needs, Roles
from appliance.model.policy import AddressPair, Guard, PolicyDocument
from appliance.netns import command_in
from tests.netns.kit import BACKEND, Bench, policy

RANGES = Roles(server=Ends(own=((80, 80), (8000, 8100)), peer=((1024, 65535),)))
NEEDS = {"web": Needs(tcp=Directions(RANGES, RANGES), udp=Directions(RANGES, Roles()))}
GUARD = Guard(
    mode="enforce",
    allowed=(AddressPair(lab.WEB.mac, "10.99.7.0/24"), AddressPair(lab.WEB.mac, "fd00:7::/64")),
)
CHANGES = 25
FLOOD = f"""
import socket
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    out.sendto(b"x", ("{lab.CLIENT.ipv4}", 9))
"""


def next_load(
    bench: Bench, document: PolicyDocument, needs: Mapping[str, Needs] = NEEDS
) -> tuple[steering.Ruleset, frozenset[str]]:
    """Return what loading the policy would do, and the names of the sets with intervals that there are."""
    links = read_links(bench.inventory, bench.netns)
    backend = steering.choose_backend(bench.netns, BACKEND).backend
    state = steering.read_state(bench.netns)
    ruleset = steering.render(
        document, bench.inventory, links, state, steering.Queues(), needs, backend=backend
    )
    intervals = frozenset(name for table in state.tables.values() for name in table.intervals)
    assert intervals, "nothing to look at"
    return ruleset, intervals


def touched(batch: str) -> set[str]:
    """Return the names of the sets that a batch fills or empties."""
    commands = json.loads(batch)["nftables"] if batch else []
    bodies = [
        body.get("set") if kind == "flush" else body.get("element")
        for command in commands
        for kind, body in command.items()
        if kind in ("flush", "delete", "add")
    ]
    return {body["name"] for body in bodies if body}


def test_sets_with_intervals_that_hold_what_they_should_stay(bench: Bench) -> None:
    document = policy(guard=GUARD)
    bench.apply(document, needs=NEEDS)
    ruleset, intervals = next_load(bench, document)
    assert ruleset.fill == ""
    assert not touched(ruleset.nft) & intervals
    narrower = policy(guard=replace(GUARD, allowed=GUARD.allowed[:1]))
    ruleset, _ = next_load(bench, narrower)
    assert touched(ruleset.fill) == {"ipv6_pairs_1"}
    bench.apply(narrower, needs=NEEDS)
    ruleset, after = next_load(bench, narrower)
    assert ruleset.fill == ""
    assert after == intervals - {"ipv6_pairs"} | {"ipv6_pairs_1"}


def test_no_frame_of_an_honest_guest_is_taken_for_spoofed_meanwhile(bench: Bench) -> None:
    document = policy(inspected=False, guard=GUARD)
    bench.apply(document, needs=NEEDS)
    flood = subprocess.Popen(command_in(bench.guest(lab.WEB), [sys.executable, "-c", FLOOD]))
    try:
        for generation in range(CHANGES):
            bench.apply(document, needs=NEEDS, generation=generation)
        assert flood.poll() is None
    finally:
        flood.kill()
        flood.wait()
    counters = bench.counters()
    assert counters.total.packets > 1000
    assert {kind: seen.packets for kind, seen in counters.violations.items() if seen.packets} == {}


def test_no_set_with_intervals_that_is_asked_changes_and_none_is_left_behind(bench: Bench) -> None:
    bench.apply(policy(guard=GUARD), needs=NEEDS)
    _, before = next_load(bench, policy(guard=GUARD))
    for ports in (((80, 80), (8000, 8100)), ((8000, 8100),), ((81, 81),), (), ((1, 65535),)):
        needs = looking_at(ports)
        ruleset, intervals = next_load(bench, policy(guard=GUARD), needs)
        assert not touched(ruleset.nft) & intervals
        assert touched(ruleset.fill).isdisjoint(intervals)
        bench.apply(policy(guard=GUARD), needs=needs)
        ruleset, after = next_load(bench, policy(guard=GUARD), needs)
        assert ruleset.fill == ""
        assert len(after) == len(before)


def test_what_was_filled_ahead_is_taken_back_when_the_change_is_refused(bench: Bench) -> None:
    bench.apply(policy(guard=GUARD), needs=NEEDS)
    ruleset, before = next_load(bench, policy(guard=GUARD), looking_at(((81, 81),)))
    assert ruleset.fill
    with pytest.raises(SystemFault):
        steering.load(
            msgspec.structs.replace(ruleset, nft='{"nftables": [{"add": {"rule": {}}}]}'), bench.netns
        )
    assert next_load(bench, policy(guard=GUARD))[1] == before


def looking_at(ports: tuple[tuple[int, int], ...]) -> dict[str, Needs]:
    roles = Roles(server=Ends(own=ports, peer=ports))
    return {"web": Needs(tcp=Directions(roles, roles), udp=Directions(roles, Roles()))}


def test_what_is_looked_at_before_and_after_a_change_is_looked_at_meanwhile(bench: Bench) -> None:
    """The flood goes to a port that all of them look at; nobody listens to the queues."""
    every = [((1, 65535),), ((9, 9),), ((5, 9), (80, 80)), ((9, 20),)]
    bench.apply(policy(), needs=looking_at(every[0]))
    flood = subprocess.Popen(command_in(bench.guest(lab.WEB), [sys.executable, "-c", FLOOD]))
    try:
        for generation in range(CHANGES):
            needs = looking_at(every[generation % len(every)])
            bench.apply(policy(), needs=needs, generation=generation)
        assert flood.poll() is None
    finally:
        flood.kill()
        flood.wait()
    uninspected = bench.counters().uninspected
    assert uninspected["inspector-down"].packets > 1000
    assert uninspected["steered"].packets == 0
