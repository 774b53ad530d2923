"""Starts the web guest's services and waits until they answer."""

import os
import subprocess
import sys
import time
from pathlib import Path

from appliance.lab.processes import Process, identify, is_running
from appliance.lab.settings import HTTP_PORT, RAW_PORT, WEB, LabSettings
from appliance.lab.wire import connect
from appliance.model.faults import SystemFault
from appliance.netns import command_in

START_TIMEOUT_S = 60.0
SOURCE_ROOT = Path(__file__).resolve().parents[2]


def start_web(settings: LabSettings) -> Process:
    """Start the web guest in mount and pid namespaces of its own; return the process that holds it all."""
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"]
    guest = [sys.executable, "-m", "appliance.lab.web", "--download-mib", str(settings.download_mib)]
    command = [*apart, "--", *guest, "--records", str(settings.records.resolve())]
    with (settings.run_dir / "web.log").open("ab") as log:
        popen = subprocess.Popen(
            command_in(settings.guest_netns(WEB), command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE_ROOT)},
        )
    return identify("web", popen.pid)


def wait_for_web(settings: LabSettings, process: Process) -> None:
    """Return once both ports accept connections inside the guest. Raises SystemFault, with the log's end."""
    deadline = time.monotonic() + START_TIMEOUT_S
    for port in (HTTP_PORT, RAW_PORT):
        while not answers(settings, port):
            if time.monotonic() > deadline or not is_running(process):
                tail = (settings.run_dir / "web.log").read_text(errors="replace")[-2000:]
                raise SystemFault(f"lab: the web guest does not listen on port {port}:\n{tail}")
            time.sleep(0.05)


def answers(settings: LabSettings, port: int) -> bool:
    """Return whether the web guest accepts a connection on port, asked from within the guest."""
    try:
        connect(settings.guest_netns(WEB), WEB.ipv4, port, timeout_s=1.0).close()
    except OSError:
        return False
    return True
