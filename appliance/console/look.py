"""All that the screen shows.

Files are read when they changed, addresses when the kernel says that they did: a screen that nobody looks at
must cost nothing.
"""

import base64
import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from appliance import rtnetlink
from appliance.clock import unset_clock
from appliance.config import Config, read_config
from appliance.console.words import screen, state, troubles
from appliance.control.status_file import read_status
from appliance.hypervisor import load_guests
from appliance.model.faults import PolicyError, SystemFault
from appliance.service import CONFIG

MISSING = Path("/run/sekisho/missing")
HOST_KEY = Path("/data/ssh/ssh_host_ed25519_key.pub")
SSH = Path("/run/sekisho/ssh")
LOOK_EVERY_S = 2.0


def screens() -> Iterator[str]:
    """Yield what there is to be shown, every two seconds."""
    known, configured = "", Configured((), ())
    seen: object = None
    with rtnetlink.alarm(
        None, rtnetlink.RTNLGRP_LINK, rtnetlink.RTNLGRP_IPV4_IFADDR, rtnetlink.RTNLGRP_IPV6_IFADDR
    ) as alarm:
        while True:
            if alarm.hush() or seen is None:
                known = _addresses()
            if (stamp := _stamp()) != seen:
                configured, seen = _configured(), stamp
            yield _look(known, configured)
            time.sleep(LOOK_EVERY_S)


def addresses(listed: bytes) -> str:
    """Return what `ip -j address` listed, in words; for each address its filter left out, it lists {}."""
    return ", ".join(
        f"{link['ifname']} {address['local']}/{address['prefixlen']}"
        for link in json.loads(listed)
        for address in link.get("addr_info", ())
        if address
    )


class Configured(msgspec.Struct, frozen=True):
    """What files say that seldom change. failures: each segment's policy for `inspector_down`."""

    failures: tuple[str, ...]
    lacking: tuple[str, ...]
    config: Config | None = None
    host_key: str = ""


def _stamp() -> tuple[int, ...]:
    """Return what is another number when one of the files is another."""
    stamps = []
    for path in (CONFIG, CONFIG.with_name("guests.yaml"), MISSING, HOST_KEY, SSH):
        try:
            status = path.stat()
        except OSError:
            stamps.append(0)
        else:
            stamps += [status.st_mtime_ns, status.st_size]
    return tuple(stamps)


def _configured() -> Configured:
    lacking = MISSING.read_text().splitlines() if MISSING.exists() else []
    config, failures = None, []
    try:
        config = read_config(CONFIG)
        failures = [each.failure.inspector_down for each in load_guests(Path(config.guests)).segments]
    except (PolicyError, SystemFault, OSError) as error:
        lacking.append(str(error))
    return Configured(tuple(failures), tuple(lacking), config, host_key())


def _look(known: str, configured: Configured) -> str:
    status, rows, lacking = None, [], [*configured.lacking]
    config = configured.config
    if config is not None:
        try:
            status = read_status(config.state / "status.json")
        except (SystemFault, OSError) as error:
            lacking.append(str(error))
        if config.manager is not None:
            connection = (status or {}).get("manager", "not reached yet")
            rows += [
                ("manager", f"{config.manager.url}: {connection}"),
                ("its CA", config.manager.ca_fingerprint),
                ("called", config.manager.name),
            ]
    if (unset := unset_clock()) is not None:
        lacking.append(unset)
    lacking += troubles(status or {})
    age_s = time.time() - (status or {}).get("time_s", 0)
    rows += [("addresses", known), ("ssh key", configured.host_key)]
    return screen(state(status, age_s, configured.failures), rows, list(dict.fromkeys(lacking)))


def _addresses() -> str:
    done = subprocess.run(
        ["ip", "-j", "-br", "address", "show", "up", "scope", "global"], capture_output=True
    )
    return addresses(done.stdout or b"[]")


def host_key(path: Path = HOST_KEY, is_on: Path = SSH) -> str:
    """Return the fingerprint of SSH's key as clients show it, or nothing while SSH is off."""
    try:
        if not is_on.exists():
            return ""
        blob = base64.b64decode(path.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return ""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
