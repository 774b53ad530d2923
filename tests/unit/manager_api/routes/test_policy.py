"""From an operator's call to the policy that the appliance fetches."""

import json
import threading
from typing import Any

import pytest

from tests.manager_fixture import EnrolledAppliance, RunningManager
from tests.unit.manager_api.conftest import rules


@pytest.fixture(scope="module", autouse=True)
def shipped(manager: RunningManager, appliance: EnrolledAppliance) -> None:
    manager.operator.put("/rule-sets/shipped", json=rules(1, 2, 3)).raise_for_status()


def document(appliance: EnrolledAppliance) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(appliance.client.get("/policy").json()["document"])
    return answer


def assign(manager: RunningManager, guest: str, *assignments: dict[str, object]) -> None:
    manager.operator.put(f"/guests/{guest}/assignments", json={"assignments": assignments}).raise_for_status()


def test_an_assignment_reaches_the_policy_with_its_rule_set(
    manager: RunningManager, appliance: EnrolledAppliance
) -> None:
    assign(manager, "web", {"rule_set": "shipped", "mode": "prevent"})
    policy = document(appliance)
    assert [r["name"] for r in policy["rule_sets"]] == ["shipped"]
    assert policy["guests"]["web"]["assignments"][0]["mode"] == "prevent"
    assert "client" not in policy["guests"]


def test_no_change_makes_no_new_version(manager: RunningManager, appliance: EnrolledAppliance) -> None:
    assign(manager, "web", {"rule_set": "shipped", "mode": "detect"})
    before = document(appliance)["version"]
    assign(manager, "web", {"rule_set": "shipped", "mode": "detect"})
    assert document(appliance)["version"] == before


def test_the_long_poll_answers_when_the_policy_changes(
    manager: RunningManager, appliance: EnrolledAppliance
) -> None:
    assign(manager, "web", {"rule_set": "shipped", "mode": "detect"})
    version = document(appliance)["version"]
    assert appliance.client.get("/policy", params={"after": version, "wait": 0}).status_code == 204
    answers = []
    poll = threading.Thread(
        target=lambda: answers.append(appliance.client.get("/policy", params={"after": version, "wait": 30}))
    )
    poll.start()
    assign(manager, "web", {"rule_set": "shipped", "mode": "off"})
    poll.join(25)
    assert json.loads(answers[0].json()["document"])["version"] == version + 1


def test_a_new_version_of_an_assigned_rule_set_makes_a_new_policy(
    manager: RunningManager, appliance: EnrolledAppliance
) -> None:
    manager.operator.put("/rule-sets/moving", json=rules(100)).raise_for_status()
    assign(manager, "web", {"rule_set": "moving", "mode": "prevent"})
    before = document(appliance)
    manager.operator.put("/rule-sets/moving", json=rules(100, 101)).raise_for_status()
    after = document(appliance)
    assert after["version"] == before["version"] + 1
    assert after["rule_sets"][0]["version"] == before["rule_sets"][0]["version"] + 1


def test_one_call_overrides_a_signature_and_one_takes_it_back(
    manager: RunningManager, appliance: EnrolledAppliance
) -> None:
    assign(manager, "web", {"rule_set": "shipped", "mode": "prevent"})
    made = manager.operator.post(
        "/guests/web/overrides", json={"sid": 1, "mode": "off", "peer": "10.0.0.1", "reason": "ticket 4711"}
    )
    assert made.status_code == 201
    overrides = document(appliance)["guests"]["web"]["overrides"]
    assert [(o["sid"], o["mode"], o["peer"]) for o in overrides] == [(1, "off", "10.0.0.1")]
    replaced = manager.operator.post(
        "/guests/web/overrides", json={"sid": 1, "mode": "detect", "peer": "10.0.0.1"}
    )
    assert (replaced.status_code, replaced.json()["id"]) == (200, made.json()["id"])
    gone = manager.operator.delete(f"/guests/web/overrides/{made.json()['id']}")
    assert gone.status_code == 204
    assert document(appliance)["guests"]["web"]["overrides"] == []


def test_an_override_ends_by_itself(manager: RunningManager, appliance: EnrolledAppliance) -> None:
    from datetime import UTC, datetime, timedelta

    until = (datetime.now(UTC) + timedelta(seconds=1.5)).isoformat()
    manager.operator.post(
        "/guests/web/overrides", json={"sid": 2, "mode": "off", "until": until}
    ).raise_for_status()
    version = document(appliance)["version"]
    ended = appliance.client.get("/policy", params={"after": version, "wait": 20}).json()
    assert json.loads(ended["document"])["guests"]["web"]["overrides"] == []
    assert manager.operator.get("/audit").json()["entries"][0]["action"] == "guest.override.expire"


@pytest.mark.parametrize(
    ("reason", "body"),
    [
        ("no live rule set", {"sid": 999, "mode": "off"}),
        ("is over", {"sid": 1, "mode": "off", "until": "2020-01-01T00:00:00Z"}),
        ("neither an address", {"sid": 1, "mode": "off", "peer": "web"}),
        ("mode", {"sid": 1, "mode": "sometimes"}),
        ("sid", {"sid": -1, "mode": "off"}),
        ("util", {"sid": 1, "mode": "off", "util": "tomorrow"}),
    ],
)
def test_refuses_an_override_that_means_nothing(
    manager: RunningManager, reason: str, body: dict[str, Any]
) -> None:
    answer = manager.operator.post("/guests/web/overrides", json=body)
    assert answer.status_code == 422
    assert reason in answer.json()["detail"]


