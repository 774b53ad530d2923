"""What may stand between the guests, each started for real and ended again."""

import contextlib
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.model.policy import Mode
from bench import engines
from bench.inline import appliance_state, steering
from bench.inline.cores import Cores, pinned
from bench.inline.programs import ROOT, await_it, running
from bench.inline.segment import Segment
from bench.inline.selections import Selection

NO_QUEUE = "no queue"
ACCEPT_ALL = "accept-all"
ACCEPT_NEEDED = "accept-all, needed directions"
SEKISHO = "sekisho"
SURICATA = "suricata"
PATHS = (NO_QUEUE, ACCEPT_ALL, ACCEPT_NEEDED, SEKISHO, SURICATA)

STATUS_TIMEOUT_S = 30.0
COUNTED_EVERY_S = 1.1
"""Control asks its inspector for counters once a second."""
BATCH = 20


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and with what a path is set up. examples: folder of the engine's built examples. records: the EVE
    types that Suricata writes."""

    segment: Segment
    cores: Cores
    examples: Path
    work: Path
    records: frozenset[str]


@dataclass(frozen=True, slots=True)
class Standing:
    """A path that is up. pids: its inspector's processes. uninspected: bytes let through so far, by
    reason."""

    pids: list[int] = field(default_factory=list)
    uninspected: Callable[[], Mapping[str, int]] = dict


def missing(path: str) -> str:
    """Say why a path cannot be set up here; empty if it can."""
    if path == SURICATA:
        return engines.Suricata(Path()).missing()
    return ""


def stand(path: str, setting: Setting, selection: Selection) -> AbstractContextManager[Standing]:
    """Set a path up until the block ends. Raises ProgramFailed, SystemFault, OSError."""
    if path == NO_QUEUE:
        return contextlib.nullcontext(Standing())
    if path == SEKISHO:
        return sekisho(
            setting, "\n".join(selection.rules), {server.name: None for server in setting.segment.servers}
        )
    if path == SURICATA:
        return _suricata(setting, selection)
    return _accept_all(setting, replies=path == ACCEPT_ALL or selection.needs_replies)


@contextlib.contextmanager
def _accept_all(setting: Setting, *, replies: bool) -> Iterator[Standing]:
    segment, queues = setting.segment, setting.cores.queues
    with contextlib.ExitStack() as stack:
        pids = []
        for queue in range(queues):
            command = [str(setting.examples / "accept_all"), str(queue), "--fail-open"]
            log = setting.work / f"accept-all-{queue}.log"
            core = setting.cores.inspector[queue]
            process = stack.enter_context(
                running(segment.netns, pinned((core,), command), log, lambda said: "ready" in said)
            )
            pids.append(process.pid)
        stack.enter_context(steering.steered(segment, queues, replies=replies))
        yield Standing(pids)


@contextlib.contextmanager
def _suricata(setting: Setting, selection: Selection) -> Iterator[Standing]:
    segment, queues = setting.segment, setting.cores.queues
    rules = selection.write(setting.work / "suricata.rules", action="drop")
    config = setting.work / "suricata.yaml"
    addresses = ",".join(server.address for server in segment.servers)
    engines.configure_suricata(set(setting.records), config, home_net=f"[{addresses}]")
    out = setting.work / "suricata"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    command = ["suricata", "-c", str(config), "-S", str(rules), "-l", str(out), "--runmode", "workers"]
    for queue in range(queues):
        command += ["-q", str(queue)]
    for key, value in {
        "nfq.mode": "accept",
        "nfq.batchcount": BATCH,
        "nfq.fail-open": "yes",
        "nfq.bypass-mark": steering.BYPASS_MARK,
        "nfq.bypass-mask": steering.BYPASS_MARK,
        "stream.bypass": "yes",
    }.items():
        command += ["--set", f"{key}={value}"]
    log = setting.work / "suricata.log"
    with (
        running(
            segment.netns, pinned(setting.cores.inspector, command), log, lambda said: "ngine started" in said
        ) as process,
        steering.steered(segment, queues, bypass=True),
    ):
        yield Standing([process.pid], lambda: {"bypass": steering.bypassed_bytes(segment)})


@contextlib.contextmanager
def sekisho(
    setting: Setting,
    rules: str,
    sids: Mapping[str, tuple[int, ...] | None],
    mode: Mode = Mode.PREVENT,
) -> Iterator[Standing]:
    """Run `sekisho run` with each guest's signatures in this mode. Raises ProgramFailed, OSError."""
    segment = setting.segment
    directory = setting.work / "appliance"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    config = appliance_state.prepare(directory, segment, rules, sids, setting.cores.queues, mode)
    command = [sys.executable, "-m", "appliance.cli", "run", "--config", str(config)]
    log = setting.work / "sekisho.log"
    status = directory / "state" / "status.json"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    # It enters the bridge's namespace by itself.
    with running(
        None, pinned(setting.cores.inspector, command), log, lambda _: True, env=environment
    ) as process:
        await_it(process, "sekisho run", lambda: _is_up(status, process.pid), log)
        inspector = int(_read(status)["inspector"]["pid"])
        yield Standing([process.pid, inspector], lambda: _uninspected(status, segment))


def _is_up(status: Path, pid: int) -> bool:
    said = _read(status)
    if said.get("error"):
        raise RuntimeError(f"sekisho run: {said['error']}")
    return bool(said.get("pid") == pid and said["inspector"]["up"])


def _read(status: Path) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads(status.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return said


def _uninspected(status: Path, segment: Segment) -> dict[str, int]:
    """Return the servers' bytes by reason once the appliance has counted all that passed before this call."""
    settled = time.time() + COUNTED_EVERY_S
    deadline = time.monotonic() + STATUS_TIMEOUT_S
    while (said := _read(status)).get("time_s", 0) < settled:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{status}: not written for {STATUS_TIMEOUT_S:.0f} s")
        time.sleep(0.05)
    servers = {server.name for server in segment.servers}
    total: Counter[str] = Counter()
    for guest in said["guests"]:
        if guest["name"] in servers:
            total.update(guest["uninspected"])
    return dict(total)
