"""One machine for all tests of this folder; only asked for, as it takes minutes (`make test-vm`).

What is marked `short` is their short form, which CI runs (`make test-vm SHORT=1`): it needs neither image nor
packages.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm.machine import Machine

NESTED = Path(__file__).parent / "nested"
PROGRAMS = ("qemu-system-x86_64", "mmdebstrap", "mke2fs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    asked = os.environ.get("SEKISHO_TEST_VM")
    for item in items:
        if NESTED in item.path.parents:
            if asked != "nested":
                item.add_marker(pytest.mark.skip(reason="runs in the machine of test_trunk_libvirt.py"))
        elif NESTED.parent in item.path.parents and asked in (None, "short"):
            why = "not in the short form: make test-vm" if asked else "takes minutes: make test-vm"
            if asked is None or item.get_closest_marker("short") is None:
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with Debian's stock cloud kernel, this checkout in /project."""
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        pytest.fail(f"not installed: {', '.join(missing)}; `make test-vm` installs them")
    with Machine(tmp_path_factory.mktemp("machine")) as running:
        yield running
