"""Rulesets are values: the same policy gives the same text, down to the byte.

The expected text is in `expected/`, a command a line. `UPDATE_EXPECTED=1 pytest …` writes it anew; what
changed is then read in the diff.
"""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from appliance.firewall.nft import KernelState, TableState, removal
from appliance.model.guest import FailurePolicy, Guest, GuestInventory, Segment, Vnic
from appliance.model.links import BridgeLink, Links, Port
from appliance.model.needs import Directions, Ends, Needs, Roles
from appliance.model.policy import (
    AddressPair,
    Assignment,
    Firewall,
    FirewallRule,
    Guard,
    GuestPolicy,
    Mode,
    Override,
    PolicyDocument,
)
from appliance.steering import Backend, Queues, Ruleset, render
from appliance.steering.chains import is_inspected
from appliance.steering.queues import queue_removal

EXPECTED = Path(__file__).parent / "expected"

WEB = Guest("web", "lab", (Vnic("eth0", "web0", "02:5e:99:00:00:10", ("10.99.0.10", "fd99::10")),))
CLIENT = Guest("client", "lab", (Vnic("eth0", "client0", "02:5e:99:00:00:20", ("10.99.0.20",)),))
INVENTORY = GuestInventory((Segment("lab", "br0", zone=7),), (WEB, CLIENT))
LINKS = Links(
    (BridgeLink("br0", 2, "02:00:00:00:00:01", ("client0", "uplink0", "web0")),),
    (Port("web0", 1, "web", "lab", 3, 1500), Port("client0", 2, "client", "lab", 4, 1500)),
)
PREVENT = (Assignment("shipped", Mode.PREVENT),)
SOME = Needs(
    tcp=Directions(
        to_server=Roles(server=Ends(own=((80, 80), (8000, 8080))), client=Ends(peer=((25, 25),))),
        to_client=Roles(client=Ends(peer=((25, 26),))),
    ),
    udp=Directions(to_server=Roles(server=Ends(own=((53, 53),)))),
)


def rendered(policy: PolicyDocument, **more: object) -> Ruleset:
    return render(policy, INVENTORY, LINKS, KernelState(), **more)  # type: ignore[arg-type]


