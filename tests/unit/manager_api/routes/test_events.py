"""Events: stored once, found by what they hold, never trusted."""

from typing import Any

import httpx
import pytest

from tests.manager_fixture import EnrolledAppliance, RunningManager


def alert(sid: int = 1, guest: str = "web", **more: Any) -> dict[str, Any]:
    return {
        "timestamp": "2026-11-22T20:00:00.000000+0000",
        "event_type": "alert",
        "src_ip": "10.99.0.2",
        "dest_ip": "10.99.0.10",
        "proto": "TCP",
        "alert": {"signature_id": sid, "gid": 1, "signature": "Log4Shell CVE-2021-44228", "severity": 1,
                  "action": "blocked"},
        "sekisho": {"guest": guest},
        **more,
    }  # fmt: skip


def post(appliance: EnrolledAppliance, first: int, *events: Any, lane: str = "w-1") -> httpx.Response:
    body = {"epoch": "e-1", "lane": lane, "first": first, "events": events}
    return appliance.client.post("/events", json=body)


def test_posting_twice_stores_once(appliance: EnrolledAppliance) -> None:
    assert post(appliance, 0, *[alert()] * 5).json() == {"stored": 5, "duplicate": 0}
    assert post(appliance, 0, *[alert()] * 5).json() == {"stored": 0, "duplicate": 5}
    assert post(appliance, 3, *[alert()] * 5).json() == {"stored": 3, "duplicate": 2}
    assert post(appliance, 0, alert(), lane="w-2").json() == {"stored": 1, "duplicate": 0}
    assert post(appliance, 0).json() == {"stored": 0, "duplicate": 0}


def test_each_filter_finds_its_own(manager: RunningManager, appliance: EnrolledAppliance) -> None:
    odd = alert(4242, "db", src_ip="2001:db8::1", event_type="http", timestamp="2026-01-02T03:04:05+0000")
    odd["alert"] |= {"severity": 3, "action": "allowed", "signature": "100%_odd CVE-1999-0001"}
    post(appliance, 0, odd, lane="filters").raise_for_status()
    for params in (
        {"sid": 4242}, {"guest": "db"}, {"severity": 3}, {"event_type": "http"}, {"cve": "1999-0001"},
        {"src_ip": "2001:db8::1"}, {"blocked": False}, {"until": "2026-02-01T00:00:00Z"},
        {"text": "100%_ODD"},
        {"appliance": "lab", "sid": 4242},
    ):  # fmt: skip
        found = manager.operator.get("/events", params=params).json()["events"]
        assert [e["eve"]["alert"]["signature_id"] for e in found] == [4242], params
    assert manager.operator.get("/events", params={"sid": 4242, "guest": "web"}).json()["events"] == []
    assert manager.operator.get("/events", params={"text": "%"}).json()["events"][0]["eve"]["alert"]
    assert manager.operator.get("/events", params={"appliance": "absent"}).status_code == 404


def test_pages_follow_one_another_without_gap_or_repeat(
    manager: RunningManager, appliance: EnrolledAppliance
) -> None:
    post(appliance, 0, *[alert(sid) for sid in range(500, 525)], lane="paged").raise_for_status()
    seen: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        page = manager.operator.get("/events", params={"limit": 7, "guest": "web", **cursor}).json()
        seen += [e["eve"]["alert"]["signature_id"] for e in page["events"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen[:25] == list(range(524, 499, -1))
    assert len(seen) == len(
        manager.operator.get("/events", params={"limit": 1000, "guest": "web"}).json()["events"]
    )


HOSTILE: list[Any] = [
    {},
    {"timestamp": "yesterday", "alert": [], "sekisho": "x", "src_ip": 7},
    {
        "event_type": "\x00\ud800",
        "alert": {"signature": "<script>alert(1)</script>\x00", "signature_id": "1"},
    },
    {"timestamp": "9999-12-31T23:59:59+0000", "alert": {"signature_id": 2**70, "severity": -5, "gid": True}},
    {"timestamp": "0001-01-01T00:00:00+23:59"},
    {"alert": {"metadata": {"cve": ["CVE_2021_44228", 7, None]}}, "dest_port": 1e9},
    {"payload": "A" * 300_000, "event_type": "alert", "alert": {"signature_id": 77}},
    {"event_type": "alert", "alert": {"signature": "B" * 300_000}},
    {"alert": {"severity": float("nan")}, "\udfff": "key", "big": 10**400},
    {"nested": [[[[[[[[[["deep"]]]]]]]]]], "src_ip": "fe80::1%eth0"},
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_hostile_event_is_stored_and_read_again(
    manager: RunningManager, appliance: EnrolledAppliance, number: int
) -> None:
    answer = appliance.client.post(
        "/events", content=_json({"epoch": "h", "lane": "h", "first": number, "events": [HOSTILE[number]]}),
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    assert answer.json() == {"stored": 1, "duplicate": 0}
    listed = manager.operator.get("/events", params={"limit": 1})
    assert listed.status_code == 200
    assert len(listed.content) < 300_000


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b'{"epoch":"e"}', b'{"epoch":"e","lane":"l","first":-1,"events":[]}',
        b'{"epoch":"e","lane":"l","first":0,"events":[1]}',
        b'{"epoch":"../x","lane":"l","first":0,"events":[]}',
        b'{"epoch":"e","lane":"l","first":9999999999999999999999,"events":[]}', b"\xff\xfe", b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_bad_batch_is_refused(appliance: EnrolledAppliance, body: bytes) -> None:
    answer = appliance.client.post("/events", content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"


def test_refuses_more_events_than_a_batch_may_hold(appliance: EnrolledAppliance) -> None:
    assert post(appliance, 0, *[{}] * 5_001, lane="many").status_code == 413


def _json(value: Any) -> bytes:
    import json

    return json.dumps(value).encode()
