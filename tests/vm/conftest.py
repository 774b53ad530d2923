"""One machine for all tests of this folder; only asked for, as it takes minutes (`make test-vm`)."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm.machine import Machine

PROGRAMS = ("qemu-system-x86_64", "mmdebstrap", "mke2fs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("SEKISHO_TEST_VM"):
        return
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="takes minutes: make test-vm"))


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with Debian's stock cloud kernel, this checkout in /project."""
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        pytest.fail(f"not installed: {', '.join(missing)}; `make test-vm` installs them")
    with Machine(tmp_path_factory.mktemp("machine")) as running:
        yield running
