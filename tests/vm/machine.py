"""A virtual machine under QEMU's software emulation, and commands run in it."""

import json
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.vm import image

READY_S = 180
"""From power on to the agent's greeting, on a busy machine; on an idle one ten seconds."""
ANSWER_S = 600
MEMORY_MIB = 2048


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended. status: None if it took too long or could not be started."""

    status: int | None
    output: str


class Machine:
    """A machine that runs until the block ends; its console goes to folder/console.log.

    beside: files for it, by their place in /project.
    """

    def __init__(
        self, folder: Path, recipe: image.Recipe = image.TESTS, beside: Mapping[str, Path] | None = None
    ) -> None:
        self._folder = folder
        self._recipe = recipe
        self._beside = beside

    def __enter__(self) -> Self:
        system = image.system(self._recipe)
        project = self._folder / "project.img"
        image.project_disk(project, self._beside)
        port = self._folder / "agent.sock"
        port.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [
                "setpriv", "--pdeathsig", "KILL",
                "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max",
                "-smp", "2", "-m", str(MEMORY_MIB), "-nographic", "-nodefaults", "-no-reboot", "-net", "none",
                "-kernel", str(system.kernel),
                "-append", "root=/dev/nvme0n1 rw init=/sekisho-init console=ttyS0 quiet panic=-1"
                " mitigations=off",
                "-device", "nvme,id=disks,serial=disks",
                "-drive", f"if=none,id=system,format=raw,snapshot=on,file={system.disk}",
                "-device", "nvme-ns,drive=system,bus=disks,nsid=1",
                "-drive", f"if=none,id=project,format=raw,readonly=on,file={project}",
                "-device", "nvme-ns,drive=project,bus=disks,nsid=2",
                "-serial", f"file:{self._folder / 'console.log'}",
                "-serial", f"unix:{port},server=on,wait=off",
            ],
            stdin=subprocess.DEVNULL,
            stdout=(self._folder / "qemu.log").open("wb"),
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            self._port = self._connect(port)
            self._lines = self._port.makefile("rb")
            while self._line(READY_S) != {"ready": True}:
                pass
        except BaseException:
            self._end()
            raise
        return self

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        timeout_s: float = ANSWER_S,
    ) -> Done:
        """Return what the command did, in the checkout's folder. Raises RuntimeError when it died."""
        request = {
            "argv": list(argv),
            "stdin": stdin,
            "env": dict(env or {}),
            "timeout_s": timeout_s,
            "cwd": "/project",
        }
        self._port.sendall(json.dumps(request).encode() + b"\n")
        answer = self._line(timeout_s + 60)
        return Done(answer["status"], answer["output"])

    def python(self, *argv: str, env: Mapping[str, str] | None = None, timeout_s: float = ANSWER_S) -> Done:
        """Run Python with the checkout and its packages."""
        return self.run(
            ["python3", *argv], env={"PYTHONPATH": "/project", **(env or {})}, timeout_s=timeout_s
        )

    def __exit__(self, *_: object) -> None:
        self._end()

    def _connect(self, path: Path) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + READY_S
        while True:
            try:
                connection.connect(str(path))
                return connection
            except (FileNotFoundError, ConnectionRefusedError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(self._said("QEMU did not start")) from None
                time.sleep(0.05)

    def _line(self, timeout_s: float) -> dict[str, object]:
        self._port.settimeout(timeout_s)
        try:
            line = self._lines.readline()
        except TimeoutError:
            raise RuntimeError(self._said(f"no answer within {timeout_s:.0f} s")) from None
        if not line.endswith(b"\n"):
            raise RuntimeError(self._said("the machine ended"))
        answer: dict[str, object] = json.loads(line)
        return answer

    def _said(self, what: str) -> str:
        logs = [self._folder / name for name in ("qemu.log", "console.log")]
        return "\n".join([what, *(log.read_text(errors="replace")[-2000:] for log in logs if log.exists())])

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
