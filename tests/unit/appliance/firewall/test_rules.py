"""Firewall rules that cannot be are refused by guest and rule; names stay within nftables' bounds."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.firewall.names import slug
from appliance.firewall.rules import counter_name, firewall_chains
from appliance.model.faults import PolicyError
from appliance.model.guest import Guest, GuestInventory, Segment, Vnic
from appliance.model.links import Links, Port
from appliance.model.policy import Firewall, FirewallRule, GuestPolicy, PolicyDocument

INVENTORY = GuestInventory(
    (Segment("s", "br0"),), (Guest("web", "s", (Vnic("eth0", "web0", "02:00:00:00:00:01"),)),)
)
LINKS = Links((), (Port("web0", 1, "web", "s"),))


def compiled(rule: FirewallRule) -> int:
    policy = PolicyDocument(1, guests={"web": GuestPolicy(firewall=Firewall((rule,)))})
    return sum(len(chain.rules) for chain in firewall_chains(policy, INVENTORY, LINKS))


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (FirewallRule("allow", "in", peer="guest:db"), "there is no guest 'db'"),
        (FirewallRule("allow", "in", peer="10.0.0.300"), "10.0.0.300"),
        (FirewallRule("allow", "in", peer=""), "''"),
        (FirewallRule("allow", "in", ports="80;443"), "80;443"),
        (FirewallRule("allow", "in", ports="70000"), "not between 0 and 65535"),
        (FirewallRule("allow", "in", ports="90-80"), "rising order"),
        (FirewallRule("allow", "in", protocol="icmp", ports="80"), "icmp has no ports"),
        (FirewallRule("allow", "in", ports=",".join(["1"] * 100)), "at most 64"),
    ],
)
def test_refuses_by_guest_and_rule(rule: FirewallRule, says: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(says)) as refusal:
        compiled(rule)
    assert "guest 'web': firewall rule 0" in str(refusal.value)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_a_rule_or_a_refusal(peer: str, ports: str) -> None:
    rule = FirewallRule("allow", "in", peer=peer, ports=ports)
    with contextlib.suppress(PolicyError):
        assert compiled(rule) == 1


@given(st.text(min_size=1, max_size=100))
def test_names_are_ones_nftables_takes(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", slug(name))


@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60))
def test_different_names_stay_different(one: str, other: str) -> None:
    assert (slug(one) == slug(other)) == (one == other)


def test_a_rule_keeps_its_counter_and_a_changed_one_gets_another() -> None:
    rule = FirewallRule("allow", "in", ports="80")
    assert counter_name("web", rule) == counter_name("web", FirewallRule("allow", "in", ports="80"))
    assert counter_name("web", rule) != counter_name("web", FirewallRule("allow", "in", ports="81"))
