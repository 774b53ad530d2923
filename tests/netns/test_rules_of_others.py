"""Somebody else's firewall takes our rules away: it is noticed, told and put right, and theirs stay."""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance import lab, steering
from appliance.control import network as control_network
from appliance.control.network import Network
from appliance.control.watchdog_process import heart_sockets
from appliance.firewall.nft import Family
from appliance.hypervisor import load_guests
from appliance.lab.wire import connect
from appliance.netns import command_in, entered, run_in
from appliance.steering.backend import TIMESTAMP_SYSCTL, switch_bridges
from appliance.steering.failure import failure_policy_decides
from appliance.steering.standing import Standing
from appliance.watchdog import WatchdogSettings
from tests.manager_fixture import RunningManager
from tests.netns.control_fixture import ROOT, Appliance, appliance_in, failure_policy, runs, wait_for
from tests.netns.kit import BACKEND, Bench, policy

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

Meddle = Callable[[str], None]
THEIR_RULE = ("FORWARD", "-s", "192.0.2.1", "-j", "ACCEPT")
FIREWALLD = "flush ruleset\ntable inet firewalld {\nchain c {\ntype filter hook forward priority 10\n}\n}\n"

CHOSEN = {"backend": BACKEND.value} if BACKEND else {}


def flush(netns: str) -> None:
    run_in(netns, ["nft", "flush", "ruleset"])


def reload_another_firewall(netns: str) -> None:
    run_in(netns, ["nft", "-f", "-"], FIREWALLD)


def flush_a_chain(netns: str) -> None:
    run_in(netns, ["nft", "flush", "chain", "bridge", "sekisho", "guard"])


def empty_a_set(netns: str) -> None:
    run_in(netns, ["nft", "flush", "set", "bridge", "sekisho", "judged"])


def add_a_rule(netns: str) -> None:
    run_in(netns, ["nft", "insert", "rule", "bridge", "sekisho", "marks", "accept"])


def restore_iptables(netns: str) -> None:
    run_in(netns, ["iptables-restore"], "*mangle\nCOMMIT\n")


def delete_the_jump(netns: str) -> None:
    run_in(netns, ["ip6tables", "-t", "mangle", "-D", "FORWARD", "-j", "SEKISHO"])


def switch_br_netfilter_off(netns: str) -> None:
    bridges = run_in(netns, ["ip", "-o", "link", "show", "type", "bridge"]).splitlines()
    switch_bridges([line.split(":")[1].strip() for line in bridges], netns, on=False)


ANYWHERE: list[Meddle] = [flush, reload_another_firewall, flush_a_chain, empty_a_set, add_a_rule]
BR_NETFILTER: list[Meddle] = [restore_iptables, delete_the_jump, switch_br_netfilter_off]


@pytest.fixture
def appliance(running_lab: lab.LabSettings, tmp_path: Path) -> Iterator[Appliance]:
    with appliance_in(tmp_path / "appliance", running_lab, None, **CHOSEN) as made:
        made.start()
        yield made


def notices(appliance: Appliance, name: str) -> list[dict[str, str]]:
    lanes = (appliance.state / "spool").glob("control-*/*.eve")
    events = [json.loads(line) for lane in lanes for line in lane.read_text().splitlines()]
    return [event["engine"] for event in events if event["sekisho"]["notice"] == name]


def rules(netns: str) -> list[str]:
    """Our rules as they stand, without counters."""
    families = ("bridge", "inet")
    ours = [line for line in run_in(netns, ["nft", "list", "tables"]).splitlines() if "sekisho" in line]
    tables = [
        run_in(netns, ["nft", "-s", "list", "table", family, "sekisho"])
        for family in families
        if f"table {family} sekisho" in ours
    ]
    return tables + [run_in(netns, [program, "-t", "mangle", "-S"]) for program in ("iptables", "ip6tables")]


def test_an_appliance_puts_its_rules_back_and_says_so(appliance: Appliance) -> None:
    netns = appliance.settings.bridge_netns
    before = run_in(netns, ["nft", "list", "tables"]).splitlines()
    run_in(netns, ["nft", "-f", "-"], FIREWALLD)
    wait_for("its event", lambda: notices(appliance, "rules-restored"))
    (told,) = notices(appliance, "rules-changed")
    assert "table bridge sekisho was taken away" in told["message"]
    after = run_in(netns, ["nft", "list", "tables"]).splitlines()
    assert {*before, "table inet firewalld"} == set(after)
    run_in(netns, ["nft", "delete", "table", "inet", "firewalld"])
    wait_for("its status", lambda: appliance.status()["steering"]["repairs"] == 1)
    assert "rules put back 1 times" in appliance.cli("status").stdout
    assert not notices(appliance, "control-error")


