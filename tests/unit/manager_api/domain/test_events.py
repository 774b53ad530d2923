"""What is read out of an EVE event, whatever the event holds."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager_api.domain.events import MAX_TEXT, read_event

NOW = datetime(2026, 11, 22, 20, tzinfo=UTC)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
KEYS = st.sampled_from(
    [
        "timestamp",
        "event_type",
        "severity",
        "alert",
        "sekisho",
        "src_ip",
        "dest_ip",
        "src_port",
        "proto",
        "engine",
    ]
)


@given(st.dictionaries(KEYS, ANY))
def test_any_object_becomes_a_row_that_a_database_takes(event: dict[str, Any]) -> None:
    row = read_event(event, NOW, 10_000)
    assert 1 <= row.severity <= 4
    for text in (row.event_type, row.guest, row.msg, row.src_ip, row.proto, row.cves):
        assert text is None or (len(text) <= MAX_TEXT and "\0" not in text and text.encode() is not None)
    assert row.body.encode()
    assert "\0" not in row.body
    assert len(row.body) <= 10_000


@pytest.mark.parametrize(
    ("cves", "alert"),
    [
        ("CVE-2021-44228", {"signature": "Log4Shell (CVE-2021-44228)"}),
        ("CVE-2014-6271", {"metadata": {"cve": ["CVE_2014_6271"]}}),
        (
            "CVE-2014-6271 CVE-2014-7169",
            {"metadata": {"cve": ["cve-2014-7169"]}, "signature": "CVE-2014-6271"},
        ),
        ("", {"signature": "CVE-21-1"}),
    ],
)
def test_finds_the_cves_of_an_alert(cves: str, alert: dict[str, Any]) -> None:
    assert read_event({"alert": alert}, NOW, 10_000).cves == cves


@pytest.mark.parametrize(
    ("blocked", "event"),
    [
        (True, {"event_type": "alert", "alert": {"action": "blocked"}}),
        (True, {"event_type": "drop"}),
        (False, {"event_type": "alert", "alert": {"action": "allowed"}}),
        (False, {"event_type": "http", "http": {"action": "blocked"}}),
    ],
)
def test_says_whether_something_was_stopped(blocked: bool, event: dict[str, Any]) -> None:
    assert read_event(event, NOW, 10_000).blocked is blocked


def test_an_event_from_the_future_gets_the_time_of_arrival() -> None:
    assert read_event({"timestamp": "2099-01-01T00:00:00Z"}, NOW, 10_000).at == NOW
    assert read_event({"timestamp": "2026-11-22T21:00:00+0200"}, NOW, 10_000).at.hour == 19


def test_an_event_that_is_too_long_keeps_what_it_is_known_by() -> None:
    event = {"event_type": "alert", "alert": {"signature_id": 7}, "payload": "A" * 20_000}
    row = read_event(event, NOW, 10_000)
    assert row.sid == 7
    assert '"signature_id":7' in row.body
    assert "trimmed_from_bytes" in row.body
    assert "AAAA" not in row.body


def test_the_appliances_own_notice_is_shown_by_its_message_and_severity() -> None:
    notice = {
        "event_type": "engine",
        "engine": {"message": "bypass: traffic of guest web passes uninspected"},
        "sekisho": {"notice": "bypass-on", "severity": 1, "guest": "web"},
    }
    row = read_event(notice, NOW, 10_000)
    assert (row.msg, row.severity) == ("bypass: traffic of guest web passes uninspected", 1)
