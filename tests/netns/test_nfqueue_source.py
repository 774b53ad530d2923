"""The NFQUEUE source on a real bridge: what arrives, what a verdict does, what happens without a listener."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.lab import CLIENT, WEB, LabSettings
from appliance.netns import command_in, run_in
from tests.netns.topology import (
    PATIENCE_S,
    Program,
    QueuedBridge,
    build_example,
    datagrams_until_silence,
    queued_bridge,
    read_exactly,
    tcp_pair,
    udp_pair,
)

LARGEST_COPY = 65_531
"""The kernel copies no more of a packet: an attribute's length has 16 bits and counts its header."""


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueuedBridge]:
    settings = LabSettings(run_dir=tmp_path_factory.mktemp("nfqueue"), prefix=f"skt-nfq-{os.getpid()}")
    with queued_bridge(settings) as bridge:
        yield bridge


@pytest.fixture(scope="module")
def accept_all(bridge: QueuedBridge) -> Callable[..., Program]:
    """Start the accept-all consumer on the bridge's queue."""
    program = str(build_example("sekisho-nfqueue", "accept_all"))
    return lambda *options: Program([program, str(bridge.queue), *options], bridge.netns)


def send_through(bridge: QueuedBridge, count: int) -> None:
    data = os.urandom(1 << 20) * (count >> 20)
    with tcp_pair(bridge) as (client, server):
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        assert read_exactly(server, len(data)) == data
        sender.join(PATIENCE_S)


def test_offloaded_packets_arrive_whole(bridge: QueuedBridge, accept_all: Callable[..., Program]) -> None:
    bridge.steer()
    with accept_all("--report") as program:
        send_through(bridge, 32 << 20)
        counters = program.counters()
    lengths = [report["len"] for report in program.reports()]
    assert max(lengths) > 60_000
    assert counters["gso"] > 0
    assert counters["truncated"] == counters["lost"] == counters["unreadable"] == 0
    assert counters["refused_verdicts"] == 0
    assert counters["packets"] == counters["accepted"] == len(lengths)


def test_without_the_flag_the_kernel_cuts_packets_to_the_mtu(
    bridge: QueuedBridge, accept_all: Callable[..., Program]
) -> None:
    bridge.steer()
    with accept_all("--report", "--no-gso") as program:
        send_through(bridge, 4 << 20)
        counters = program.counters()
    assert max(report["len"] for report in program.reports()) <= 1500
    assert counters["gso"] == 0
    assert counters["refused_verdicts"] == counters["lost"] == 0


def test_a_packet_names_the_bridge_ports_and_the_senders_mac(
    bridge: QueuedBridge, accept_all: Callable[..., Program]
) -> None:
    bridge.steer("-p tcp -m multiport --ports 6002")
    ports = bridge.ports()
    with accept_all("--report") as program, tcp_pair(bridge, 6002):
        program.await_line(lambda line: WEB.mac in line)
        program.stop()
    keys = ("in_dev", "out_dev", "src_mac")
    syn, answer = ([report[key] for key in keys] for report in program.reports()[:2])
    assert syn == [ports["client"], ports["web"], CLIENT.mac]
    assert answer == [ports["web"], ports["client"], WEB.mac]


def test_a_verdicts_mark_is_seen_by_later_hooks_and_an_earlier_mark_by_the_handler(
    bridge: QueuedBridge, accept_all: Callable[..., Program]
) -> None:
    bridge.steer()
    ruleset = """
        table inet before {
            chain c { type filter hook forward priority -160; meta mark set 0x801;
            }
        }
        table inet after {
            chain c { type filter hook forward priority -140;
                meta mark 0x1800401 counter comment "marked"
                meta nfproto ipv4 meta mark != 0x1800401 counter comment "other"
            }
        }
    """
    run_in(bridge.netns, ["nft", "-f", "-"], ruleset)
    try:
        with accept_all("--report", "--mark", str(0x1800401)) as program:
            send_through(bridge, 1 << 20)
            counters = program.counters()
        listing = run_in(bridge.netns, ["nft", "list", "ruleset"])
    finally:
        run_in(bridge.netns, ["nft", "-f", "-"], "delete table inet before; delete table inet after")
    assert {report["mark"] for report in program.reports()} == {0x801}
    seen = {
        name: int(n) for n, name in re.findall(r'counter packets (\d+) bytes \d+ comment "(\w+)"', listing)
    }
    assert seen == {"marked": counters["packets"], "other": 0}