POUR_PORT, POURED = 6300, b"x" * 1024
LOOKED_AT = f'alert tcp any any -> $HOME_NET {POUR_PORT} (msg:"why it is queued"; content:"unsent"; sid:2;)\n'


@contextlib.contextmanager
def pouring(settings: lab.LabSettings) -> Iterator[Callable[[], int]]:
    """Keep one connection of the client's to web busy; give how many bytes web has received."""
    over, received = threading.Event(), 0
    with entered(settings.guest_netns(lab.WEB)):
        listener = socket.create_server((lab.WEB.ipv4, POUR_PORT))

    def read() -> None:
        nonlocal received
        stream, _ = listener.accept()
        with stream:
            while piece := stream.recv(65_536):
                received += len(piece)

    def write(stream: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not over.wait(0.003):
                stream.sendall(POURED)

    with listener:
        reading = threading.Thread(target=read)
        reading.start()
        with connect(settings.guest_netns(lab.CLIENT), lab.WEB.ipv4, POUR_PORT, 5.0) as connection:
            writing = threading.Thread(target=write, args=(connection,))
            writing.start()
            try:
                yield lambda: received
            finally:
                over.set()
                # one that stalled would never take the rest
                connection.shutdown(socket.SHUT_RDWR)
                writing.join()
        reading.join()


@pytest.mark.parametrize("failure", ["open", "closed"])
def test_a_connection_goes_on_behind_what_passed_without_our_rules(
    running_lab: lab.LabSettings, manager: RunningManager, tmp_path: Path, failure: str
) -> None:
    with (
        failure_policy(running_lab, inspector_down=failure),
        appliance_in(tmp_path / "appliance", running_lab, manager, **CHOSEN) as appliance,
    ):
        appliance.start()
        appliance.in_step()
        appliance.push(LOOKED_AT)
        appliance.assign("prevent")
        with pouring(running_lab) as received:
            for times in (1, 2):
                wait_for("bytes", partial(is_past, received, received() + 100_000))
                flush(running_lab.bridge_netns)
                wait_for("the rules", lambda times=times: len(notices(appliance, "rules-restored")) >= times)
                wait_for("it to go on", partial(is_past, received, received() + (1 << 20)))


def is_past(received: Callable[[], int], count: int) -> bool:
    return received() > count


def test_status_says_which_back_end_and_why(appliance: Appliance) -> None:
    said = appliance.cli("status").stdout
    (line,) = [line for line in said.splitlines() if line.startswith("steering")]
    choice = steering.choose_backend(appliance.settings.bridge_netns, BACKEND)
    assert line == f"steering   {choice.backend.value}: {choice.why}"


@pytest.fixture
def network(bench: Bench) -> Network:
    """The appliance's network with a policy that is live."""
    network = Network(bench.netns, steering.Queues(), steering.choose_backend(bench.netns, BACKEND))
    inventory = load_guests(bench.settings.guests_yaml)
    network.apply(policy(), inventory, network.links(inventory), {}, 1)
    return network


def meddlings(network: Network) -> list[Meddle]:
    on_br_netfilter = network.choice.backend is steering.Backend.BR_NETFILTER
    return [*ANYWHERE, *(BR_NETFILTER if on_br_netfilter else [])]


def test_every_way_to_take_rules_away_is_seen_and_put_right(bench: Bench, network: Network) -> None:
    inventory = load_guests(bench.settings.guests_yaml)
    for meddle in meddlings(network):
        assert network.changes_by_others() == (), meddle.__name__
        before = rules(bench.netns)
        meddle(bench.netns)
        assert network.changes_by_others(), meddle.__name__
        network.apply(policy(), inventory, network.links(inventory), {}, 1)
        run_in(bench.netns, ["sh", "-c", "nft delete table inet firewalld 2>&1 || true"])
        assert rules(bench.netns) == before, meddle.__name__


def test_a_change_at_the_moment_of_our_own_is_not_taken_for_ours(
    bench: Bench, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory = load_guests(bench.settings.guests_yaml)
    before = rules(bench.netns)
    look, meddles = control_network.standing_rules, [add_a_rule]

    def looked_at_a_moment_too_late(*arguments: Any) -> Standing:
        if meddles:
            meddles.pop()(bench.netns)
        return look(*arguments)

    monkeypatch.setattr(control_network, "standing_rules", looked_at_a_moment_too_late)
    network.apply(policy(), inventory, network.links(inventory), {}, 1)
    assert not meddles
    assert network.changes_by_others() or rules(bench.netns) == before


def test_what_was_off_before_us_is_off_after_us_whoever_flushed_our_rules(
    bench: Bench, network: Network
) -> None:
    inventory = load_guests(bench.settings.guests_yaml)
    flush(bench.netns)
    network.apply(policy(), inventory, network.links(inventory), {}, 1)
    network.remove(inventory)
    assert run_in(bench.netns, ["cat", str(TIMESTAMP_SYSCTL)]) == "0\n"


def test_an_inspector_that_hangs_is_still_stepped_round_when_the_rules_are_back(
    bench: Bench, network: Network
) -> None:
    family, inventory = network.choice.family, load_guests(bench.settings.guests_yaml)

    def decides() -> bool | None:
        return failure_policy_decides(bench.netns, family)

    with watchdog_in(bench.netns, family) as speaks, hung_inspector(speaks) as pid:
        wait_for("the failure policy", decides)
        wait_for("its end", lambda: not runs(pid))
        flush(bench.netns)
        assert decides() is None
        network.apply(policy(), inventory, network.links(inventory), {}, 1)
        wait_for("the failure policy again", decides)
        with inspector_that_lives(speaks):
            wait_for("the inspector to decide", lambda: decides() is False)


@contextlib.contextmanager
def watchdog_in(netns: str, family: Family) -> Iterator[socket.socket]:
    """Run the real watchdog; give the socket that workers speak on."""
    heard, spoken = heart_sockets()
    with heard, spoken:
        settings = WatchdogSettings(heart=heard.fileno(), parent_pid=os.getpid(), family=family)
        argv = [sys.executable, "-m", "appliance.watchdog", msgspec.json.encode(settings).decode()]
        command = command_in(netns, argv)
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, pass_fds=(heard.fileno(),), cwd=ROOT
        ) as process:
            assert process.stdout is not None
            assert b"alive" in process.stdout.readline()
            try:
                yield spoken
            finally:
                process.kill()


SPEAK = """\
import os, sys, time
for _ in range(int(sys.argv[2])):
    os.write(int(sys.argv[1]), bytes((0, 1)))
    time.sleep(0.1)
time.sleep(600)
"""


@contextlib.contextmanager
def hung_inspector(speaks: socket.socket, beats: int = 2) -> Iterator[int]:
    """Run what says so often that its only worker lives, and then nothing; give its pid."""
    descriptor = speaks.fileno()
    command = [sys.executable, "-c", SPEAK, str(descriptor), str(beats)]
    with subprocess.Popen(command, pass_fds=(descriptor,)) as process:
        try:
            yield process.pid
        finally:
            process.kill()


inspector_that_lives = partial(hung_inspector, beats=1_000)


def test_what_others_do_to_their_own_rules_is_none_of_ours(bench: Bench, network: Network) -> None:
    run_in(bench.netns, ["nft", "add", "table", "inet", "stranger"])
    run_in(bench.netns, ["iptables", "-t", "mangle", "-I", *THEIR_RULE])
    steering.bypass("web", 60, bench.netns)
    bench.get()
    assert network.changes_by_others() == ()
    run_in(bench.netns, ["iptables", "-t", "mangle", "-D", *THEIR_RULE])
    run_in(bench.netns, ["nft", "delete", "table", "inet", "stranger"])


def test_a_change_rings_and_silence_does_not(bench: Bench, network: Network) -> None:
    with network.alarm() as alarm:
        assert not rings(alarm.fileno(), 0)
        run_in(bench.netns, ["nft", "add", "table", "inet", "stranger"])
        assert rings(alarm.fileno(), 20_000)
        alarm.hush()
        assert not rings(alarm.fileno(), 0)
        run_in(bench.netns, ["iptables", "-t", "mangle", "-I", *THEIR_RULE])
        assert rings(alarm.fileno(), 20_000)
    run_in(bench.netns, ["iptables", "-t", "mangle", "-D", *THEIR_RULE])
    run_in(bench.netns, ["nft", "delete", "table", "inet", "stranger"])


def rings(descriptor: int, timeout_ms: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_ms))
