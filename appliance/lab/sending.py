"""Sends attacks from the lab's client and sees what of them arrived."""

import base64
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from appliance.lab.definitions import AttackFile, AttackRequest, Kind, load_attacks
from appliance.lab.settings import CLIENT, HTTP_PORT, RAW_PORT, WEB, LabSettings
from appliance.lab.wire import Outcome, exchange
from appliance.model.faults import SystemFault
from appliance.netns import exists

SERVICES = {HTTP_PORT: "http", RAW_PORT: "raw"}
"""What records call the services, by their ports."""
ARRIVAL_GRACE_S = 0.3
"""How long after the last one unanswered requests may still be recorded before they count as stopped."""


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
    """Send the attacks one by one, then yield what became of each.

    only: file stems or CVEs (none: all). kinds: which requests (none: all). segments: sizes of each
    request's first TCP segments. Raises SystemFault when the lab is not up, PolicyError for a bad file.
    """
    if not exists(settings.guest_netns(CLIENT)):
        raise SystemFault("lab: not up; `sekisho lab up` starts it")
    client, offset = settings.guest_netns(CLIENT), _size_of(settings)
    address = WEB.ipv4 if ip_version == 4 else WEB.ipv6
    sent = [
        (file, request, exchange(client, address, request.port, request.wire(WEB.name), segments, timeout_s))
        for file, request in _chosen(load_attacks() if files is None else files, only, kinds)
    ]
    unanswered = {
        (SERVICES.get(request.port, ""), each.port)
        for _, request, each in sent
        if each.outcome is not Outcome.ANSWERED
    }
    recorded = _recorded(settings, offset, unanswered)
    for file, request, each in sent:
        yield AttackResult(
            attack=file.stem,
            cve=file.attack.cve,
            request=request.name,
            kind=request.kind,
            family=request.family,
            ip_version=ip_version,
            outcome=each.outcome,
            status=each.status,
            recorded=(SERVICES.get(request.port, ""), each.port) in recorded,
            took_s=each.took_s,
            port=each.port,
        )


def _chosen(
    files: Sequence[AttackFile], only: Sequence[str], kinds: Sequence[Kind]
) -> Iterator[tuple[AttackFile, AttackRequest]]:
    for file in files:
        if only and not {file.stem, file.attack.cve, *file.attack.also} & set(only):
            continue
        for request in file.attack.requests:
            if not kinds or request.kind in kinds:
                yield file, request


def _recorded(settings: LabSettings, offset: int, unanswered: set[tuple[str, int]]) -> set[tuple[str, int]]:
    """Return the services and the client's ports of what was recorded; an answered request was already.

    The client's kernel may use one port for connections to two services.
    """
    deadline = time.monotonic() + ARRIVAL_GRACE_S
    while True:
        found = {(record.service, record.peer_port) for record in records(settings, offset)}
        if unanswered <= found or time.monotonic() >= deadline:
            return found
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
