"""The firewall decides on real connections, with no inspector alive."""

import pytest

from appliance import lab, steering
from appliance.lab.wire import Outcome, connect
from appliance.model.policy import AddressPair, Firewall, FirewallRule, Guard, GuestPolicy, PolicyDocument
from appliance.netns import run_in
from tests.netns.kit import Bench, policy

PASSES, STOPS = Outcome.ANSWERED, Outcome.TIMEOUT


def rule_counts(bench: Bench, guest: str = "web") -> dict[str, int]:
    """What each rule of a guest matched, by the rule's name (`in` and `out` for the defaults)."""
    read = steering.read_counters(bench.live, bench.inventory, bench.netns)
    return {
        count.rule.name if count.rule else count.direction: count.matched.packets
        for count in read.rules
        if count.guest == guest
    }


@pytest.mark.parametrize("ip_version", [4, 6])
@pytest.mark.parametrize(
    ("outcome", "firewall"),
    [
        (PASSES, Firewall()),
        (STOPS, Firewall(default_in="deny")),
        (PASSES, Firewall(default_out="deny")),
        (PASSES, Firewall((FirewallRule("allow", "in", ports="8080"),), default_in="deny")),
        (STOPS, Firewall((FirewallRule("allow", "in", ports="80,443"),), default_in="deny")),
        (PASSES, Firewall((FirewallRule("allow", "in", ports="8000-9000"),), default_in="deny")),
        (STOPS, Firewall((FirewallRule("allow", "in", protocol="udp"),), default_in="deny")),
        (PASSES, Firewall((FirewallRule("allow", "in", peer="guest:client"),), default_in="deny")),
        (STOPS, Firewall((FirewallRule("allow", "in", peer="guest:web"),), default_in="deny")),
        (STOPS, Firewall((FirewallRule("deny", "in", protocol="tcp"),))),
        (PASSES, Firewall((FirewallRule("bypass", "in", protocol="tcp"),), default_in="deny")),
        (STOPS, Firewall((FirewallRule("log", "in", protocol="tcp"),), default_in="deny")),
    ],
)
def test_decides_on_new_connections(
    bench: Bench, outcome: Outcome, firewall: Firewall, ip_version: int
) -> None:
    bench.apply(policy(firewall=firewall))
    assert bench.get(ip_version=ip_version, timeout_s=0.4).outcome is outcome


@pytest.mark.parametrize(
    ("outcome", "peer"),
    [(PASSES, "10.99.0.20"), (PASSES, "10.99.0.0/24"), (STOPS, "10.99.0.21"), (STOPS, "fd99::/64")],
)
def test_peers_are_matched_by_address_and_network(bench: Bench, outcome: Outcome, peer: str) -> None:
    bench.apply(policy(firewall=Firewall((FirewallRule("allow", "in", peer=peer),), default_in="deny")))
    assert bench.get(timeout_s=0.4).outcome is outcome


def test_lower_priority_numbers_are_looked_at_first(bench: Bench) -> None:
    deny, allow = FirewallRule("deny", "in", 10), FirewallRule("allow", "in", 20)
    bench.apply(policy(firewall=Firewall((allow, deny))))
    assert bench.get(timeout_s=0.4).outcome is STOPS
    bench.apply(policy(firewall=Firewall((FirewallRule("allow", "in", 5), deny))))
    assert bench.get(timeout_s=0.4).outcome is PASSES


def test_the_senders_own_firewall_stops_it_too(bench: Bench) -> None:
    client = GuestPolicy(firewall=Firewall(default_out="deny"))
    bench.apply(PolicyDocument(1, guests={"client": client}))
    assert bench.get(timeout_s=0.4).outcome is STOPS
    assert rule_counts(bench, "client")["out"] > 0


def test_denied_logged_and_allowed_connections_are_counted_by_rule(bench: Bench) -> None:
    rules = (
        FirewallRule("log", "in", 1, "tcp", name="logged"),
        FirewallRule("allow", "in", 2, "tcp", ports="80", name="allowed"),
        FirewallRule("deny", "in", 3, "udp", name="denied"),
    )
    bench.apply(policy(firewall=Firewall(rules, default_in="deny")))
    assert bench.get(port=80).outcome is PASSES
    assert bench.get(timeout_s=0.4).outcome is STOPS
    counts = rule_counts(bench)
    assert (counts["logged"] >= 2, counts["allowed"], counts["denied"], counts["in"] > 0) == (
        True,
        1,
        0,
        True,
    )


def test_an_established_connection_outlives_a_deny_and_a_new_one_does_not_start(bench: Bench) -> None:
    bench.apply(policy())
    request = b"GET /x HTTP/1.1\r\nHost: web\r\n\r\n"
    with connect(bench.guest(lab.CLIENT), lab.WEB.ipv4, lab.HTTP_PORT, 2.0) as connection:
        connection.sendall(request)
        assert connection.recv(4096)
        bench.apply(policy(firewall=Firewall(default_in="deny")))
        connection.sendall(request)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    assert bench.get(timeout_s=0.4).outcome is STOPS


def test_guests_find_each_other_over_ipv6_when_all_is_denied_but_one_port(bench: Bench) -> None:
    allowed = FirewallRule("allow", "in", protocol="tcp", ports="80")
    bench.apply(policy(firewall=Firewall((allowed,), default_in="deny", default_out="deny")))
    for guest in lab.GUESTS:
        run_in(bench.guest(guest), ["sh", "-c", "ip -6 neigh flush all; ip neigh flush all"])
    assert bench.get(port=80, ip_version=6, timeout_s=3).outcome is PASSES


def test_a_guest_cannot_leave_its_rules_by_changing_its_address(bench: Bench) -> None:
    deny = FirewallRule("deny", "in", peer="guest:client")
    bench.apply(policy(firewall=Firewall((deny,)), guard=Guard("off")))
    client = bench.guest(lab.CLIENT)
    run_in(client, ["ip", "addr", "del", "10.99.0.20/24", "dev", "eth0"])
    run_in(client, ["ip", "addr", "add", "10.99.0.77/24", "dev", "eth0"])
    try:
        assert bench.get(timeout_s=0.4).outcome is STOPS
    finally:
        run_in(client, ["ip", "addr", "del", "10.99.0.77/24", "dev", "eth0"])
        run_in(client, ["ip", "addr", "add", "10.99.0.20/24", "dev", "eth0"])


def test_a_policy_for_many_guests_and_rules_loads(bench: Bench) -> None:
    rules = tuple(
        FirewallRule("allow", "in", number, "tcp", f"10.{number}.0.0/16", f"{number},{number + 1000}-2000")
        for number in range(100)
    )
    pairs = tuple(AddressPair("00:00:5e:00:01:05", f"10.0.{number}.0/24") for number in range(100))
    everyone = GuestPolicy(firewall=Firewall(rules, default_in="deny"), guard=Guard("enforce", pairs))
    bench.apply(PolicyDocument(1, defaults=everyone))
    assert bench.get(timeout_s=0.4).outcome is STOPS
