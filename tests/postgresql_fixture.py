"""Starts a real PostgreSQL for a test, from the programs that Debian's package installs.

with running_postgresql() as url: ...
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.manager_fixture import free_ports


@contextmanager
def running_postgresql() -> Iterator[str]:
    """Give the URL of a server of the test's own, on loopback, ending in `/`; skips where there is none."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL does not run as root, and setpriv is not installed")
    # Not below pytest's directory: that is closed to the user that PostgreSQL has to run as.
    with tempfile.TemporaryDirectory(prefix="sekisho-postgresql-") as name:
        directory = Path(name)
        as_user: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(directory, "postgres")
            as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        (port,) = free_ports(1)
        data = directory / "data"
        _run(
            directory,
            *as_user,
            str(programs / "initdb"),
            "-D",
            str(data),
            "-U",
            "sekisho",
            "-A",
            "trust",
            "--no-sync",
        )
        control = [*as_user, str(programs / "pg_ctl"), "-D", str(data), "-w", "-t", "120"]
        options = (
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={directory} -c fsync=off"
        )
        _run(directory, *control, "-l", str(directory / "log"), "-o", options, "start")
        try:
            yield f"postgresql://sekisho@127.0.0.1:{port}/"
        finally:
            _run(directory, *control, "-m", "immediate", "stop")


def _run(directory: Path, *command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=180, cwd=directory)


def _programs() -> Path | None:
    """Return the directory of Debian's PostgreSQL programs, the newest version's."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return found[-1].parent if found else None
