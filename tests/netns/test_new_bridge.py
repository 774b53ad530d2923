"""With br-netfilter, a bridge that does not lead its packets to us: it is new, or somebody switched it.

What gets across before it does is for the segment's failure policy.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from appliance import lab, steering
from appliance.explain import Sources, explain
from appliance.lab.wire import Outcome
from appliance.model.flow import parse_flow
from appliance.model.policy import PolicyDocument
from appliance.netns import run_in
from appliance.steering.backend import CALL_SYSCTLS, switch_bridges
from tests.manager_fixture import RunningManager
from tests.netns.control_fixture import Appliance, appliance_in, failure_policy
from tests.netns.kit import BACKEND, Bench, policy
from tests.netns.topology import PATIENCE_S, socket_in

BR_NETFILTER = steering.Backend.BR_NETFILTER

PORT = 6500
RULES = f'alert udp any any -> $HOME_NET {PORT} (content:"evil"; sid:1;)\n'
EVERY_S = 0.001
SETTLED_S = 3.0
"""After that all is as it was."""
UNLED_S = 0.1
"""Of some times that a bridge is made anew the shortest in which it leads nothing to us."""


@pytest.fixture(autouse=True)
def led_one_by_one(running_lab: lab.LabSettings) -> None:
    """Have bridges call nobody for the namespace's sake, as where br_netfilter is loaded for us."""
    backend = BACKEND or steering.choose_backend(running_lab.bridge_netns, None).backend
    if backend is not BR_NETFILTER:
        pytest.skip(f"rules are for {backend.value}, whose bridges call no br_netfilter")
    script = f"for each in {CALL_SYSCTLS}; do echo 0 > $each; done\n"
    run_in(running_lab.bridge_netns, ["sh", "-e"], script)


# In the kernel, with nobody who would switch it on.


@pytest.fixture
def unled(bench: Bench, failure: str) -> Bench:
    """The lab's bridge under a policy that lets all pass, not led to it."""
    bench.apply(policy(inspected=False), closed=failure == "closed")
    assert bench.get().outcome is Outcome.ANSWERED
    switch_bridges([bench.settings.bridge], bench.netns, on=False)
    return bench


@pytest.mark.parametrize("ip_version", [4, 6])
def test_the_failure_policy_decides_and_it_is_counted(unled: Bench, failure: str, ip_version: int) -> None:
    outcome = unled.get(ip_version=ip_version, timeout_s=0.5).outcome
    counted = unled.counters()
    passed, dropped = counted.uninspected["inspector-down"].packets, counted.dropped["inspector-down"].packets
    if failure == "open":
        assert outcome is Outcome.ANSWERED and passed and not dropped
    else:
        assert outcome is Outcome.TIMEOUT and dropped and not passed


def test_explain_names_it(unled: Bench, failure: str, tmp_path: Path) -> None:
    unled.get(timeout_s=0.5)
    (segment,) = unled.inventory.segments
    segment = replace(segment, failure=replace(segment.failure, inspector_down=failure))
    inventory = replace(unled.inventory, segments=(segment,))
    sources = Sources(tmp_path, tmp_path / "audit.jsonl", inventory, PolicyDocument(0), unled.netns)
    found = explain(sources, parse_flow(f"{lab.CLIENT.ipv4} -> {lab.WEB.ipv4}"), time.time())
    said = [cause.detail for cause in found.causes if "did not lead" in cause.detail and not cause.is_sure]
    assert len(said) == (failure == "closed")


def test_an_operators_bypass_holds(unled: Bench) -> None:
    steering.bypass("web", 60, unled.netns)
    assert unled.get().outcome is Outcome.ANSWERED
    steering.bypass("web", 0, unled.netns)


def test_what_is_no_ip_passes(unled: Bench) -> None:
    client = unled.guest(lab.CLIENT)
    run_in(client, ["ip", "neigh", "flush", "all"])
    unled.get(timeout_s=0.5)
    (neighbour,) = json.loads(run_in(client, ["ip", "-j", "neigh", "show", "to", lab.WEB.ipv4]))
    assert neighbour["lladdr"] == lab.WEB.mac


def test_nothing_is_cut_once_our_rules_are_taken_away(unled: Bench) -> None:
    steering.teardown(unled.netns)
    assert unled.get().outcome is Outcome.ANSWERED


