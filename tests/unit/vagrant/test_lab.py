"""The lab's description: what Vagrant, libvirt, the appliance and the attack make of it."""

import http.client
import json
import os
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

import pytest

from appliance.firstboot.seed import read_seed
from vagrant import lab, machines, web
from vagrant.description import HERE, LAB, driver


@pytest.mark.skipif(shutil.which("vagrant") is None, reason="vagrant is not installed")
@pytest.mark.parametrize("driver", ["kvm", "qemu"])
def test_vagrant_takes_the_vagrantfile(tmp_path: Path, driver: str) -> None:
    places = {"VAGRANT_HOME": str(tmp_path), "VAGRANT_DOTFILE_PATH": str(tmp_path / "dot")}
    done = subprocess.run(
        ["vagrant", "validate"],
        cwd=HERE,
        env={**os.environ, **places, "SEKISHO_LAB_DRIVER": driver},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_wire_has_two_ends_one_of_them_the_appliances() -> None:
    ends = Counter(wire for machine in LAB.machines.values() for wire in machine.wires)
    assert ends == dict.fromkeys(LAB.wires, 2)
    assert set(LAB.machines[lab.APPLIANCE].wires) == set(LAB.wires)


def test_no_two_cards_have_the_same_mac() -> None:
    cards = [mac for each in LAB.machines.values() for mac in (each.management.mac, *each.wires.values())]
    assert len(set(cards)) == len(cards)


@pytest.mark.parametrize("name", LAB.machines)
def test_libvirt_gives_a_machine_its_cards_in_the_order_that_vagrant_does(name: str) -> None:
    found = ElementTree.fromstring(machines.domain(name, LAB.machines[name], "qemu"))
    macs = [each.attrib["address"] for each in found.iterfind("devices/interface/mac")]
    assert macs == [LAB.machines[name].management.mac, *LAB.machines[name].wires.values()]


@pytest.mark.parametrize(
    ("flags", "there", "taken"), [("fpu vmx", True, "kvm"), ("fpu svm", False, "qemu"), ("fpu", True, "qemu")]
)
def test_kvm_is_taken_only_with_a_processor_that_has_it(
    tmp_path: Path, flags: str, there: bool, taken: str
) -> None:
    processor, kvm = tmp_path / "cpuinfo", tmp_path / "kvm"
    processor.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t:\n")
    if there:
        kvm.touch()
    assert driver(processor, kvm) == taken


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "KEPT", tmp_path)
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAA lab\n")


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("name", LAB.machines)
def test_each_machine_takes_its_seed(tmp_path: Path, name: str) -> None:
    path = tmp_path / "user-data"
    path.write_text(json.dumps(lab.seed(name, "sha256:" + "0" * 64, "ske_token")))
    seed = read_seed(path)
    assert seed.ssh_keys == ("ssh-ed25519 AAAA lab",)
    assert [guest.name for guest in seed.guests] == (["web"] if name == lab.APPLIANCE else [])


def test_a_lab_that_is_there_is_not_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "KEPT", tmp_path)
    monkeypatch.setattr(machines, "BOX", tmp_path)
    with pytest.raises(SystemExit, match="vagrant/lab down"):
        lab.up()


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
