"""Runs inside the machine, on its second serial port: a command a line in, its outcome a line out.

A line in: {"argv", "stdin", "env", "timeout_s"}; a line out: {"status", "output"}. A command that takes
longer ends, with all that it started, and its status is null.
"""

import json
import os
import signal
import subprocess
import sys
import tty
from pathlib import Path
from typing import Any

PORT = "/dev/ttyS1"


def answer(request: dict[str, Any]) -> dict[str, Any]:
    process = subprocess.Popen(
        request["argv"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **request["env"]},
        cwd=request["cwd"],
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(request["stdin"], timeout=request["timeout_s"])
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return {"status": None, "output": output}
    return {"status": process.returncode, "output": output}


def main() -> None:
    with Path(PORT).open("r+b", buffering=0) as port:
        tty.setraw(port)
        reader = os.fdopen(os.dup(port.fileno()), "rb")
        port.write(b'{"ready": true}\n')
        for line in reader:
            try:
                reply = answer(json.loads(line))
            except (OSError, ValueError, KeyError) as error:
                reply = {"status": None, "output": f"{type(error).__name__}: {error}"}
            text = json.dumps(reply).encode() + b"\n"
            while text:
                text = text[port.write(text) :]


if __name__ == "__main__":
    sys.exit(main())
