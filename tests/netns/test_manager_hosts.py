"""The manager asks a host's helper: manager, helper and appliance are the real programs, over TLS.

Topology pair, drawn in test_follow_helper.py; the manager runs in the host's namespace, where the helper
listens, and so does what of this test speaks to it.
"""

import json
import re
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.netns import entered, run_in
from manager_api import tls
from manager_api.hosts.links import AT_ONCE
from manager_api.settings import Settings
from tests.manager_fixture import RunningManager, running_manager
from tests.netns.follow_kit import HOST, MACS, SERVED_AT, Rig, pair_rig, pair_standing, reaches, wait_for

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

EVERYTHING = ("guests", "events", "protect", "unprotect")
LOST_WITHIN_S = 10.0


@pytest.fixture(scope="module")
def wires() -> Iterator[None]:
    with pair_standing():
        yield


@contextmanager
def both(folder: Path, rights: Sequence[str] = EVERYTHING) -> Iterator[tuple[RunningManager, Rig]]:
    """Give a manager that knows the host as kvm1, and the helper there, which allows it so much."""
    settings = Settings(folder / "manager")
    settings.data_dir.mkdir(mode=0o700)
    authority = tls.open_authority(settings)
    with (
        pair_rig(folder, authority, {tls.MANAGER_NAME: list(rights)}) as rig,
        entered(HOST),
        running_manager(folder) as manager,
    ):
        body = {"address": SERVED_AT, "port": rig.port}
        assert manager.operator.put("/hosts/kvm1", json=body).status_code == 201
        wait_for("the helper is heard", lambda: host(manager)["trouble"] is None)
        yield manager, rig


@pytest.fixture
def managed(wires: None, tmp_path: Path) -> Iterator[tuple[RunningManager, Rig]]:
    with both(tmp_path) as running:
        yield running


def host(manager: RunningManager) -> dict[str, Any]:
    answer = manager.operator.get("/hosts/kvm1").raise_for_status()
    return dict(answer.json())


def guest(manager: RunningManager, name: str) -> dict[str, Any]:
    (found,) = [each for each in host(manager)["guests"] if each["name"] == name]
    return dict(found)


def ask(manager: RunningManager, name: str, what: str, **how: bool) -> httpx.Response:
    return manager.operator.post(f"/hosts/kvm1/guests/{name}/{what}", json=how, timeout=120)


