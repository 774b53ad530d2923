"""The status as Prometheus reads it, and distributions as the engine counts them."""

import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from appliance.config import MetricsConfig
from appliance.control.accounts import InspectorAccounts
from appliance.control.status import status_body
from appliance.model.guest import Guest, GuestInventory, Segment
from appliance.model.policy import FirewallRule
from appliance.reporting.exporter import exporter
from appliance.reporting.latency import Latency, bound_s
from appliance.reporting.metrics import StatusCollector
from appliance.steering import Counters, GuestCounters, RuleCount, Traffic

TWICE = FirewallRule("deny", "in", ports="80", name="closed")


def status(**inspector: Any) -> dict[str, Any]:
    accounts = InspectorAccounts()
    counted = {"uninspected": {"midstream": 5}, "alerts": 3, "blocked": 2}
    accounts.take({"guests": {"web": counted}, "failures": {"malformed": 4}})
    guest = GuestCounters(
        "web",
        Traffic(10, 1000),
        {"steered": Traffic(1, 70)},
        {"flow": Traffic(6, 1), "ethertype": Traffic(1, 1)},
        {"mac": Traffic(9, 1)},
    )
    rules = (
        RuleCount("web", "in", TWICE, Traffic(1, 1)),
        RuleCount("web", "in", FirewallRule("deny", "in", ports="81", name="closed"), Traffic(2, 1)),
    )
    return status_body(
        live_version=7,
        error=None,
        inventory=GuestInventory((Segment("lab", "br0"),), (Guest("web", "lab", ()),)),
        counters=Counters((guest,), rules),
        accounts=accounts,
        bypass=[{"guest": "web", "until_s": 1}],
        inspector={"up": True, "pid": 1, "restarts": 2, "stats": {}, "failure_policy": False, **inspector},
        watchdog={"up": True, "pid": 2, "restarts": 0},
        steering={"backend": "nft-bridge", "why": "", "repairs": 1},
        connections={"known": 70, "at_most": 100, "refused": 5, "given_up": 6},
        spool={"bytes": 10, "waiting_bytes": 4, "lost": 1},
        manager="connected",
        missing=(),
    )


def samples(body: dict[str, Any]) -> dict[tuple[str, tuple[str, ...]], float]:
    registry = CollectorRegistry()
    registry.register(StatusCollector(lambda: body))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, tuple(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


def test_every_count_is_there_under_its_labels() -> None:
    found = samples(status())
    for name, labels, value in (
        ("policy_version", (), 7),
        ("guest_bytes_total", ("web", "lab"), 1000),
        ("uninspected_bytes_total", ("web", "midstream"), 5),
        ("uninspected_bytes_total", ("web", "steered"), 70),
        ("dropped_packets_total", ("inspector", "web"), 6),
        ("dropped_packets_total", ("ethertype", "web"), 1),
        ("guard_violations_total", ("web", "mac"), 9),
        ("alerts_total", ("web",), 3),
        ("failure_policy_uses_total", ("malformed",), 4),
        ("process_restarts_total", ("inspector",), 2),
        ("bypassed", ("web",), 1),
        ("spool_waiting_bytes", (), 4),
        ("connections", (), 70),
        ("connections_max", (), 100),
        ("connections_given_up_total", (), 6),
        ("connections_refused_packets_total", (), 5),
        # two rules of one name are one series: Prometheus would refuse everything for two
        ("firewall_packets_total", ("deny", "in", "web", "closed"), 3),
    ):
        assert found[f"sekisho_{name}", labels] == value, name


def test_stages_are_histograms_whose_buckets_add_up() -> None:
    counts = [0] * 8 + [5, 0, 0, 0, 1]
    queue = {"queue": 0, "packets": 6, "bytes": 1, "panics": 0, "kernel": None}
    queue["latency"] = {"total_ns": 20_000, "max_ns": 9_000, "counts": counts}
    runtime = {"packets_from": {"runtime": {"queues": [queue]}}}
    found = samples(status(stats=runtime))
    by_bound = {
        float(labels[0]): value
        for (name, labels), value in found.items()
        if name == "sekisho_stage_seconds_bucket" and "inspection" in labels
    }
    assert by_bound[0.000002] == 0
    assert by_bound[0.000004] == 5
    assert by_bound[0.000008] == by_bound[float("inf")] == 6
    assert sorted(by_bound.values()) == [by_bound[bound] for bound in sorted(by_bound)]
    assert found["sekisho_stage_seconds_sum", ("0", "inspection")] == pytest.approx(20e-6)


def test_nothing_is_said_before_there_is_a_status() -> None:
    assert not samples({})


def test_bounds_are_the_engines() -> None:
    assert [bound_s(index) for index in (0, 3, 7, 8)] == pytest.approx([250e-9, 1e-6, 2e-6, 2.5e-6])


def test_quantiles_are_of_what_came_since() -> None:
    before, now = Latency((10, 0, 0, 0)), Latency((10, 0, 0, 98, 0, 0, 0, 2))
    assert now.since(before).quantile_s(0.5) == pytest.approx(1e-6)
    assert now.since(before).quantile_s(0.99) == pytest.approx(2e-6)
    assert Latency((1,)).since(now) == Latency((1,)), "the inspector was started anew"
    assert Latency().quantile_s(0.5) is None


def test_serves_on_a_free_port_of_the_loopback_until_it_is_told_to_end() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/metrics"
    with exporter(MetricsConfig(listen=f"127.0.0.1:{port}"), status), urllib.request.urlopen(url) as answer:
        assert b"sekisho_policy_version 7.0" in answer.read()
    with pytest.raises(OSError):
        urllib.request.urlopen(url)


def test_a_place_that_cannot_be_listened_at_is_logged_and_protection_goes_on(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with exporter(MetricsConfig(listen=str(tmp_path / "none" / "metrics.sock")), status):
        pass
    assert "metrics.listen: cannot listen at" in caplog.text
