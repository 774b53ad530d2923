"""`sekisho explain` names what dropped a packet, whatever it was; and what else an operator asks at night."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from appliance import lab
from appliance.cli.main import main
from appliance.lab.wire import Outcome, connect
from appliance.netns import entered, run_in
from tests.manager_fixture import RunningManager
from tests.netns.control_fixture import NAME, RULES, Appliance, appliance_in, failure_policy, wait_for
from tests.netns.kit import BUFFER_BYTES, QUEUE_LENGTH, SO_SNDBUFFORCE, spooled

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

SINK_PORT, DENIED_PORT = 6100, 6200
FOREIGN = "10.99.0.77"
LOOKED_AT = 'alert udp any any -> $HOME_NET 6100 (msg:"why datagrams are queued"; content:"unsent"; sid:2;)\n'
DENYING = {"rules": [{"action": "deny", "direction": "in", "ports": str(DENIED_PORT), "name": "no backups"}]}
TO_WEB = f"{lab.CLIENT.ipv4} -> {lab.WEB.ipv4}"


@pytest.fixture(scope="module")
def appliance(
    manager: RunningManager, running_lab: lab.LabSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Appliance]:
    directory = tmp_path_factory.mktemp("appliance")
    metrics = {"listen": str(directory / "metrics.sock")}
    closed = {"inspector_down": "closed", "queue_full": "closed"}
    with (
        failure_policy(running_lab, **closed),
        appliance_in(directory, running_lab, manager, metrics=metrics) as made,
    ):
        made.start()
        made.in_step()
        made.push(RULES + LOOKED_AT)
        guests = f"/appliances/{NAME}/guests"
        manager.operator.put(f"{guests}/web/firewall", json=DENYING).raise_for_status()
        enforced = {"mode": "enforce", "allowed": []}
        manager.operator.put(f"{guests}/client/guard", json=enforced).raise_for_status()
        made.assign("prevent")
        yield made


def client(appliance: Appliance) -> str:
    return appliance.settings.guest_netns(lab.CLIENT)


def sekisho(appliance: Appliance, *arguments: str) -> Result:
    """Run a command in this process: to start an interpreter for each takes longer than what they do."""
    result = CliRunner().invoke(main, [*arguments, "--config", str(appliance.config)])
    assert result.exit_code in (0, 1), result.output
    print(result.stdout)
    return result


def explained(appliance: Appliance, flow: str, *, dropped: bool = True) -> str:
    """Return what the command says, once it says that packets were dropped, or that they were not."""

    def said() -> str | None:
        result = sekisho(appliance, "explain", flow)
        assert not result.stderr, result.stderr
        return result.stdout if (result.exit_code == 0) is dropped else None

    return str(wait_for(f"an explanation of {flow}", said))


def metric(appliance: Appliance, start: str, label: str = "") -> float:
    """Return the sum of the samples that begin so and have the label, as Prometheus would read them."""
    transport = httpx.HTTPTransport(uds=str(appliance.directory / "metrics.sock"))
    with httpx.Client(transport=transport) as http:
        lines = http.get("http://appliance/metrics").raise_for_status().text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(start) and label in line)


def spoken(appliance: Appliance, address: str, port: int, *, source: str = "") -> None:
    """Have the client send a datagram, from an address of ours or its own."""
    with (
        entered(client(appliance)),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        if source:
            sender.bind((source, 0))
        sender.sendto(b"datagram", (address, port))


def test_what_was_not_dropped_is_said_to_pass(appliance: Appliance) -> None:
    assert appliance.send("/fine") is Outcome.ANSWERED
    said = explained(appliance, TO_WEB, dropped=False)
    assert "not dropped by Sekisho" in said
    assert f"{lab.WEB.ipv4}:{lab.RAW_PORT} tcp" in said


def test_a_signatures_drop_names_it_and_how_to_override_it(appliance: Appliance) -> None:
    assert appliance.send("/evil") is not Outcome.ANSWERED
    said = explained(appliance, f"{TO_WEB}:{lab.RAW_PORT}")
    assert "signature 1:1:0 “evil”" in said
    assert "for guest web in mode prevent" in said
    assert f'{{"sid": 1, "mode": "detect", "peer": "{lab.CLIENT.ipv4}"' in said


def test_a_flow_id_of_an_event_is_a_flow(appliance: Appliance) -> None:
    appliance.send("/evil")

    def alerts() -> list[str]:
        events = spooled(appliance.state / "spool", "inspector-*")
        return [str(event["flow_id"]) for event in events if event["event_type"] == "alert"]

    assert "“evil”" in explained(appliance, wait_for("an alert", alerts)[0])


def test_a_firewall_rules_drop_names_the_rule(appliance: Appliance) -> None:
    with pytest.raises(OSError):
        connect(client(appliance), lab.WEB.ipv4, DENIED_PORT, 0.3)
    said = explained(appliance, f"{TO_WEB}:{DENIED_PORT}")
    assert "guest web's firewall: rule “no backups”" in said
    assert "PUT /api/v1/guests/web/firewall" in said


def test_the_guards_drop_names_guest_and_address(appliance: Appliance) -> None:
    netns = client(appliance)
    device = json.loads(run_in(netns, ["ip", "-j", "addr", "show", "to", lab.CLIENT.ipv4]))[0]["ifname"]
    run_in(netns, ["ip", "addr", "add", f"{FOREIGN}/24", "dev", device])
    try:
        spoken(appliance, lab.WEB.ipv4, SINK_PORT, source=FOREIGN)
        said = explained(appliance, f"{FOREIGN} -> {lab.WEB.ipv4}")
    finally:
        run_in(netns, ["ip", "addr", "del", f"{FOREIGN}/24", "dev", device])
    assert "the guard of guest client (mode enforce)" in said
    assert "sekisho guard promote client" in said


@contextlib.contextmanager
def standing_still(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def test_the_failure_policys_drop_is_told_while_the_inspector_is_down(appliance: Appliance) -> None:
    assert appliance.process is not None
    pid = appliance.inspector()
    with standing_still(appliance.process.pid):
        os.kill(pid, signal.SIGKILL)
        flow = f"{TO_WEB}:{SINK_PORT}"

        def told() -> bool:
            spoken(appliance, lab.WEB.ipv4, SINK_PORT)
            return sekisho(appliance, "explain", flow).exit_code == 0

        wait_for("the failure policy to be told", told)
        said = explained(appliance, flow)
    assert "the failure policy inspector_down: closed (segment lab)" in said
    wait_for("another inspector", lambda: appliance.inspector() != pid and appliance.is_up())


def test_a_full_queue_is_named_with_its_time_though_not_whose_packets_it_cost(appliance: Appliance) -> None:
    assert appliance.process is not None
    held = [appliance.process.pid, appliance.watchdog(), appliance.inspector()]
    with standing_still(*held), speaker(appliance) as client_socket:
        # Always the one worker: addresses and ports stay.
        for number in range(2 * QUEUE_LENGTH):
            client_socket.sendto(b"%d" % number, (lab.WEB.ipv4, SINK_PORT))
    wait_for("it to be noted", lambda: appliance.noted("queue-full"))
    said = explained(appliance, f"{lab.CLIENT.ipv4}:9 -> {lab.WEB.ipv4}:9", dropped=False)
    assert "the failure policy queue_full: closed" in said
    overflow = 'sekisho_queue_overflow_packets_total{full="queue"'
    wait_for("it to be counted", lambda: metric(appliance, overflow))


def speaker(appliance: Appliance) -> socket.socket:
    with entered(client(appliance)):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES)
    sender.bind(("", 7777))
    return sender


def test_midstream_connections_are_listed_and_reset(appliance: Appliance) -> None:
    bridge = appliance.settings.bridge_netns
    with contextlib.closing(connect(client(appliance), lab.WEB.ipv4, lab.RAW_PORT, 2.0)) as connection:
        run_in(bridge, ["conntrack", "-F"])
        connection.sendall(b"GET /fine HTTP/1.1\r\n")
        ends = f"{lab.CLIENT.ipv4}:{connection.getsockname()[1]} -> {lab.WEB.ipv4}:{lab.RAW_PORT}"
        wait_for("it to be listed", lambda: ends in sekisho(appliance, "flows", "--midstream").stdout)
        dry = sekisho(appliance, "flows", "reset", "guest:web", "--midstream", "--dry-run")
        assert ends in dry.stdout
        assert sekisho(appliance, "flows", "reset", ends).exit_code == 0
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        assert "with sekisho flows reset" in explained(appliance, ends)


def test_metrics_say_what_passed_what_was_dropped_and_how_long_it_took(appliance: Appliance) -> None:
    appliance.send("/evil")
    wait_for("an alert", lambda: metric(appliance, 'sekisho_alerts_total{guest="web"}'))
    wait_for("a drop", lambda: metric(appliance, 'sekisho_dropped_packets_total{by="inspector",guest="web"}'))
    assert metric(appliance, "sekisho_policy_version") == appliance.status()["live_version"] > 0
    assert metric(appliance, 'sekisho_process_restarts_total{process="inspector"}') >= 1
    assert metric(appliance, "sekisho_firewall_packets_total{") >= 1
    # Alerts and drops are of earlier inspectors too, times of this one alone.
    for stage in ("kernel-queue", "inspection", "verdict"):
        took = ("sekisho_stage_seconds_count{", f'stage="{stage}"')
        wait_for(stage, lambda took=took: metric(appliance, *took))


def test_status_shows_rates_until_interrupted(appliance: Appliance) -> None:
    config = str(appliance.config)
    root = Path(__file__).resolve().parents[2]
    watching = subprocess.Popen(
        [sys.executable, "-m", "appliance.cli", "status", "--watch", "--every", "1s", "--config", config],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)},
        # Whoever runs the tests in the background has the signal ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert watching.stdout is not None
    seen = ""
    while "bytes /s" not in seen:
        line = watching.stdout.readline()
        assert line, seen
        seen += line
    watching.send_signal(signal.SIGINT)
    seen += watching.communicate(timeout=30)[0]
    assert watching.returncode == 0
    assert "waited p50/p99" in seen
    print(seen)
