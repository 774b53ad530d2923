"""Control with a real manager, kernel and engine: policies go live whole or not at all, and outlive all."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import lab
from appliance.lab.wire import Outcome
from tests.manager_fixture import RunningManager
from tests.netns.control_fixture import NAME, ROOT, Appliance, appliance_in, wait_for

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

RULES = (
    'alert http any any -> any any (msg:"evil"; flow:to_server,established; http.uri; content:"evil"; '
    "sid:1; rev:1;)\n"
)
SLOWLY = """\
import pathlib, sys, time
class Slow:
    def find_spec(name, path=None, target=None):
        if name == "httpx":
            time.sleep(10)
            pathlib.Path({imported!r}).touch()
sys.meta_path.insert(0, Slow)
"""


@pytest.fixture(scope="module")
def appliance(
    manager: RunningManager, running_lab: lab.LabSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Appliance]:
    with appliance_in(tmp_path_factory.mktemp("appliance"), running_lab, manager) as made:
        made.start()
        made.in_step()
        made.push(RULES)
        yield made


def inspector_pid(appliance: Appliance) -> int:
    return int(
        wait_for("the inspector", lambda: appliance.is_up() and appliance.status()["inspector"]["pid"])
    )


def spooled(appliance: Appliance, text: str) -> int:
    """Return how many records on disk hold the text."""
    segments = (appliance.state / "spool").glob("inspector-*/*.eve")
    return sum(line.count(text) > 0 for segment in segments for line in segment.read_text().splitlines())


def test_modes_do_what_they_say_on_the_wire(appliance: Appliance) -> None:
    appliance.assign("off")
    assert appliance.send("/evil") is Outcome.ANSWERED
    appliance.assign("detect")
    assert appliance.send("/evil") is Outcome.ANSWERED
    appliance.assign("prevent")
    assert appliance.send("/evil") is not Outcome.ANSWERED
    assert appliance.send("/fine") is Outcome.ANSWERED


def test_what_another_systems_users_own_on_the_data_disk_is_the_inspectors_again(
    appliance: Appliance,
) -> None:
    """Of two images, or after a restore, the same user may have another number."""
    appliance.assign("prevent")
    version = appliance.in_step()
    appliance.end()
    for name in ("live", "rule-sets", "spool"):
        for path in (appliance.state / name).rglob("*"):
            os.chown(path, 54321, 54321, follow_symlinks=False)
            if not path.is_symlink():
                path.chmod(0o700 if path.is_dir() else 0o600)
    before = spooled(appliance, "/evil?another")
    appliance.start()
    assert appliance.status()["live_version"] == version, appliance.log()
    assert appliance.assign("detect") > version  # read without a restart's rights
    assert appliance.send("/evil?another") is Outcome.ANSWERED
    wait_for("the alert on disk", lambda: spooled(appliance, "/evil?another") > before)


def test_alerts_reach_the_manager_with_guest_and_mode(appliance: Appliance, manager: RunningManager) -> None:
    appliance.assign("prevent")
    appliance.send("/evil?alert")

    def alert() -> object:
        events = manager.operator.get("/events", params={"sid": 1, "guest": "web"}).json()["events"]
        blocked = [e["eve"] for e in events if e["eve"].get("alert", {}).get("action") == "blocked"]
        return blocked and blocked[0]

    found = wait_for("the alert at the manager", alert)
    assert found["sekisho"]["guest"] == "web"
    assert found["sekisho"]["mode"] == "prevent"


def test_policy_that_the_kernel_cannot_take_is_refused_and_the_live_one_stays(
    appliance: Appliance, manager: RunningManager
) -> None:
    live = appliance.assign("prevent")
    broken = {"rules": [{"action": "deny", "direction": "in", "peer": "guest:nobody"}]}
    answer = manager.operator.put(f"/appliances/{NAME}/guests/web/firewall", json=broken)
    if answer.is_success:
        state = wait_for("the refusal", lambda: appliance.reported().get("error") and appliance.reported())
        assert state["live_version"] == live
        assert "nobody" in state["error"]
        assert appliance.send("/evil") is not Outcome.ANSWERED
        manager.operator.delete(f"/appliances/{NAME}/guests/web/firewall").raise_for_status()
        assert appliance.in_step() > live
        assert wait_for("the error to be gone", lambda: appliance.reported()["error"] is None)
    else:
        assert "nobody" in answer.text


def test_a_broken_guests_yaml_is_told_until_it_is_mended(appliance: Appliance) -> None:
    appliance.assign("prevent")
    guests = Path(appliance.settings.guests_yaml)
    before = guests.read_text()
    try:
        guests.write_text(before + "nonsense: true\n")
        wait_for("the fault to be told", lambda: "nonsense" in (appliance.reported()["error"] or ""))
        assert appliance.send("/evil") is not Outcome.ANSWERED
    finally:
        guests.write_text(before)
    wait_for("the fault to be gone", lambda: appliance.reported()["error"] is None)


def test_killed_inspector_is_started_again_with_the_live_policy(appliance: Appliance) -> None:
    appliance.assign("prevent")
    old = inspector_pid(appliance)
    os.kill(old, signal.SIGKILL)
    wait_for("another inspector", lambda: appliance.is_up() and inspector_pid(appliance) != old)
    assert appliance.send("/evil") is not Outcome.ANSWERED
    assert appliance.status()["inspector"]["restarts"] >= 1


def test_inspector_has_no_rights_to_lose(appliance: Appliance) -> None:
    pid = inspector_pid(appliance)
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    assert "0" not in status["Uid"].split()
    assert int(status["CapEff"], 16) == 1 << 12, "CAP_NET_ADMIN alone: verdicts need it"
    assert status["NoNewPrivs"].strip() == "1"


def test_inspector_goes_before_control_when_memory_runs_out(appliance: Appliance) -> None:
    assert appliance.process is not None
    inspector, control = (
        int(Path(f"/proc/{pid}/oom_score_adj").read_text())
        for pid in (inspector_pid(appliance), appliance.process.pid)
    )
    assert inspector > control


def test_guests_pass_uninspected_while_bypassed_and_not_after(appliance: Appliance) -> None:
    appliance.assign("prevent")
    assert appliance.cli("bypass", "--guest", "web", "--for", "1h").returncode == 0
    status = appliance.cli("status")
    assert status.returncode == 1
    assert "BYPASS" in status.stdout
    assert appliance.cli("bypass", "--guest", "client", "--for", "1h").returncode == 0
    assert appliance.send("/evil") is Outcome.ANSWERED
    assert appliance.cli("bypass", "--off").returncode == 0
    assert appliance.send("/evil") is not Outcome.ANSWERED
    audit = (appliance.state / "audit.jsonl").read_text()
    assert [line.count("bypass-o") for line in audit.splitlines()] == [1, 1, 1]


def test_boots_without_its_manager_and_protects_with_the_last_policy(
    appliance: Appliance, manager: RunningManager
) -> None:
    live = appliance.assign("prevent")
    manager.stop()
    try:
        appliance.end(signal.SIGKILL)
        appliance.start()
        assert appliance.status()["live_version"] == live
        assert appliance.send("/evil") is not Outcome.ANSWERED
        assert appliance.send("/fine") is Outcome.ANSWERED
    finally:
        manager.restart()
    assert appliance.in_step() == live


def test_events_of_the_time_without_a_manager_arrive_once_each(
    appliance: Appliance, manager: RunningManager
) -> None:
    appliance.assign("detect")
    manager.stop()
    for number in range(20):
        assert appliance.send(f"/evil?away-{number}") is Outcome.ANSWERED
    # What the inspector holds in memory (50 ms of events) dies with it; what it wrote must not.
    wait_for("the events on disk", lambda: spooled(appliance, "away-") == 40)
    appliance.end(signal.SIGKILL)
    appliance.start()
    manager.restart()

    def away() -> list[tuple[str, str]]:
        page = manager.operator.get("/events", params={"sid": 1, "limit": 1000}).json()["events"]
        found = [(e["eve"].get("http", {}).get("url", ""), e["eve"]["sekisho"]["guest"]) for e in page]
        return sorted((url, guest) for url, guest in found if "away" in url)

    # Both guests hold the signature, and it fits both of them: one alert each.
    wanted = sorted((f"/evil?away-{n}", guest) for n in range(20) for guest in ("client", "web"))
    wait_for("all events", lambda: len(away()) >= len(wanted))
    assert away() == wanted


def test_protection_does_not_wait_for_what_speaks_to_the_manager_to_be_imported(
    appliance: Appliance, tmp_path: Path
) -> None:
    imported = tmp_path / "imported"
    (tmp_path / "sitecustomize.py").write_text(SLOWLY.format(imported=str(imported)))
    appliance.end()
    appliance.start(PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert not imported.exists()
    wait_for("it speaks to the manager", lambda: appliance.status()["manager"] == "connected")
    assert imported.exists()
    appliance.end()
    appliance.start()


def test_control_that_is_killed_takes_its_inspector_along(appliance: Appliance) -> None:
    pid = inspector_pid(appliance)
    appliance.end(signal.SIGKILL)
    wait_for("the inspector's end", lambda: not Path(f"/proc/{pid}").exists())
    appliance.start()


def test_sigterm_takes_the_rules_away(appliance: Appliance) -> None:
    from appliance import steering

    assert steering.read_state(appliance.settings.bridge_netns).tables
    assert appliance.end() == 0
    state = steering.read_state(appliance.settings.bridge_netns)
    assert (dict(state.tables), state.jumps) == ({}, (0, 0))
    assert appliance.send("/evil") is Outcome.ANSWERED
