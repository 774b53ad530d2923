"""A machine that is worked in over SSH, through a port of loopback that QEMU forwards."""

import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.manager_fixture import free_ports

ENDS_S = 1800.0
"""For what is run in an emulated machine, on a busy one."""


@dataclass(slots=True)
class OverSsh:
    """Its files are in the folder, and the key that root logs in with."""

    folder: Path
    ssh_port: int = field(init=False, default_factory=lambda: free_ports(1)[0])

    @property
    def key(self) -> Path:
        """The private key, made at first."""
        key = self.folder / "key"
        if not key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        return key

    def ssh(self, command: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        """Run a shell command in the machine as root."""
        return subprocess.run(
            [
                "ssh", "-q", "-i", str(self.key), "-p", str(self.ssh_port), "-o", "StrictHostKeyChecking=no",
                "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20",
                "root@127.0.0.1", command,
            ],
            input=stdin, capture_output=True, timeout=ENDS_S,
        )  # fmt: skip

    def said(self, command: str) -> str:
        """Return what a command in the machine printed. Fails when it did."""
        done = self.ssh(command)
        shown = done.stdout.decode()
        assert done.returncode == 0, f"{command}: {shown[-6000:]}{done.stderr.decode()[-2000:]}"
        return shown

    def write(self, path: str, content: bytes | str) -> None:
        """Put a file into the machine."""
        content = content.encode() if isinstance(content, str) else content
        done = self.ssh(f"cat > {shlex.quote(path)}", content)
        assert done.returncode == 0, done.stderr
