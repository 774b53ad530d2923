"""Programs in namespaces: started, waited for, ended by their pid."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from appliance.netns import command_in

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "engine"
START_TIMEOUT_S = 180.0
END_TIMEOUT_S = 20.0


class ProgramFailed(RuntimeError):
    """A program of the bench's did not do what it is for; the text ends with its last words."""


@contextlib.contextmanager
def running(
    netns: str | None, command: list[str], log: Path, is_ready: Callable[[str], bool], **options: object
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a namespace (None: in our own) until the block ends, which begins once `is_ready`.

    is_ready: asked again and again of what it printed so far.
    Raises ProgramFailed when it ends before, or is not ready within three minutes.
    """
    with log.open("wb") as out:
        process = subprocess.Popen(
            command_in(netns, command), stdin=subprocess.PIPE, stdout=out, stderr=out, **options
        )  # type: ignore[call-overload]
    try:
        await_it(process, command[0], lambda: is_ready(log.read_text(errors="replace")), log)
        yield process
    finally:
        end(process)


def await_it(process: subprocess.Popen[bytes], name: str, ready: Callable[[], bool], log: Path) -> None:
    """Return once `ready`. Raises ProgramFailed when the process ends before that, or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise ProgramFailed(f"{name} did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.02)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program as its user would (end of input, SIGTERM), by force if it must be."""
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    process.terminate()
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def output(netns: str, command: list[str], timeout_s: float) -> str:
    """Return what a program printed. Raises ProgramFailed."""
    try:
        ran = subprocess.run(
            command_in(netns, command), capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise ProgramFailed(f"{' '.join(command)}: not done within {timeout_s:.0f} s") from None
    if ran.returncode != 0:
        raise ProgramFailed(f"{' '.join(command)}: {(ran.stderr or ran.stdout)[-2000:]}")
    return ran.stdout


def end_tidily() -> None:
    """Have SIGTERM end this process through its `finally`s: no namespaces or programs are left behind.

    A process that pyroute2 forked for a moment, and ends by SIGTERM, must not tidy up what is ours.
    """
    us = os.getpid()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1) if os.getpid() == us else os._exit(1))


def build_examples() -> Path:
    """Build the engine's programs that the bench uses; return their folder. Raises CalledProcessError."""
    build = (
        "cargo build --locked --quiet --release -p sekisho-nfqueue --example accept_all --example exchange"
    )
    subprocess.run(["sh", "-ec", f". ../tools/rust-env && {build}"], cwd=ENGINE, check=True)
    return ENGINE / "target" / "release" / "examples"
