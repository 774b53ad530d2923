"""Whatever is sent, the answer is a clear refusal: never a 500, never a traceback."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.manager_fixture import EnrolledAppliance, RunningManager
from tests.unit.manager_api.conftest import rules

BOUNDED = settings(
    max_examples=25, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
TEXT = st.text(max_size=40) | st.sampled_from(
    ["", "\x00", "../..", "web", "%00", "lab", "\ud800", "a" * 5000, "NaN"]
)
SCALAR = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | TEXT
ANYTHING = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    "token", "name", "csr", "files", "text", "assignments", "rule_set", "mode", "select", "sids",
    "filter", "sid", "gid", "peer", "until", "reason", "rules", "action", "direction", "ports",
    "default_in", "allowed", "mac", "ip", "on_drop", "for_s", "appliance", "role", "live_version",
    "error", "guests", "vnics", "bytes", "uninspected", "bypass", "until_s", "guest", "inspector",
    "spool", "epoch", "lane", "first", "events",
]  # fmt: skip
BODY = st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=8) | ANYTHING
OPERATIONS = [
    ("POST", "/enrol"), ("PUT", "/rule-sets/x"), ("PUT", "/appliances/lab/defaults"),
    ("PUT", "/guests/web/assignments"), ("PUT", "/guests/web/firewall"), ("PUT", "/guests/web/guard"),
    ("PUT", "/guests/web/on-drop"), ("POST", "/guests/web/overrides"), ("POST", "/tokens"), ("POST", "/keys"),
]  # fmt: skip


def assert_clear(answer: httpx.Response) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["title"]
        assert problem["detail"]
        assert "Traceback" not in answer.text


def encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


@pytest.fixture(scope="module")
def operator(manager: RunningManager, appliance: EnrolledAppliance) -> httpx.Client:
    client = manager.operator
    client.headers["Content-Type"] = "application/json"
    return client


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@BOUNDED
@given(body=BODY)
def test_no_json_body_makes_an_operation_fail(
    operator: httpx.Client, method: str, path: str, body: Any
) -> None:
    assert_clear(operator.request(method, path, content=encoded(body)))


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@BOUNDED
@given(body=st.binary(max_size=200))
def test_no_bytes_make_an_operation_fail(operator: httpx.Client, method: str, path: str, body: bytes) -> None:
    assert_clear(operator.request(method, path, content=body))


@pytest.mark.parametrize("path", ["/status", "/events", "/renew"])
@BOUNDED
@given(body=BODY)
def test_no_report_makes_the_manager_fail(
    operator: httpx.Client, appliance: EnrolledAppliance, path: str, body: Any
) -> None:
    method = "PUT" if path == "/status" else "POST"
    headers = {"Content-Type": "application/json"}
    assert_clear(appliance.client.request(method, path, content=encoded(body), headers=headers))
    assert_clear(operator.get("/guests"))
    assert_clear(operator.get("/appliances"))


@BOUNDED
@given(
    guests=st.lists(
        st.fixed_dictionaries({"name": TEXT, "vnics": st.lists(ANYTHING, max_size=2)}), max_size=3
    )
)
@example(guests=[{"name": "0", "vnics": [{"": {"\ud800": None}}]}])
def test_no_reported_guest_makes_the_lists_fail(
    operator: httpx.Client, appliance: EnrolledAppliance, guests: list[dict[str, Any]]
) -> None:
    headers = {"Content-Type": "application/json"}
    body = {"live_version": 1, "guests": guests, "inspector": {"x": guests}}
    assert_clear(appliance.client.put("/status", content=encoded(body), headers=headers))
    assert_clear(operator.get("/guests"))
    assert_clear(operator.get("/appliances"))


@BOUNDED
@given(
    event=st.dictionaries(st.sampled_from(["timestamp", "alert", "sekisho", "src_ip", "x"]) | TEXT, ANYTHING)
)
def test_no_event_makes_the_list_fail(
    operator: httpx.Client, appliance: EnrolledAppliance, event: dict[str, Any]
) -> None:
    first = operator.get("/events", params={"limit": 1}).json()["events"]
    body = {"epoch": "h", "lane": "h", "first": first[0]["id"] if first else 0, "events": [event]}
    headers = {"Content-Type": "application/json"}
    assert_clear(appliance.client.post("/events", content=encoded(body), headers=headers))
    assert_clear(operator.get("/events", params={"limit": 1}))


@BOUNDED
@given(
    query=st.dictionaries(
        st.sampled_from(
            ["guest", "sid", "severity", "event_type", "blocked", "cve", "text", "src_ip", "since", "until",
             "cursor", "limit", "appliance"]
        ),
        TEXT.filter(lambda t: t.isprintable()) | st.integers(-5, 2**70),
        max_size=4,
    )
)  # fmt: skip
def test_no_filter_makes_the_list_fail(operator: httpx.Client, query: dict[str, Any]) -> None:
    assert_clear(operator.get("/events", params=query))


@BOUNDED
@given(name=st.text(max_size=60).filter(lambda t: t.isprintable()))
def test_no_name_in_a_path_makes_it_fail(operator: httpx.Client, name: str) -> None:
    from urllib.parse import quote

    part = quote(name, safe="")
    for path in (
        f"/guests/{part}/assignments",
        f"/appliances/{part}",
        f"/rule-sets/{part}",
        f"/events/{part}",
    ):
        answer = operator.get(path)
        assert answer.status_code < 500, answer.text


@BOUNDED
@given(filter=st.text(max_size=60).filter(lambda t: t.isprintable()))
def test_no_selection_filter_makes_it_fail(operator: httpx.Client, filter: str) -> None:
    operator.put("/rule-sets/x", content=encoded(rules(1)))
    assert_clear(operator.get("/rule-sets/x/signatures", params={"filter": filter}))


def test_the_log_holds_no_traceback_after_all_of_it(manager: RunningManager) -> None:
    assert "Traceback" not in (manager.data_dir.parent / "manager.log").read_text()