CASES = {
    "nothing-assigned": rendered(PolicyDocument(1)),
    "one-protected": rendered(PolicyDocument(1, guests={"web": GuestPolicy(assignments=PREVENT)})),
    "looked-at": rendered(
        PolicyDocument(1, guests={"web": GuestPolicy(assignments=PREVENT)}),
        needs={"web": SOME, "client": SOME},
        generation=515,
    ),
    "three-workers": rendered(
        PolicyDocument(1, defaults=GuestPolicy(assignments=PREVENT)), queues=Queues(first=40, workers=3)
    ),
    "firewall": rendered(
        PolicyDocument(
            1,
            guests={
                "web": GuestPolicy(
                    firewall=Firewall(
                        rules=(
                            FirewallRule("allow", "in", 20, "tcp", "guest:client", "80,443", "site"),
                            FirewallRule("deny", "in", 10, "any", "10.99.0.0/24", "1-1023,500-2000"),
                            FirewallRule("log", "in", 5, "icmp"),
                            FirewallRule("bypass", "out", 5, "udp", "fd99::5", "4789"),
                        ),
                        default_in="deny",
                    )
                )
            },
        )
    ),
    "nft-bridge": rendered(
        PolicyDocument(1, guests={"web": GuestPolicy(assignments=PREVENT)}),
        queues=Queues(first=40, workers=2),
        backend=Backend.NFT_BRIDGE,
    ),
    "guard": rendered(
        PolicyDocument(
            1,
            guests={
                "web": GuestPolicy(
                    guard=Guard(
                        "enforce",
                        (
                            AddressPair("00:00:5e:00:01:05", "10.99.0.1"),
                            AddressPair(WEB.vnics[0].mac, "::/0"),
                        ),
                        frames="pass",
                    )
                ),
                "client": GuestPolicy(guard=Guard("off")),
            },
        )
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_renders_as_expected(case: str) -> None:
    ruleset = CASES[case]
    assert ruleset.iptables == ruleset.ip6tables
    commands = "\n".join(json.dumps(command) for command in json.loads(ruleset.nft)["nftables"])
    text = f"{commands}\n\n{ruleset.iptables}"
    path = EXPECTED / f"{case}.txt"
    if os.environ.get("UPDATE_EXPECTED"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_renders_the_same_text_twice() -> None:
    policy = PolicyDocument(1, defaults=GuestPolicy(assignments=PREVENT))
    assert rendered(policy) == rendered(policy)


def test_removes_what_a_policy_no_longer_names() -> None:
    state = KernelState(
        {
            "inet": TableState(
                frozenset({"firewall", "in_gone"}),
                frozenset({"old_set"}),
                frozenset({"old"}),
                frozenset({"c"}),
            )
        },
        jumps=(1, 1),
    )
    commands = json.loads(render(PolicyDocument(1), INVENTORY, LINKS, state).nft)["nftables"]
    where = {"family": "inet", "table": "sekisho"}
    deleted = [command["delete"] for command in commands if "delete" in command]
    assert deleted == [
        {"map": {**where, "name": "old"}},
        {"set": {**where, "name": "old_set"}},
        {"chain": {**where, "name": "in_gone"}},
        {"counter": {**where, "name": "c"}},
    ]


def test_keeps_timed_elements_across_a_change() -> None:
    state = KernelState({"bridge": TableState(sets=frozenset({"bypassed", "seen_ipv4", "seen_ipv6"}))})
    commands = json.loads(render(PolicyDocument(1), INVENTORY, LINKS, state).nft)["nftables"]
    named = [body["name"] for command in commands for kind in command.values() for body in kind.values()
             if isinstance(body, dict) and "set" in kind]  # fmt: skip
    assert not {"bypassed", "seen_ipv4", "seen_ipv6"} & set(named)


@pytest.mark.parametrize(
    ("jumps", "lines"), [(0, ["-I FORWARD 1 -j SEKISHO"]), (1, []), (3, ["-D FORWARD -j SEKISHO"] * 2)]
)
def test_has_one_jump_whatever_was_there(jumps: int, lines: list[str]) -> None:
    ruleset = render(PolicyDocument(1), INVENTORY, LINKS, KernelState(jumps=(jumps, jumps)))
    assert [line for line in ruleset.iptables.splitlines() if " FORWARD " in line] == lines


def test_fails_closed_without_queue_bypass() -> None:
    closed = Segment("lab", "br0", failure=FailurePolicy(inspector_down="closed"))
    inventory = GuestInventory((closed,), (WEB, CLIENT))
    assert "--queue-bypass" not in render(PolicyDocument(1), inventory, LINKS, KernelState()).iptables
    assert "--queue-bypass" in CASES["one-protected"].iptables


def test_nft_bridge_fails_closed_without_bypass() -> None:
    closed = Segment("lab", "br0", failure=FailurePolicy(inspector_down="closed"))
    inventory = GuestInventory((closed,), (WEB, CLIENT))
    ruleset = render(PolicyDocument(1), inventory, LINKS, KernelState(), backend=Backend.NFT_BRIDGE)
    assert '"queue"' in ruleset.nft
    assert '"flags": "bypass"' not in ruleset.nft
    assert '"flags": "bypass"' in CASES["nft-bridge"].nft


def test_a_packet_passes_no_more_rules_where_there_are_more_segments() -> None:
    def rules(segments: int) -> Counter[str]:
        numbers = range(1, segments + 1)
        inventory = GuestInventory(
            tuple(Segment(f"lab{each}", f"br{each}", zone=each) for each in numbers), ()
        )
        links = Links(
            tuple(BridgeLink(f"br{each}", each, f"02:00:00:00:01:{each:02x}", ()) for each in numbers), ()
        )
        ruleset = render(PolicyDocument(1), inventory, links, KernelState(), backend=Backend.NFT_BRIDGE)
        commands = json.loads(ruleset.nft)["nftables"]
        return Counter(each["add"]["rule"]["chain"] for each in commands if "rule" in each.get("add", {}))

    assert rules(1) == rules(100)
    assert rules(1)["zones"]


def test_a_change_of_the_back_end_takes_the_other_ones_rules_away() -> None:
    state = KernelState({"bridge": TableState(), "inet": TableState()}, jumps=(1, 1))
    ruleset = render(PolicyDocument(1), INVENTORY, LINKS, state, backend=Backend.NFT_BRIDGE)
    commands = json.loads(ruleset.nft)["nftables"]
    assert {"delete": {"table": {"family": "inet", "name": "sekisho"}}} in commands
    assert ruleset.iptables == queue_removal(1)
    state = KernelState({"bridge": TableState(chains=frozenset({"guard", "queues"}))})
    commands = json.loads(render(PolicyDocument(1), INVENTORY, LINKS, state).nft)["nftables"]
    assert {"delete": {"chain": {"family": "bridge", "table": "sekisho", "name": "queues"}}} in commands


def test_removal_names_everything() -> None:
    state = KernelState({"inet": TableState(), "bridge": TableState()}, (2, 2))
    deleted = json.loads(removal(state))["nftables"][1:]
    assert deleted == [{"delete": {"table": {"family": f, "name": "sekisho"}}} for f in ("inet", "bridge")]
    jumps = ["-D FORWARD -j SEKISHO"] * 2
    assert queue_removal(2).splitlines() == ["*mangle", ":SEKISHO - [0:0]", *jumps, "-X SEKISHO", "COMMIT"]


@pytest.mark.parametrize(
    ("inspected", "policy"),
    [
        (False, GuestPolicy()),
        (False, GuestPolicy(assignments=(Assignment("a", Mode.OFF),))),
        (False, GuestPolicy(overrides=(Override(1, Mode.OFF),))),
        (True, GuestPolicy(assignments=(Assignment("a", Mode.OFF), Assignment("b", Mode.DETECT)))),
        (True, GuestPolicy(overrides=(Override(1, Mode.PREVENT),))),
    ],
)
def test_only_guests_with_signatures_are_inspected(inspected: bool, policy: GuestPolicy) -> None:
    assert is_inspected(policy) is inspected