def test_a_datagram_past_the_copy_limit_is_flagged_and_still_passes_whole(
    bridge: QueuedBridge, accept_all: Callable[..., Program]
) -> None:
    # Connection tracking puts the fragments together before the queue: 65,535 bytes with its IP header.
    bridge.steer("-p udp -m conntrack --ctstate NEW,ESTABLISHED")
    with accept_all("--report") as program, udp_pair(bridge) as (client, server):
        for size in (LARGEST_COPY - 28, LARGEST_COPY - 27, 65_507):
            client.send(data := os.urandom(size))
            assert server.recv(65_535) == data
        counters = program.counters()
    reports = [(report["original_len"], report["len"], report["truncated"]) for report in program.reports()]
    assert reports == [
        (LARGEST_COPY, LARGEST_COPY, False),
        (LARGEST_COPY + 1, LARGEST_COPY, True),
        (65_535, LARGEST_COPY, True),
    ]
    assert counters["truncated"] == 2


@pytest.mark.parametrize(("options", "passed"), [((), 0), (("--fail-open",), 49)])
def test_a_full_queue_drops_or_with_fail_open_passes(
    bridge: QueuedBridge, accept_all: Callable[..., Program], options: tuple[str, ...], passed: int
) -> None:
    bridge.steer("-p udp")
    with (
        accept_all("--length", "1", "--stall-ms", "600000", *options),
        udp_pair(bridge) as (client, server),
    ):
        for number in range(50):
            client.send(b"%d" % number)
        # The first one fills the queue and is never answered.
        assert len(datagrams_until_silence(server)) == passed
        assert bridge.kernel_counters()["dropped"] == (0 if options else 49)


@pytest.mark.parametrize(("bypass", "passed"), [(False, 0), (True, 5)])
@pytest.mark.parametrize("end", ["kill -9", "stop"])
def test_without_a_listener_the_rule_decides(
    bridge: QueuedBridge, accept_all: Callable[..., Program], end: str, bypass: bool, passed: int
) -> None:
    bridge.steer("-p udp", bypass=bypass)
    with accept_all() as program, udp_pair(bridge) as (client, server):
        client.send(b"before")
        assert server.recv(100) == b"before"
        if end == "stop":
            program.stop()
        else:
            program.kill()
        assert bridge.kernel_counters() == {}
        for _ in range(5):
            client.send(b"after")
        assert datagrams_until_silence(server) == [b"after"] * passed


def test_a_hung_listener_blocks_even_with_bypass(
    bridge: QueuedBridge, accept_all: Callable[..., Program]
) -> None:
    bridge.steer("-p udp", bypass=True)
    with accept_all() as program, udp_pair(bridge) as (client, server):
        program.process.send_signal(signal.SIGSTOP)
        client.send(b"waits")
        assert datagrams_until_silence(server) == []
        program.process.send_signal(signal.SIGCONT)
        server.settimeout(PATIENCE_S)
        assert server.recv(100) == b"waits"


def test_a_connection_outlives_a_change_of_listeners(
    bridge: QueuedBridge, accept_all: Callable[..., Program]
) -> None:
    bridge.steer()
    with accept_all() as first, tcp_pair(bridge) as (client, server):
        first.stop()
        with accept_all():
            client.sendall(b"x" * 100_000)
            assert read_exactly(server, 100_000) == b"x" * 100_000


def test_a_queue_already_bound_is_refused_by_name(
    bridge: QueuedBridge, accept_all: Callable[..., Program]
) -> None:
    with accept_all() as program:
        error = error_of(bridge, program.argv)
    assert f"queue {bridge.queue}: another process has bound it" in error


def test_binding_without_the_right_is_refused_by_name(
    bridge: QueuedBridge, accept_all: Callable[..., Program], tmp_path: Path
) -> None:
    program = accept_all().argv
    error = error_of(bridge, ["setpriv", "--reuid=65534", "--clear-groups", "--", *program])
    assert f"queue {bridge.queue}: needs CAP_NET_ADMIN" in error


def error_of(bridge: QueuedBridge, argv: list[str]) -> str:
    done = subprocess.run(
        command_in(bridge.netns, argv),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode != 0
    return done.stderr