@pytest.mark.parametrize(
    ("reason", "assignment"),
    [
        ("no rule set 'absent'", {"rule_set": "absent", "mode": "detect"}),
        ("has no signature 77", {"rule_set": "shipped", "mode": "detect", "select": {"sids": [1, 77]}}),
        ("filter", {"rule_set": "shipped", "mode": "detect", "select": {"filter": "sid >"}}),
    ],
)
def test_refuses_an_assignment_that_means_nothing(
    manager: RunningManager, appliance: EnrolledAppliance, reason: str, assignment: dict[str, Any]
) -> None:
    before = document(appliance)
    answer = manager.operator.put("/guests/web/assignments", json={"assignments": [assignment]})
    assert answer.status_code == 422
    assert reason in answer.json()["detail"]
    assert document(appliance) == before


def test_defaults_hold_for_guests_without_their_own(
    manager: RunningManager, appliance: EnrolledAppliance
) -> None:
    body = {"assignments": [{"rule_set": "shipped", "mode": "detect"}], "on_drop": "silent"}
    manager.operator.put("/appliances/lab/defaults", json=body).raise_for_status()
    assert document(appliance)["defaults"]["assignments"][0]["mode"] == "detect"
    inherited = manager.operator.get("/appliances/lab/guests/client/assignments").json()
    assert inherited["inherited"]
    assert inherited["signatures_evaluated"] == 3
    assert inherited["signatures_can_block"] == 0


def test_a_new_appliance_begins_in_detect_with_the_rule_sets_there_are(manager: RunningManager) -> None:
    policy = document(manager.enrol("fresh"))
    assert {(a["rule_set"], a["mode"]) for a in policy["defaults"]["assignments"]} >= {("shipped", "detect")}


def test_firewall_and_guard_are_set_and_follow_the_defaults_again(
    manager: RunningManager, appliance: EnrolledAppliance
) -> None:
    rule = {
        "action": "deny",
        "direction": "in",
        "protocol": "tcp",
        "ports": "22,8000-8080",
        "peer": "guest:client",
    }
    manager.operator.put(
        "/guests/web/firewall", json={"rules": [rule], "default_out": "deny"}
    ).raise_for_status()
    pair = {"mac": "00:00:5e:00:01:01", "ip": "10.99.0.100"}
    manager.operator.put("/guests/web/guard", json={"mode": "enforce", "allowed": [pair]}).raise_for_status()
    web = document(appliance)["guests"]["web"]
    assert web["firewall"]["rules"][0]["ports"] == "22,8000-8080"
    assert web["guard"] == {"mode": "enforce", "allowed": [pair], "frames": "drop"}
    assert manager.operator.delete("/guests/web/firewall").status_code == 204
    assert document(appliance)["guests"]["web"]["firewall"]["rules"] == []


@pytest.mark.parametrize(
    "rule",
    [
        {"ports": "0"}, {"ports": "80-70"}, {"ports": "1-70000"}, {"ports": "80", "protocol": "icmp"},
        {"peer": "somewhere"}, {"peer": "10.0.0.1/8"}, {"peer": "guest:"}, {"peer": "guest:absent"},
        {"ports": "80;drop"},
    ],
)  # fmt: skip
def test_refuses_a_firewall_rule_that_would_not_load(manager: RunningManager, rule: dict[str, Any]) -> None:
    body = {"rules": [{"action": "allow", "direction": "in", "protocol": "tcp", **rule}]}
    answer = manager.operator.put("/guests/web/firewall", json=body)
    assert answer.status_code == 422
    assert "rule 1" in answer.json()["detail"]


def test_a_guest_name_of_two_appliances_needs_the_appliance(
    manager: RunningManager, appliance: EnrolledAppliance
) -> None:
    other = manager.enrol("second")
    other.client.put("/status", json={"guests": [{"name": "twin"}]}).raise_for_status()
    appliance.client.put("/status", json={"guests": [{"name": "twin"}, {"name": "web"}]}).raise_for_status()
    answer = manager.operator.get("/guests/twin/assignments")
    assert answer.status_code == 409
    assert "lab, second" in answer.json()["detail"]
    assert manager.operator.get("/appliances/second/guests/twin/assignments").status_code == 200


def test_if_match_keeps_two_operators_from_undoing_each_other(manager: RunningManager) -> None:
    seen = manager.operator.get("/guests/web/assignments").headers["etag"]
    assign(manager, "web", {"rule_set": "shipped", "mode": "off"})
    late = manager.operator.put(
        "/guests/web/assignments", json={"assignments": []}, headers={"If-Match": seen}
    )
    assert late.status_code == 412
    current = manager.operator.get("/guests/web/assignments").headers["etag"]
    good = manager.operator.put(
        "/guests/web/assignments", json={"assignments": None}, headers={"If-Match": current}
    )
    assert good.status_code == 200
    assert good.json()["inherited"]


def test_every_change_is_in_the_audit_log_with_who(manager: RunningManager) -> None:
    assign(manager, "web", {"rule_set": "shipped", "mode": "prevent"})
    entry = manager.operator.get("/audit", params={"limit": 1}).json()["entries"][0]
    assert (entry["action"], entry["actor"], entry["target"]) == ("guest.assignments", "key:test", "lab/web")
    causes = [p["cause"] for p in manager.operator.get("/appliances/lab/policies").json()]
    assert causes[0] == "assignments of web"
