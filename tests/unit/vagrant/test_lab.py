"""The Vagrant lab's description: what Vagrant, the appliance and the attack make of it."""

import http.client
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from appliance.firstboot.seed import read_seed
from vagrant import lab, web

ROOT = Path(__file__).resolve().parents[3]
VAGRANTFILE = ROOT / "vagrant/Vagrantfile"


@pytest.mark.skipif(shutil.which("vagrant") is None, reason="vagrant is not installed")
@pytest.mark.parametrize("driver", ["kvm", "qemu"])
def test_vagrant_takes_the_vagrantfile(tmp_path: Path, driver: str) -> None:
    places = {"VAGRANT_HOME": str(tmp_path), "VAGRANT_DOTFILE_PATH": str(tmp_path / "dot")}
    done = subprocess.run(
        ["vagrant", "validate"],
        cwd=VAGRANTFILE.parent,
        env={**os.environ, **places, "SEKISHO_LAB_DRIVER": driver},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "LAB", tmp_path)
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAA lab\n")


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("name", lab.MANAGEMENT)
def test_each_machine_takes_its_seed(tmp_path: Path, name: str) -> None:
    path = tmp_path / "user-data"
    path.write_text(json.dumps(lab.seed(name, "sha256:" + "0" * 64, "ske_token")))
    seed = read_seed(path)
    assert seed.ssh_keys == ("ssh-ed25519 AAAA lab",)
    assert [guest.name for guest in seed.guests] == (["web"] if name == lab.NAME else [])


def test_seeds_and_vagrantfile_speak_of_the_same_cards() -> None:
    here = {*lab.MANAGEMENT.values(), lab.TO_ATTACKER, lab.TO_WEB, lab.WEB_MAC}
    there = set(re.findall(r"52:54:00(?::[0-9a-f]{2}){3}", VAGRANTFILE.read_text()))
    attackers = "52:54:00:5e:12:02"
    assert there == here | {attackers}
    assert f'"{lab.WEB}/24"' in VAGRANTFILE.read_text()


@pytest.fixture
def service() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), web.Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(("path", "begins"), [(lab.ORDINARY, b"hello"), (lab.ATTACK, b"root:")])
def test_the_attack_works_where_nothing_stops_it(service: int, path: str, begins: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service)
    connection.request("GET", path)
    assert connection.getresponse().read().startswith(begins)
