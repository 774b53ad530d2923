"""A rule set pushed over REST while a download runs: nothing lost, nothing broken, and it takes effect."""

import base64
import hashlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from appliance import lab
from appliance.control.probation import RUNS
from appliance.lab.wire import Outcome, connect
from tests.manager_fixture import RunningManager
from tests.netns.control_fixture import NAME, Appliance, appliance_in, wait_for

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

SIGNATURES = 1_000
DOWNLOAD = "/download/4m.bin"
ROUNDS = 3


def rules(word: str) -> str:
    """Return 1,000 signatures, the last of which is for the word."""
    lines = [
        f'alert http any any -> any any (msg:"{n}"; http.uri; content:"needle-{n}-{word}"; sid:{n}; rev:1;)'
        for n in range(1, SIGNATURES)
    ]
    last = (
        f'alert http any any -> any any (msg:"{word}"; http.uri; content:"{word}"; sid:{SIGNATURES}; rev:1;)'
    )
    return "\n".join([*lines, last, ""])


@pytest.fixture(scope="module")
def appliance(
    manager: RunningManager, running_lab: lab.LabSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Appliance]:
    with appliance_in(tmp_path_factory.mktemp("appliance"), running_lab, manager) as made:
        made.start()
        made.in_step()
        made.push(rules("first"))
        made.assign("prevent")
        yield made


class Download(threading.Thread):
    """Fetches the same file over one connection again and again, slowly enough to span a change."""

    def __init__(self, settings: lab.LabSettings) -> None:
        super().__init__(daemon=True)
        self.settings, self.stopping = settings, threading.Event()
        self.digests: list[str] = []
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            netns = self.settings.guest_netns(lab.CLIENT)
            with connect(netns, lab.WEB.ipv4, lab.HTTP_PORT, 10.0) as connection:
                while not self.stopping.is_set():
                    self.digests.append(self._fetch(connection))
        except Exception as error:
            self.error = error

    def got_more_than(self, count: int) -> bool:
        return len(self.digests) > count

    def _fetch(self, connection: socket.socket) -> str:
        connection.sendall(f"GET {DOWNLOAD} HTTP/1.1\r\nHost: web\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._some(connection)
        head, _, body = head.partition(b"\r\n\r\n")
        left = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) - len(body)
        digest = hashlib.sha256(body)
        while left > 0:
            chunk = self._some(connection)
            digest.update(chunk)
            left -= len(chunk)
            time.sleep(0.0005)
        return digest.hexdigest()

    def _some(self, connection: socket.socket) -> bytes:
        chunk: bytes = connection.recv(65536)
        if not chunk:
            raise ConnectionError("the server closed the connection in the middle")
        return chunk


def test_push_of_a_thousand_signatures_breaks_no_download(appliance: Appliance) -> None:
    assert appliance.send("/first") is not Outcome.ANSWERED
    download = Download(appliance.settings)
    download.start()
    wait_for("the first download", lambda: download.digests or download.error)
    took_s = []
    for number in range(ROUNDS):
        before = appliance.in_step()
        done = len(download.digests)
        began = time.monotonic()
        appliance.push(rules(f"word-{number}"))
        assert appliance.in_step() > before
        took_s.append(time.monotonic() - began)
        assert appliance.send(f"/word-{number}") is not Outcome.ANSWERED
        assert appliance.send("/first") is Outcome.ANSWERED, "the old signatures are gone"
        wait_for("a download across the change", partial(download.got_more_than, done + 1))
    download.stopping.set()
    download.join(30)
    assert download.error is None
    assert len(set(download.digests)) == 1, "every download was whole and the same"
    print(f"pushed, checked, compiled and live in {', '.join(f'{s:.2f} s' for s in took_s)}")


EVERYTHING = (
    'drop http any any -> any any (msg:"everything"; flow:to_server; http.method; content:"GET"; sid:7;)\n'
)


def refusal(appliance: Appliance, words: str) -> str:
    """Return why the appliance does not run what it should, once the manager knows."""

    def known() -> str | None:
        error = str(appliance.reported().get("error"))
        return error if words in error else None

    return str(wait_for(f"the manager to know: {words}", known))


