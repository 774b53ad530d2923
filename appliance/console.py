"""What the machine's consoles show: `python -m appliance.console TTY…`. Nobody logs in there.

The screen is written anew when it says something new, so that a serial line stays quiet. Files are read when
they changed, addresses when the kernel says that they did: a screen that nobody looks at must cost nothing.
"""

import base64
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from appliance import rtnetlink
from appliance.clock import unset_clock
from appliance.config import Config, read_config
from appliance.control.status import read_status
from appliance.hypervisor import load_guests
from appliance.model.faults import PolicyError, SystemFault
from appliance.service import CONFIG

MISSING = Path("/run/sekisho/missing")
HOST_KEY = Path("/data/ssh/ssh_host_ed25519_key.pub")
SSH = Path("/run/sekisho/ssh")
LOOK_EVERY_S = 2.0
STALE_AFTER_S = 15.0


def state(status: Mapping[str, Any] | None, age_s: float, failures: Sequence[str]) -> str:
    """Return the appliance's state in words. failures: each segment's policy for `inspector_down`."""
    if status is None or age_s > STALE_AFTER_S:
        return "NOT RUNNING: what is not inspected passes or stops as each segment's failure policy says"
    inspector = status.get("inspector") or {}
    if not inspector.get("up") or inspector.get("failure_policy"):
        ways = sorted(set(failures)) or ["open"]
        return f"FAILING {' AND '.join(ways).upper()}: the inspector is down"
    if status.get("bypass"):
        return "BYPASSED: an operator lets traffic pass uninspected"
    if not status.get("live_version"):
        return "NO POLICY: firewall and signatures wait for the manager"
    return f"PROTECTING {len(status.get('guests', ()))} guests with policy version {status['live_version']}"


def screen(headline: str, rows: Sequence[tuple[str, str]], lacking: Sequence[str]) -> str:
    """Return the screen's text; what comes from outside is stripped of control characters."""
    lines = ["", f"  Sekisho   {headline}", ""]
    lines += [f"  {name:11} {value}" for name, value in rows if value]
    lines += ["", *(f"  ! {sentence}" for sentence in lacking)] if lacking else []
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in [*lines, ""])


def addresses(listed: bytes) -> str:
    """Return what `ip -j address` listed, in words; for each address its filter left out, it lists {}."""
    return ", ".join(
        f"{link['ifname']} {address['local']}/{address['prefixlen']}"
        for link in json.loads(listed)
        for address in link.get("addr_info", ())
        if address
    )


def main(ttys: Sequence[str]) -> None:
    """Show it for ever."""
    shown, known, configured = "", "", Configured((), ())
    seen: object = None
    with rtnetlink.alarm(
        None, rtnetlink.RTNLGRP_LINK, rtnetlink.RTNLGRP_IPV4_IFADDR, rtnetlink.RTNLGRP_IPV6_IFADDR
    ) as alarm:
        while True:
            if alarm.hush() or seen is None:
                known = _addresses()
            if (stamp := _stamp()) != seen:
                configured, seen = _configured(), stamp
            text = _look(known, configured)
            if text != shown:
                for tty in ttys:
                    _show(tty, text)
                shown = text
            time.sleep(LOOK_EVERY_S)


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
    if status is not None and status.get("error"):
        lacking.append(str(status["error"]))
    lacking += (status or {}).get("missing", ())
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


def _show(tty: str, text: str) -> None:
    try:
        with Path(tty).open("w") as file:
            file.write("\x1b[H\x1b[2J" + text.replace("\n", "\r\n"))
    except OSError:  # a machine without this console
        return


if __name__ == "__main__":
    main(sys.argv[1:])
