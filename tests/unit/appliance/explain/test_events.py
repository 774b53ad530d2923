"""Events on disk are read for one flow; odd ones cost nothing but themselves."""

import json

import pytest

from appliance.explain.events import read_events
from appliance.model.flow import parse_flow


def eve(second: int, kind: str, **more: object) -> bytes:
    record = {
        "timestamp": f"2026-11-28T10:00:{second:02d}.000000+0000",
        "event_type": kind,
        "flow_id": 7,
        "src_ip": "10.0.0.7",
        "src_port": 51234,
        "dest_ip": "10.0.0.5",
        "dest_port": 443,
        "proto": "TCP",
        **more,
    }
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def notice(second: int, name: str, **more: object) -> bytes:
    return eve(second, "engine", engine={"message": name}, sekisho={"notice": name, **more})


FLOW = parse_flow("10.0.0.7 -> 10.0.0.5:443")
ALERT = {"action": "blocked", "gid": 1, "signature_id": 5, "rev": 2, "signature": "evil"}


def test_an_alert_that_blocked_is_a_drop_and_one_that_did_not_is_none() -> None:
    allowed = {**ALERT, "action": "allowed"}
    told = read_events([eve(1, "alert", alert=ALERT), eve(2, "alert", alert=allowed)], FLOW)
    assert [verdict.is_drop for verdict in told.verdicts] == [True, False]
    assert told.verdicts[0].flow == "10.0.0.7:51234 -> 10.0.0.5:443 tcp"


def test_ipv6_addresses_of_events_are_written_in_full() -> None:
    full = "fd00:0000:0000:0000:0000:0000:0000:0005"
    record = eve(1, "drop", src_ip=full, drop={"reason": "stream midstream"})
    (verdict,) = read_events([record], parse_flow("fd00::5")).verdicts
    assert (verdict.reason, verdict.is_drop) == ("stream midstream", True)


def test_other_flows_do_not_count() -> None:
    assert not read_events([eve(1, "drop", dest_port=80, drop={"reason": "rules"})], FLOW).verdicts


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b'{"alert"',
        b'{"event_type":"alert","src_ip":5}\n',
        b'{"event_type":"drop","src_ip":"x","dest_ip":"y"}\n',
        b'["drop"]\n',
        b'{"event_type":"drop","drop":[]}\n',
        b'\xff"drop"\n',
    ],
)
def test_odd_records_are_passed_over(line: bytes) -> None:
    told = read_events([line, eve(3, "drop", drop={"reason": "rules"})], FLOW)
    assert len(told.verdicts) == 1


def test_an_outage_lasts_from_the_first_sign_to_the_next_inspector() -> None:
    told = read_events(
        [
            notice(1, "inspector-up"),
            # lanes are read by severity, not by time
            notice(9, "inspector-up"),
            notice(5, "failure-policy"),
            notice(6, "inspector-down"),
            notice(20, "inspector-down"),
            notice(8, "queue-full", queue=1, packets=3),
        ],
        FLOW,
    )
    first, last = told.outages
    assert first.until_s is not None
    assert (first.until_s - first.since_s, last.until_s) == (4.0, None)
    assert [(queue, packets) for _, queue, packets in told.queue_full] == [(1, 3)]
