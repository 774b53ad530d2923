"""Sends attacks from the lab's client and sees what of them arrived."""

import base64
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from appliance.lab.definitions import AttackFile, AttackRequest, Kind, load_attacks
from appliance.lab.settings import CLIENT, WEB, LabSettings
from appliance.lab.wire import Outcome, exchange
from appliance.model.faults import SystemFault
from appliance.netns import exists

ARRIVAL_GRACE_S = 0.3
"""How long an unanswered request may still take to be recorded before it counts as stopped."""


@dataclass(frozen=True, slots=True)
class Record:
    """One request that the web guest received whole; request may be cut (`size` is its whole length)."""

    time_s: float
    service: str
    peer: str
    peer_port: int
    size: int
    request: bytes


@dataclass(frozen=True, slots=True)
class AttackResult:
    """What became of one request. recorded: it reached the service whole. port: the client's."""

    attack: str
    cve: str
    request: str
    kind: Kind
    family: str
    ip_version: int
    outcome: Outcome
    status: int
    recorded: bool
    took_s: float
    port: int


def attack(
    settings: LabSettings,
    *,
    only: Sequence[str] = (),
    kinds: Sequence[Kind] = (),
    ip_version: int = 4,
    segments: Sequence[int] = (),
    timeout_s: float = 3.0,
    files: Sequence[AttackFile] | None = None,
) -> Iterator[AttackResult]:
    """Send the attacks one by one, and yield what became of each.

    only: file stems or CVEs (none: all). kinds: which requests (none: all). segments: sizes of each
    request's first TCP segments. Raises SystemFault when the lab is not up, PolicyError for a bad file.
    """
    if not exists(settings.guest_netns(CLIENT)):
        raise SystemFault("lab: not up; `sekisho lab up` starts it")
    for file in load_attacks() if files is None else files:
        if only and not {file.stem, file.attack.cve, *file.attack.also} & set(only):
            continue
        for request in file.attack.requests:
            if not kinds or request.kind in kinds:
                yield _send(settings, file, request, ip_version, segments, timeout_s)


def _send(
    settings: LabSettings,
    file: AttackFile,
    request: AttackRequest,
    ip_version: int,
    segments: Sequence[int],
    timeout_s: float,
) -> AttackResult:
    address = WEB.ipv4 if ip_version == 4 else WEB.ipv6
    offset = _size_of(settings)
    sent = exchange(
        settings.guest_netns(CLIENT), address, request.port, request.wire(WEB.name), segments, timeout_s
    )
    return AttackResult(
        attack=file.stem,
        cve=file.attack.cve,
        request=request.name,
        kind=request.kind,
        family=request.family,
        ip_version=ip_version,
        outcome=sent.outcome,
        status=sent.status,
        recorded=_was_recorded(settings, offset, sent.port, sent.outcome),
        took_s=sent.took_s,
        port=sent.port,
    )


def _was_recorded(settings: LabSettings, offset: int, port: int, outcome: Outcome) -> bool:
    """Look for a record from our port; an answered request is recorded before its answer is sent."""
    deadline = time.monotonic() + (0 if outcome is Outcome.ANSWERED else ARRIVAL_GRACE_S)
    while True:
        if any(record.peer_port == port for record in records(settings, offset)):
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)


def _size_of(settings: LabSettings) -> int:
    return settings.records.stat().st_size if settings.records.exists() else 0


def records(settings: LabSettings, offset: int = 0) -> Iterator[Record]:
    """Yield what the web guest recorded, from a byte offset into its file on."""
    if not settings.records.exists():
        return
    with settings.records.open("rb") as lines:
        lines.seek(offset)
        for line in lines:
            if not line.endswith(b"\n"):
                return  # still being written
            fields = json.loads(line)
            yield Record(
                time_s=fields["time_s"],
                service=fields["service"],
                peer=fields["peer"],
                peer_port=fields["peer_port"],
                size=fields["bytes"],
                request=base64.b64decode(fields["request"]),
            )
