"""The runtime around a handler, on a real bridge: rights, panics, resets, policy swaps, events, queues."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.lab import LabSettings
from appliance.netns import run_in
from tests.netns.topology import (
    PATIENCE_S,
    Program,
    QueuedBridge,
    build_example,
    datagrams_until_silence,
    eventually,
    queued_bridge,
    read_exactly,
    socket_in,
    tcp_pair,
    udp_pair,
)

NOBODY = 65_534
NET_ADMIN = 1 << 12
RESET_ETHERTYPE = 0x88B5


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueuedBridge]:
    settings = LabSettings(run_dir=tmp_path_factory.mktemp("live"), prefix=f"skt-nfq-{os.getpid()}l")
    with queued_bridge(settings) as bridge:
        yield bridge


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def probe(bridge: QueuedBridge, spool: Path) -> Callable[..., Program]:
    """Start the probe on the bridge's queue, with its spool in `spool`."""
    program = str(build_example("sekisho-live", "probe"))
    return lambda *options: Program([program, str(bridge.queue), str(spool), *options], bridge.netns)


def events(spool: Path, severity: int) -> list[dict[str, Any]]:
    lane = sorted((spool / f"probe-{severity}").iterdir())
    return [json.loads(line) for segment in lane for line in segment.read_text().splitlines()]


def test_verdicts_and_spool_still_work_after_all_other_rights_are_gone(
    bridge: QueuedBridge, probe: Callable[..., Program], spool: Path
) -> None:
    bridge.steer("-p udp")
    for path in spool.parents[:3]:
        path.chmod(0o755)
    spool.mkdir()
    os.chown(spool, 0, NOBODY)
    spool.chmod(0o750)
    # The smallest spool, so that it goes through many segments.
    options = ("--uid", str(NOBODY), "--gid", str(NOBODY), "--spool-bytes", str(128 << 10))
    with probe(*options) as program, udp_pair(bridge) as (client, server):
        client.send(b"probe:drop")
        for _ in range(300):
            client.send(b"probe:event")
            assert server.recv(100) == b"probe:event"
        for task in Path(f"/proc/{program.process.pid}/task").iterdir():
            status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines())
            sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
            rights = [int(status[name], 16) for name in sets]
            assert rights == [0, NET_ADMIN, NET_ADMIN, NET_ADMIN, 0]
            assert status["NoNewPrivs"] == "1"
            assert status["Uid"].split() == status["Gid"].split() == [str(NOBODY)] * 4
            assert status["Groups"].strip() == ""
        queue = json.loads(program.stop())["queues"][0]
    assert (queue["accepted"], queue["dropped"]) == (300, 1)
    # Root's own file, opened while we were root.
    assert queue["kernel"] == {"waiting": 0, "dropped": 0, "user_dropped": 0}
    assert len(events(spool, 2)) == 300
    segments = list((spool / "probe-2").iterdir())
    assert len(segments) > 1
    assert {segment.stat().st_uid for segment in segments} == {NOBODY}
    assert spool.stat().st_uid == 0


@pytest.mark.parametrize(("options", "passed"), [((), [b"probe:panic"] * 10), (("--panic-closed",), [])])
def test_a_panic_is_answered_by_the_failure_policy_and_the_worker_goes_on(
    bridge: QueuedBridge,
    probe: Callable[..., Program],
    spool: Path,
    options: tuple[str, ...],
    passed: list[bytes],
) -> None:
    bridge.steer("-p udp")
    with probe(*options) as program, udp_pair(bridge) as (client, server):
        for _ in range(10):
            client.send(b"probe:panic")
        client.send(b"and on it goes")
        assert datagrams_until_silence(server) == [*passed, b"and on it goes"]
        queue = json.loads(program.stop())["queues"][0]
    assert (queue["panics"], queue["packets"], queue["alive"]) == (10, 11, True)
    notices = [event["sekisho"] for event in events(spool, 1)]
    assert 1 <= len(notices) <= 10
    assert notices[0]["notice"] == "panic"


def test_a_hung_handler_does_not_keep_the_program_from_stopping(
    bridge: QueuedBridge, probe: Callable[..., Program]
) -> None:
    bridge.steer("-p udp")
    with probe() as program, udp_pair(bridge) as (client, _):
        client.send(b"probe:hang")
        eventually(lambda: bridge.kernel_counters()["waiting"] == 1)
        program.stop()
        assert bridge.kernel_counters() == {}