@contextmanager
def logged_in(manager: RunningManager) -> Iterator[httpx.Client]:
    headers = {"Origin": manager.url, "Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=manager.url, verify=manager.trust(), headers=headers, timeout=120) as browser:
        browser.post("/login", data={"name": "admin", "password": manager.password or ""})
        yield browser


def test_a_guest_is_protected_and_unprotected_through_the_manager(
    managed: tuple[RunningManager, Rig],
) -> None:
    manager, rig = managed
    rig.start_appliance()
    assert not guest(manager, "web")["protected"] and guest(manager, "sekisho")["appliance"]
    would = ask(manager, "web", "protect", dry_run=True).raise_for_status().json()
    assert would["would"] and not would["done"] and not guest(manager, "web")["protected"]
    done = ask(manager, "web", "protect").raise_for_status().json()
    assert "led through the appliance" in done["done"][0]
    wait_for("the list says so", lambda: guest(manager, "web")["led_through"])
    assert set(rig.known().values()) == {"web"} and reaches("web", "db")
    summary = manager.operator.get("/hosts").json()[0]
    assert (summary["running"], summary["protected"], summary["led_through"]) == (2, 1, 1)
    assert ask(manager, guest(manager, "web")["uuid"], "unprotect").raise_for_status().json()["done"]
    wait_for("the list says so", lambda: not guest(manager, "web")["protected"])
    assert reaches("web", "db")


def test_both_sides_write_down_who_asked_and_a_dry_run_is_no_change(
    managed: tuple[RunningManager, Rig],
) -> None:
    manager, rig = managed
    ask(manager, "db", "protect", dry_run=True).raise_for_status()
    ask(manager, "db", "protect").raise_for_status()
    entries = manager.operator.get("/audit").json()["entries"]
    ours = [(e["actor"], e["target"]) for e in entries if e["action"] == "host.protect"]
    assert ours == [("key:test", "kvm1/db")]
    theirs = [json.loads(line) for line in (rig.folder / "state/audit.jsonl").read_text().splitlines()]
    assert [e["user"] for e in theirs if e["action"] == "protect"] == [f"certificate {tls.MANAGER_NAME}"]


def test_what_the_helper_refuses_is_said_with_its_reason(managed: tuple[RunningManager, Rig]) -> None:
    manager, _ = managed
    answer = ask(manager, "nobody", "protect")
    assert answer.status_code == 409 and "no guest 'nobody' on this host; known: " in answer.json()["detail"]
    answer = ask(manager, "sekisho", "protect")
    assert answer.status_code == 409 and "is the appliance" in answer.json()["detail"]
    assert manager.operator.post("/hosts/kvm1/guests/web/protect?dry_run=true").status_code == 422
    failed = [e for e in manager.operator.get("/audit").json()["entries"] if e["action"].endswith("-failed")]
    assert len(failed) == 2 and "is the appliance" in failed[0]["detail"]["reason"]


def test_a_helper_that_went_is_told_and_its_last_list_stays(managed: tuple[RunningManager, Rig]) -> None:
    manager, rig = managed
    names = [each["name"] for each in host(manager)["guests"]]
    rig.stop_helper()
    wait_for("it is told", lambda: host(manager)["trouble"], LOST_WITHIN_S)
    assert [each["name"] for each in host(manager)["guests"]] == names
    answer = ask(manager, "web", "protect")
    assert answer.status_code == 502 and "systemctl status sekisho-host" in answer.json()["detail"]
    rig.start_helper()
    wait_for("it is heard again", lambda: host(manager)["trouble"] is None)


def test_what_happens_to_guests_is_told_also_over_the_helpers_restart(
    managed: tuple[RunningManager, Rig],
) -> None:
    manager, rig = managed

    def told() -> list[tuple[str, str]]:
        events = manager.operator.get("/hosts/kvm1/events").raise_for_status().json()
        return [(e["what"], e["name"]) for e in events if e["name"]]

    rig.name_guests("web", "db", "other")
    wait_for("a guest started", lambda: ("started", "other") in told())
    rig.stop_helper()
    rig.start_helper()
    wait_for("it is heard again", lambda: host(manager)["trouble"] is None)
    rig.name_guests("web", "db")
    wait_for("a guest went", lambda: ("undefined", "other") in told())
    assert told().count(("started", "other")) == 1


def test_the_helper_decides_what_the_manager_may_ask(wires: None, tmp_path: Path) -> None:
    with both(tmp_path, ["guests"]) as (manager, _):
        assert [each["name"] for each in host(manager)["guests"]]
        answer = ask(manager, "web", "protect")
        assert answer.status_code == 409 and "may not ask for `protect`" in answer.json()["detail"]
        wait_for("so it is with events", lambda: "may not ask" in (host(manager)["events_trouble"] or ""))
        assert host(manager)["trouble"] is None


def test_the_page_asks_before_it_protects(managed: tuple[RunningManager, Rig]) -> None:
    manager, _ = managed
    with logged_in(manager) as browser:
        shown = browser.get("/hosts").text
        csrf = re.search(r'name="csrf" value="([0-9a-f]+)"', shown)
        action = re.search(r'action="(/hosts/kvm1/[^"]+/protect)"', shown)
        assert csrf and action and "Heard" in shown
        assert "Not led through an appliance on" in browser.get("/").text
        form = {"csrf": csrf[1]}
        asked = browser.post(action[1], data={**form, "dry_run": "true"}).text
        assert "would:" in asked and not any(each["protected"] for each in host(manager)["guests"])
        assert "led through the appliance" in browser.post(action[1], data=form).text
        assert any(each["protected"] for each in host(manager)["guests"])


def test_the_page_protects_a_guest_that_is_off(managed: tuple[RunningManager, Rig]) -> None:
    manager, _ = managed
    with without_tap("db0"), logged_in(manager) as browser:
        wait_for("it is off", lambda: not guest(manager, "db")["running"])
        action = f"/hosts/kvm1/{guest(manager, 'db')['uuid']}/protect"
        csrf = re.search(r'name="csrf" value="([0-9a-f]+)"', browser.get("/hosts").text)
        assert csrf
        asked = browser.post(action, data={"csrf": csrf[1], "dry_run": "true"}).text
        assert "would: it is off" in asked and "Protect db on kvm1</button>" in asked
        assert "it is off" in browser.post(action, data={"csrf": csrf[1]}).text
        wait_for("it is protected", lambda: guest(manager, "db")["protected"])


@contextmanager
def without_tap(name: str) -> Iterator[None]:
    """Have the host without a guest's tap, as when the guest is off."""
    run_in(HOST, ["ip", "link", "set", name, "down", "name", "gone"])
    try:
        yield
    finally:
        run_in(HOST, ["ip", "link", "set", "gone", "name", name, "up"])


def test_the_page_leads_to_the_shield_of_a_guest_of_that_name_and_mac(
    managed: tuple[RunningManager, Rig],
) -> None:
    manager, _ = managed
    for name in ("web", "db"):
        ask(manager, name, "protect").raise_for_status()
    named = {"web": MACS["web"], "db": MACS["other"]}  # lab's db is another guest
    guests = [{"name": n, "segment": "s", "vnics": [{"name": "p", "mac": mac}]} for n, mac in named.items()]
    manager.enrol("lab").client.put("/status", json={"live_version": 1, "guests": guests}).raise_for_status()
    with logged_in(manager) as browser:
        wait_for("the page knows", lambda: 'href="/guests/lab/web"' in browser.get("/hosts").text)
        assert 'href="/guests/lab/db"' not in browser.get("/hosts").text


def test_a_host_that_is_forgotten_is_followed_no_longer_and_its_guests_stay_protected(
    managed: tuple[RunningManager, Rig],
) -> None:
    manager, rig = managed
    ask(manager, "web", "protect").raise_for_status()
    assert manager.operator.delete("/hosts/kvm1").status_code == 204
    assert manager.operator.get("/hosts/kvm1").status_code == 404
    assert ask(manager, "web", "unprotect").status_code == 404
    time.sleep(1)
    assert rig.guest("web")["protected"]


def test_of_a_crowd_of_requests_none_waits_to_be_done_later(managed: tuple[RunningManager, Rig]) -> None:
    manager, rig = managed
    assert rig.helper is not None
    rig.helper.send_signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(2 * AT_ONCE) as crowd:
            asked = [crowd.submit(ask_briefly, manager, "web", "protect") for _ in range(2 * AT_ONCE)]
            answered = [each.result() for each in asked]
        assert answered.count(503) == AT_ONCE and answered.count(None) == AT_ONCE
        assert ask_briefly(manager, "web", "unprotect") is None, "it is asked, not refused"
    finally:
        rig.helper.send_signal(signal.SIGCONT)


def ask_briefly(manager: RunningManager, name: str, what: str) -> int | None:
    """Return the status of the answer; None if there is none soon."""
    try:
        client = manager.client_with_key(manager.key)
        return client.post(f"/hosts/kvm1/guests/{name}/{what}", timeout=3).status_code
    except httpx.ReadTimeout:
        return None
