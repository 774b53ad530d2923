"""What guard's and firewall's counters are worth telling."""

from appliance.control.network import notices
from appliance.model.policy import FirewallRule
from appliance.steering import Counters, GuestCounters, RuleCount, Traffic

DENY = FirewallRule("deny", "in", name="no telnet")
LOG = FirewallRule("log", "out", priority=7)
ALLOW = FirewallRule("allow", "in")


def counters(violations: int, denied: int, logged: int = 0, allowed: int = 0, default: int = 0) -> Counters:
    guest = GuestCounters("web", Traffic(), {}, {}, {"ip": Traffic(violations, 60)})
    rules = ((DENY, denied), (LOG, logged), (ALLOW, allowed), (None, default))
    return Counters(
        (guest,),
        tuple(RuleCount("web", "in", rule, Traffic(count, 0)) for rule, count in rules),
    )


def test_only_what_grew_is_told_with_how_much() -> None:
    found = list(notices(counters(1, 5), counters(4, 7)))
    assert [(n.notice, n.details.get("frames", n.details.get("packets"))) for n in found] == [
        ("guard", 3),
        ("firewall-deny", 2),
    ]
    assert "no telnet" in found[1].message


def test_log_rules_and_default_denials_are_told_and_allowed_traffic_is_not() -> None:
    found = list(notices(counters(0, 0), counters(0, 0, logged=1, allowed=9, default=2)))
    assert [(n.notice, n.details["rule"]) for n in found] == [
        ("firewall-log", "priority 7"),
        ("firewall-deny", "its default"),
    ]


def test_nothing_new_is_nothing_to_tell() -> None:
    assert not list(notices(counters(3, 3), counters(3, 3)))


def test_counters_that_began_anew_are_no_negative_news() -> None:
    assert not list(notices(counters(9, 9), counters(0, 0)))
