"""What a change of the policy leaves alone while it happens."""

import json
import subprocess
import sys
from collections.abc import Container, Mapping
from dataclasses import replace

from appliance import lab, steering
from appliance.hypervisor import read_links
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


def changes_of_elements(
    bench: Bench,
    document: PolicyDocument,
    needs: Mapping[str, Needs] = NEEDS,
    kinds: Container[str] = ("flush", "delete", "add"),
) -> list[str]:
    """Return the names of the sets with intervals that the next load of the policy touches in these ways."""
    links = read_links(bench.inventory, bench.netns)
    backend = steering.choose_backend(bench.netns, BACKEND).backend
    state = steering.read_state(bench.netns)
    ruleset = steering.render(
        document, bench.inventory, links, state, steering.Queues(), needs, backend=backend
    )
    intervals = {name for table in state.tables.values() for name in table.intervals}
    bodies = [
        (body.get("set") or {}).get("name") if kind == "flush" else (body.get("element") or {}).get("name")
        for command in json.loads(ruleset.nft)["nftables"]
        for kind, body in command.items()
        if kind in kinds
    ]
    assert intervals, "nothing to look at"
    return sorted(intervals & {name for name in bodies if name})


def test_sets_with_intervals_that_hold_what_they_should_are_not_touched(bench: Bench) -> None:
    document = policy(guard=GUARD)
    bench.apply(document, needs=NEEDS)
    assert changes_of_elements(bench, document) == []
    narrower = policy(guard=replace(GUARD, allowed=GUARD.allowed[:1]))
    assert changes_of_elements(bench, narrower) == ["ipv6_pairs"]
    bench.apply(narrower, needs=NEEDS)
    assert changes_of_elements(bench, narrower) == []


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


def test_what_holds_no_range_can_be_taken_away_again_and_nothing_else_is_touched(bench: Bench) -> None:
    """A set that is emptied and filled again finds nothing for a moment, before Linux 6.18."""
    bench.apply(policy(guard=GUARD), needs=NEEDS)
    for ports in (((80, 80), (8000, 8100)), ((8000, 8100),), ((81, 81),), ()):
        roles = Roles(server=Ends(own=ports))
        needs = {"web": Needs(tcp=Directions(roles, roles), udp=Directions(roles, Roles()))}
        assert changes_of_elements(bench, policy(guard=GUARD), needs, ("flush",)) == []
        bench.apply(policy(guard=GUARD), needs=needs)
        assert changes_of_elements(bench, policy(guard=GUARD), needs) == []