def test_rule_set_that_would_drop_ordinary_traffic_is_refused_and_the_old_one_protects(
    appliance: Appliance,
) -> None:
    appliance.push(rules("guarded"))
    live = appliance.in_step()
    appliance.push(EVERYTHING)
    assert 'guest web: signature 7 "everything"' in refusal(appliance, "ordinary traffic (http)")
    assert appliance.reported()["live_version"] == live
    assert appliance.send("/guarded") is not Outcome.ANSWERED
    assert appliance.send("/anything") is Outcome.ANSWERED
    assert any("everything" in note["engine"]["message"] for note in appliance.noted("policy-refused"))
    appliance.push(rules("again"))
    assert appliance.in_step() > live
    assert appliance.send("/again") is not Outcome.ANSWERED
    assert not appliance.reported()["error"]


def test_rule_set_under_which_the_inspector_dies_again_and_again_is_taken_back(appliance: Appliance) -> None:
    appliance.push(rules("kept"))
    live = appliance.in_step()
    appliance.push(rules("deadly"))
    deadly = appliance.in_step()
    assert deadly > live
    for _ in range(RUNS):
        pid = appliance.inspector()
        os.kill(pid, signal.SIGSEGV)
        wait_for("another inspector", partial(is_another, appliance, pid))
    why = refusal(appliance, "taken back")
    assert f"version {deadly}" in why and f"{RUNS} times in a row" in why
    assert appliance.reported()["live_version"] == live
    wait_for("an inspector with the one before", appliance.is_up)
    assert appliance.send("/kept") is not Outcome.ANSWERED
    assert appliance.send("/deadly") is Outcome.ANSWERED
    appliance.end()
    appliance.start()
    refusal(appliance, "was taken back")
    assert appliance.status()["live_version"] == live, "nor is it taken when control begins anew"
    appliance.push(rules("after"))
    assert appliance.in_step() > deadly


def is_another(appliance: Appliance, pid: int) -> bool:
    """Whether an inspector is up that is not this one."""
    status = appliance.status().get("inspector", {})
    return bool(status.get("up") and status.get("pid") not in (pid, None))


def test_override_of_one_signature_is_live_for_that_guest(
    appliance: Appliance, manager: RunningManager
) -> None:
    appliance.push(rules("override"))
    appliance.in_step()
    assert appliance.send("/override") is not Outcome.ANSWERED
    before = appliance.in_step()
    path = f"/appliances/{NAME}/guests"
    for guest in ("web", "client"):
        answer = manager.operator.post(f"{path}/{guest}/overrides", json={"sid": SIGNATURES, "mode": "off"})
        assert answer.is_success, answer.text
    assert appliance.in_step() > before
    assert appliance.send("/override") is Outcome.ANSWERED


def test_data_sets_go_with_their_rules(appliance: Appliance) -> None:
    options = "flow:to_server; http.uri; dataset:isset,bad,type string,load datasets/bad; sid:1;"
    listed = base64.b64encode(b"/listed").decode()
    appliance.push(f"alert http any any -> any any ({options})\n", data={"datasets/bad": listed})
    appliance.in_step()
    for _ in range(2):
        assert appliance.send("/listed") is not Outcome.ANSWERED
        assert appliance.send("/other") is Outcome.ANSWERED
        appliance.end()
        appliance.start()
        wait_for("an inspector with what is on the disk", appliance.is_up)


def test_refused_rule_set_leaves_the_live_one(appliance: Appliance, manager: RunningManager) -> None:
    live = appliance.in_step()
    bad = rules("bad") + "alert http any any -> any any (nonsense:1; sid:7777; rev:1;)\n"
    answer = manager.operator.put("/rule-sets/lab", json={"files": [{"name": "lab.rules", "text": bad}]})
    assert answer.status_code == 422
    assert "7777" in answer.text and str(SIGNATURES + 1) in answer.text
    assert appliance.in_step() == live


def test_log_holds_no_token(appliance: Appliance) -> None:
    token = yaml.safe_load(Path(appliance.config).read_text())["manager"]["token"]
    assert token not in (appliance.directory / "appliance.log").read_text()
