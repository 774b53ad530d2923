"""The host helper started for a test, and asked as an operator asks it."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.netns import command_in

ROOT = Path(__file__).resolve().parents[1]
ASKED_S = 300.0


@dataclass(slots=True)
class HelperFolder:
    """Where a helper's host.yaml is, with `socket: helper.sock`, and its log."""

    folder: Path

    def serve(self, netns: str) -> subprocess.Popen[bytes]:
        """Start `sekisho-host serve`."""
        command = [
            sys.executable,
            "-m",
            "host_helper.cli",
            "serve",
            "--config",
            str(self.folder / "host.yaml"),
        ]
        with (self.folder / "helper.log").open("ab") as log:
            return subprocess.Popen(command_in(netns, command), stderr=log, cwd=ROOT)

    def guest_command(self, *argv: str) -> list[str]:
        """Return the command line of `sekisho guest`."""
        socket = str(self.folder / "helper.sock")
        return [sys.executable, "-m", "appliance.cli", "guest", "--socket", socket, *argv]

    def sekisho(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run `sekisho guest`."""
        command = self.guest_command(*argv)
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=ASKED_S)

    def guest(self, name: str) -> dict[str, Any]:
        """Return what the helper lists of a guest."""
        report = json.loads(self.sekisho("list", "--json").stdout)
        (found,) = [each for each in report["guests"] if each["name"] == name]
        return dict(found)

    def log(self) -> str:
        """Return the end of the helper's log."""
        return (self.folder / "helper.log").read_text()[-2000:]
