"""The lab as an operator has it: `vagrant/lab up`, with Vagrant and with libvirt alone, then attack and down.

A libvirtd and a network namespace of the test's stand for the host.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.netns import entered, processes_in, run_in
from tests.vm.hypervisor import Hypervisor, hypervisor, wait_for
from vagrant import lab, machines
from vagrant.description import HERE

HOST = f"skt-lab-{os.getpid()}"


@pytest.fixture
def libvirtd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hypervisor]:
    """A libvirtd that the lab speaks to; this thread is in its namespace."""
    run_in(None, ["ip", "netns", "add", HOST])
    try:
        run_in(HOST, ["ip", "link", "set", "lo", "up"])
        with hypervisor(tmp_path, HOST) as running, entered(HOST):
            monkeypatch.setenv("LIBVIRT_DEFAULT_URI", running.uri)
            monkeypatch.setenv("VAGRANT_HOME", str(tmp_path / "vagrant"))
            yield running
    finally:
        run_in(None, ["ip", "netns", "del", HOST])


@pytest.mark.parametrize(
    "with_vagrant",
    [
        pytest.param(False, id="libvirt"),
        pytest.param(
            True,
            id="vagrant",
            marks=pytest.mark.skipif(shutil.which("vagrant") is None, reason="vagrant is not installed"),
        ),
    ],
)
def test_an_attack_is_stopped_with_protection_on_succeeds_with_it_off_and_nothing_stays(
    libvirtd: Hypervisor, with_vagrant: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert machines.IMAGE.exists(), "`make image` makes it"
    assert not lab.KEPT.exists(), "a lab is up in this checkout: `vagrant/lab down`"
    try:
        lab.up(with_vagrant=with_vagrant)
        lab.attack()
    finally:
        lab.down()
    said = capsys.readouterr().out
    assert "the web guest is protected" in said
    assert f"protection prevent: {lab.ATTACK} → no answer" in said
    assert f"protection off: {lab.ATTACK} → 200 root:" in said
    assert said.count("ordinary request → 200 hello") == 2
    assert_nothing_is_left(libvirtd)


def assert_nothing_is_left(libvirtd: Hypervisor) -> None:
    connection = libvirtd.connection
    assert connection.listAllDomains() == []
    assert connection.listAllNetworks() == []
    assert connection.listAllStoragePools() == []
    assert not lab.KEPT.exists()
    assert not (HERE / ".vagrant").exists()
    assert not list((libvirtd.folder / "lib/libvirt/images").iterdir())
    assert libvirtd.process is not None
    wait_for("no process is left", lambda: processes_in([HOST]) == [libvirtd.process.pid])
    links = run_in(HOST, ["ip", "-o", "link"])
    assert links.count("\n") == 1, links