def test_a_bridge_of_others_is_left_alone_whatever_they_mark(bench: Bench) -> None:
    bench.apply(policy(), closed=True)
    ends = [f"skt-other-{os.getpid()}-{number}" for number in (1, 2)]
    mark = "table bridge stranger { chain c { type filter hook forward priority 0; meta mark set 0x401; }; }"
    try:
        run_in(bench.netns, ["ip", "link", "add", "other0", "up", "type", "bridge", "forward_delay", "0"])
        for number, end in enumerate(ends, 1):
            run_in(None, ["ip", "netns", "add", end])
            peer = ["peer", "name", "eth0", "netns", end]
            run_in(bench.netns, ["ip", "link", "add", f"other{number}", "type", "veth", *peer])
            run_in(bench.netns, ["ip", "link", "set", f"other{number}", "master", "other0", "up"])
            run_in(end, ["ip", "address", "add", f"192.0.2.{number}/24", "dev", "eth0"])
            run_in(end, ["ip", "link", "set", "eth0", "up"])
        run_in(bench.netns, ["nft", mark])
        with socket_in(ends[1], socket.SOCK_DGRAM) as hears, socket_in(ends[0], socket.SOCK_DGRAM) as says:
            hears.bind(("", PORT))
            hears.settimeout(PATIENCE_S)
            says.sendto(b"heard", ("192.0.2.2", PORT))
            assert hears.recv(100) == b"heard"
    finally:
        run_in(bench.netns, ["sh", "-c", "ip link del other0; nft delete table bridge stranger; :"])
        for end in ends:
            run_in(None, ["sh", "-c", f"ip netns del {end}; :"])


# With all that belongs to an appliance.


@pytest.fixture
def appliance(
    running_lab: lab.LabSettings, manager: RunningManager, tmp_path: Path, failure: str
) -> Iterator[Appliance]:
    """One that lets no datagram that is evil pass."""
    pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)
    with (
        failure_policy(running_lab, inspector_down=failure),
        appliance_in(tmp_path, running_lab, manager, backend=BR_NETFILTER.value) as made,
    ):
        made.start()
        made.in_step()
        made.push(RULES)
        made.assign("prevent")
        yield made


def test_a_bridge_that_is_made_anew_is_led_at_once(appliance: Appliance, failure: str) -> None:
    spans = []
    with sending(appliance.settings, b"evil") as arrived:
        for _ in range(3):
            remake_bridge(appliance.settings)
            time.sleep(SETTLED_S)
            spans.append(arrived[-1] - arrived[0] if arrived else 0.0)
            print(failure, len(arrived), "datagrams in", spans[-1])
            if failure == "closed":
                assert not arrived
            arrived.clear()
    assert min(spans) < UNLED_S
    with sending(appliance.settings, b"fine") as arrived:
        time.sleep(0.5)
    assert arrived
    assert not appliance.noted("rules-changed")


def remake_bridge(settings: lab.LabSettings) -> None:
    netns, bridge = settings.bridge_netns, settings.bridge
    run_in(netns, ["ip", "link", "del", bridge])
    commands = f"link add {bridge} type bridge forward_delay 0 mcast_snooping 0\nlink set {bridge} up\n"
    for guest in lab.GUESTS:
        commands += f"link set {guest.tap} master {bridge}\n"
    run_in(netns, ["ip", "-b", "-"], commands)


@contextlib.contextmanager
def sending(settings: lab.LabSettings, what: bytes) -> Iterator[list[float]]:
    """Send datagrams from client to web all the time; the list holds when each arrived."""
    arrived: list[float] = []
    over = threading.Event()
    with (
        socket_in(settings.guest_netns(lab.WEB), socket.SOCK_DGRAM) as web,
        socket_in(settings.guest_netns(lab.CLIENT), socket.SOCK_DGRAM) as client,
    ):
        web.bind(("", PORT))
        web.settimeout(0.05)
        client.connect((lab.WEB.ipv4, PORT))

        def send() -> None:
            while not over.wait(EVERY_S):
                with contextlib.suppress(OSError):  # what is dropped may be answered
                    client.send(what)

        def hear() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    web.recv(100)
                    arrived.append(time.monotonic())

        threads = [threading.Thread(target=each) for each in (send, hear)]
        for each in threads:
            each.start()
        try:
            yield arrived
        finally:
            over.set()
            for each in threads:
                each.join()
