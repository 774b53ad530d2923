"""The manager's policy becomes the engine's: defaults, filters, overrides, and what is refused."""

from datetime import UTC, datetime

import pytest

from appliance.control.engine_policy import RuleSetFiles, filtered_rule_sets, render_engine_policy
from appliance.model.faults import PolicyError
from appliance.model.guest import Guest, GuestInventory, Segment, Vnic
from appliance.model.links import Links, Port
from appliance.model.policy import Assignment, GuestPolicy, Mode, Override, PolicyDocument, Selection
from appliance.rulesets import Signature

INVENTORY = GuestInventory(
    segments=(Segment("lab", "br0", zone=7),),
    guests=(
        Guest("web", "lab", (Vnic("eth0", "web0", "02:00:00:00:00:01", ("10.0.0.1", "fd00::1")),)),
        Guest("off", "lab", (Vnic("eth0", "off0", "02:00:00:00:00:02"),)),
    ),
)
LINKS = Links((), (Port("web0", 1, "web", "lab", ifindex=4, mtu=1500), Port("off0", 2, "off", "lab")))
SHIPPED = RuleSetFiles(
    "shipped", ("rule-sets/d/files/a.rules",), (Signature(1, cves=("2021-1",)), Signature(2))
)


def rendered(document: PolicyDocument) -> dict[str, object]:
    return render_engine_policy(document, INVENTORY, LINKS, {"shipped": SHIPPED}, generation=3)


def policy(*assignments: Assignment, **more: object) -> GuestPolicy:
    return GuestPolicy(assignments=assignments, **more)  # type: ignore[arg-type]


def test_guest_without_an_entry_runs_the_defaults() -> None:
    document = PolicyDocument(
        5,
        defaults=policy(Assignment("shipped", Mode.DETECT)),
        guests={"web": policy(Assignment("shipped", Mode.PREVENT))},
    )
    engine = rendered(document)
    assert (engine["format"], engine["version"], engine["generation"]) == (1, 5, 3)
    web, off = engine["guests"]  # type: ignore[misc]
    assert web["assignments"] == [{"rule_set": "shipped", "mode": "prevent", "sids": None}]
    assert off["assignments"] == [{"rule_set": "shipped", "mode": "detect", "sids": None}]
    assert (web["zone"], web["addresses"], web["on_drop"]) == (7, ["10.0.0.1", "fd00::1"], "reset")


def test_port_of_a_guest_that_is_off_is_left_out() -> None:
    assert rendered(PolicyDocument(1))["ports"] == [
        {"tap": "web0", "ifindex": 4, "number": 1, "guest": "web"}
    ]


def test_filter_becomes_sids() -> None:
    chosen = Assignment("shipped", Mode.PREVENT, Selection(filter="cve:*"))
    document = PolicyDocument(1, defaults=policy(chosen))
    assert filtered_rule_sets(document) == {"shipped"}
    (assignment,) = rendered(document)["guests"][0]["assignments"]  # type: ignore[index]
    assert assignment["sids"] == [1]


def test_override_carries_peer_and_end() -> None:
    until = datetime(2027, 1, 31, 8, 0, 0, 500, tzinfo=UTC)
    override = Override(9, Mode.OFF, peer="10.0.0.0/8", until=until, reason="ticket")
    (found,) = rendered(PolicyDocument(1, defaults=policy(overrides=(override,))))["guests"][0]["overrides"]  # type: ignore[index]
    assert found == {"gid": 1, "sid": 9, "mode": "off", "peer": "10.0.0.0/8", "until_s": 1801382401}


@pytest.mark.parametrize(
    ("reason", "guest_policy"),
    [
        ("web: the rule set 'other' is assigned", policy(Assignment("other", Mode.OFF))),
        ("web: .*no field 'colour'", policy(Assignment("shipped", Mode.OFF, Selection(filter="colour:red")))),
        ("web: override of sid 9: .*'nobody'", policy(overrides=(Override(9, Mode.OFF, peer="nobody"),))),
    ],
)
def test_refuses_naming_guest_and_reason(reason: str, guest_policy: GuestPolicy) -> None:
    with pytest.raises(PolicyError, match=reason):
        rendered(PolicyDocument(1, guests={"web": guest_policy}))