def test_a_reset_leaves_by_the_port_it_is_sent_to_and_by_no_other(
    bridge: QueuedBridge, probe: Callable[..., Program]
) -> None:
    bridge.steer("-p udp")
    kind, protocol = socket.SOCK_RAW, socket.htons(RESET_ETHERTYPE)
    with (
        socket_in(bridge.client, kind, socket.AF_PACKET, protocol) as at_client,
        socket_in(bridge.web, kind, socket.AF_PACKET, protocol) as at_web,
        probe() as program,
        udp_pair(bridge) as (client, server),
    ):
        client.send(b"probe:reset")
        frame = at_client.recv(2000)
        assert frame[12:].startswith(b"\x88\xb5probe:reset")
        assert server.recv(100) == b"probe:reset"
        assert datagrams_until_silence(at_web) == []
        assert json.loads(program.stop())["resets"] == {"sent": 1, "limited": 0, "failed": 0}


def test_resets_are_limited_and_counted_while_verdicts_go_on(
    bridge: QueuedBridge, probe: Callable[..., Program]
) -> None:
    bridge.steer("-p udp")
    with probe() as program, udp_pair(bridge) as (client, server):
        received = []
        reader = threading.Thread(target=lambda: received.extend(datagrams_until_silence(server)))
        reader.start()
        for _ in range(3000):
            client.send(b"probe:reset")
        reader.join(PATIENCE_S)
        stats = json.loads(program.stop())
    assert stats["resets"]["limited"] > 0
    assert sum(stats["resets"].values()) == stats["queues"][0]["packets"]
    assert stats["queues"][0]["accepted"] == stats["queues"][0]["packets"] >= len(received) > 1000


def test_a_policy_swap_takes_effect_between_packets_and_disturbs_no_connection(
    bridge: QueuedBridge, probe: Callable[..., Program]
) -> None:
    bridge.steer()
    marks = range(1, 21)
    counters = "\n".join(f"meta mark {mark} counter accept" for mark in marks)
    ruleset = f"table inet after {{\nchain c {{ type filter hook forward priority -140\n{counters}\n}}\n}}"
    run_in(bridge.netns, ["nft", "-f", "-"], ruleset.replace("-140\n", "-140;\n"))
    data = os.urandom(1 << 20)
    try:
        with probe() as program, tcp_pair(bridge) as (client, server):
            for mark in marks:
                program.tell(f"mark {mark}")
                program.stats()  # answered after the swap
                client.sendall(data[:50_000])
                assert read_exactly(server, 50_000) == data[:50_000]
            queue = json.loads(program.stop())["queues"][0]
        listing = json.loads(run_in(bridge.netns, ["nft", "-j", "list", "table", "inet", "after"]))
    finally:
        run_in(bridge.netns, ["nft", "delete", "table", "inet", "after"])
    counted = [
        rule["rule"]["expr"][1]["counter"]["packets"] for rule in listing["nftables"] if "rule" in rule
    ]
    assert len(counted) == len(marks)
    assert all(packets > 0 for packets in counted)
    assert queue["dropped"] == queue["panics"] == 0


def test_each_event_of_each_queue_is_in_the_spool_once(
    bridge: QueuedBridge, probe: Callable[..., Program], spool: Path
) -> None:
    bridge.steer("-p udp --dport 7001", "-p udp --dport 7002")
    with probe("--queues", "2") as program, udp_pair(bridge, 7001) as one, udp_pair(bridge, 7002) as two:
        for client, server in (one, two):
            for _ in range(500):
                client.send(b"probe:event")
                assert server.recv(100) == b"probe:event"
        stats = json.loads(program.stop())
    assert [queue["packets"] for queue in stats["queues"]] == [500, 500]
    found = events(spool, 2)
    assert (
        [event["worker"] for event in found].count(0) == [event["worker"] for event in found].count(1) == 500
    )
    for worker in (0, 1):
        times = [event["at"] for event in found if event["worker"] == worker]
        assert len(times) == len(set(times)) == 500


def test_a_killed_inspector_loses_nothing_that_a_flush_interval_had_passed_for_and_goes_on_counting(
    bridge: QueuedBridge, probe: Callable[..., Program], spool: Path
) -> None:
    bridge.steer("-p udp")
    for life in (1, 2, 3):
        with probe() as program, udp_pair(bridge) as (client, server):
            for _ in range(100):
                client.send(b"probe:event")
                assert server.recv(100) == b"probe:event"
            eventually(lambda: written(program) == 100)
            program.kill()
        assert len(events(spool, 2)) == 100 * life


def written(program: Program) -> int:
    """Return how many records the program says it has written."""
    return int(program.stats()["events"]["spool"]["written_records"])
