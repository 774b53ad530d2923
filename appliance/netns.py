"""Programs run in a network namespace, and what is known of processes there."""

import contextlib
import ctypes
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from appliance.model.faults import SystemFault

NETNS_DIR = Path("/run/netns")
PROGRAM_TIMEOUT_S = 30
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def command_in(netns: str | None, argv: Sequence[str]) -> list[str]:
    """Return the command line that runs argv in the named network namespace (None: in our own)."""
    if netns is None:
        return list(argv)
    return ["nsenter", f"--net={NETNS_DIR / netns}", "--", *argv]


def run_in(netns: str | None, argv: Sequence[str], stdin: str = "") -> str:
    """Return what the program printed.

    Raises SystemFault when it is missing, fails or takes longer than 30 s.
    """
    command = command_in(netns, argv)
    try:
        # A session of its own: Ctrl-C in our terminal must not end a program that is changing the kernel.
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PROGRAM_TIMEOUT_S,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise SystemFault(f"{error.filename}: not installed") from error
    except subprocess.TimeoutExpired as error:
        raise SystemFault(f"{argv[0]}: no answer within {PROGRAM_TIMEOUT_S} s") from error
    if done.returncode != 0:
        # nft repeats the whole input after its first line
        reason = "; ".join(line for line in done.stderr.splitlines()[:2] if line.strip())[:400]
        raise SystemFault(f"{argv[0]}: {reason or f'exit status {done.returncode}'}")
    return done.stdout


def list_objects(netns: str | None, *what: str) -> list[dict[str, Any]]:
    """Return what `nft -j list …` says, empty if there is no such thing. Raises SystemFault otherwise."""
    try:
        answer = run_in(netns, ["nft", "-j", "list", *what])
    except SystemFault as fault:
        if "No such file or directory" in str(fault):
            return []
        raise
    try:
        objects: list[dict[str, Any]] = json.loads(answer)["nftables"] if answer.strip() else []
    except (ValueError, KeyError) as error:
        raise SystemFault(f"nft list {' '.join(what)}: unreadable answer") from error
    return objects


@contextlib.contextmanager
def entered(netns: str | None) -> Iterator[None]:
    """Put the calling thread, and no other, into the network namespace for a while. Raises OSError.

    pyroute2's own way forks; the child shares our signal wake-up socket, so that its end by SIGTERM looks
    to an event loop like our own.
    """
    if netns is None:
        yield
        return
    with Path("/proc/thread-self/ns/net").open() as home, (NETNS_DIR / netns).open() as there:
        _setns(there.fileno())
        try:
            yield
        finally:
            _setns(home.fileno())


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")


def exists(netns: str) -> bool:
    """Return whether a network namespace of this name is there."""
    return (NETNS_DIR / netns).exists()


def processes_in(names: Sequence[str]) -> list[int]:
    """Return the pids whose network namespace is one of those named, our own process left out."""
    wanted = set()
    for name in names:
        try:
            status = (NETNS_DIR / name).stat()
        except FileNotFoundError:
            continue
        wanted.add((status.st_dev, status.st_ino))
    return [pid for pid in _pids() if pid != os.getpid() and _namespace_of(pid) in wanted]


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _namespace_of(pid: int) -> tuple[int, int] | None:
    try:
        status = Path(f"/proc/{pid}/ns/net").stat()
    except OSError:  # it ended meanwhile, or is a zombie
        return None
    return status.st_dev, status.st_ino
