"""Brings the lab up, says how it is, and takes all of it down, whatever state it is in."""

import json
import shutil
from dataclasses import asdict, dataclass

import yaml

from appliance.lab import topology
from appliance.lab.processes import Process, is_running, kill
from appliance.lab.sending import records
from appliance.lab.services import answers, start_web, wait_for_web
from appliance.lab.settings import GUESTS, HTTP_PORT, RAW_PORT, WEB, LabSettings
from appliance.model.faults import SystemFault
from appliance.netns import exists, processes_in

PROGRAMS = ("nginx", "unshare", "nsenter", "setpriv", "mount")


@dataclass(frozen=True, slots=True)
class LabStatus:
    """How a lab is. up: every part is there and answers."""

    up: bool
    namespaces: dict[str, bool]
    ports: dict[int, bool]
    processes: tuple[Process, ...]
    recorded: int


def up(settings: LabSettings | None = None) -> LabStatus:
    """Bring the lab up and return once its services answer; a lab that is up already stays as it is.

    Raises SystemFault when something is in the way; what was made until then is taken down again.
    """
    settings = settings or LabSettings()
    if (now := status(settings)).up:
        return now
    _check_programs()
    down(settings)
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    settings.guests_yaml.write_text(guests_yaml(settings))
    settings.records.unlink(missing_ok=True)
    try:
        topology.build(settings)
        web = start_web(settings)
        settings.state.write_text(json.dumps({"processes": [asdict(web)]}))
        wait_for_web(settings, web)
    except BaseException:
        down(settings)
        raise
    return status(settings)


def status(settings: LabSettings | None = None) -> LabStatus:
    """Return how the lab is; never raises for a broken one."""
    settings = settings or LabSettings()
    namespaces = {name: exists(name) for name in settings.namespaces}
    processes = tuple(process for process in _started(settings) if is_running(process))
    web = namespaces[settings.guest_netns(WEB)]
    ports = {port: web and answers(settings, port) for port in (HTTP_PORT, RAW_PORT)}
    return LabStatus(
        up=all(namespaces.values()) and all(ports.values()) and bool(processes),
        namespaces=namespaces,
        ports=ports,
        processes=processes,
        recorded=sum(1 for _ in records(settings)),
    )


def down(settings: LabSettings | None = None) -> None:
    """Take the lab down; nothing of it is left in the kernel. A lab that is not up is no error.

    Works from names alone, so that it does not matter where a killed `up` had got to: the guests'
    processes are those in the lab's own namespaces. The state file only adds a process that was
    started and had not entered its namespace yet, and is held against that process's start time.
    """
    settings = settings or LabSettings()
    kill([process.pid for process in _started(settings) if is_running(process)])
    while left := processes_in(settings.namespaces):
        kill(left)
    topology.remove(settings)
    settings.state.unlink(missing_ok=True)


def guests_yaml(settings: LabSettings | None = None) -> str:
    """Return the lab's guests in the form of `guests.yaml`."""
    settings = settings or LabSettings()
    document = {
        "segments": [{"name": "lab", "bridge": settings.bridge, "zone": 1}],
        "guests": [
            {
                "name": guest.name,
                "segment": "lab",
                "vnics": [
                    {
                        "name": "eth0",
                        "tap": guest.tap,
                        "mac": guest.mac,
                        "addresses": list(guest.addresses),
                    }
                ],
            }
            for guest in GUESTS
        ],
    }
    return yaml.safe_dump(document, sort_keys=False)


def _started(settings: LabSettings) -> list[Process]:
    """Return the processes that the state file names; a torn or missing file names none."""
    try:
        return [Process(**fields) for fields in json.loads(settings.state.read_text())["processes"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _check_programs() -> None:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise SystemFault(f"lab: {', '.join(missing)} not installed (`make deps` installs what it needs)")
