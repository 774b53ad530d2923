"""The lab's attack definitions (appliance/lab/attacks), as bytes on the wire."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.tools.cases import ROOT
from tests.tools.wire import chunked, http

ATTACKS = ROOT / "appliance" / "lab" / "attacks"


@dataclass(frozen=True)
class Request:
    """One request of an attack file."""

    name: str
    kind: str
    family: str
    sids: tuple[int, ...]
    port: int
    data: bytes


@dataclass(frozen=True)
class AttackFile:
    """One attack file; signatures is the rule file that covers it."""

    path: Path
    cve: str
    name: str
    product: str
    signatures: str
    requests: tuple[Request, ...]


def encode(entry: dict[str, Any]) -> bytes:
    """Return the bytes of one request entry."""
    if "raw" in entry:
        return str(entry["raw"]).encode()
    headers = [(str(name), str(value)) for name, value in entry.get("headers", [])]
    body = str(entry.get("body", "")).encode()
    if "chunks" in entry:
        headers.append(("Transfer-Encoding", "chunked"))
        body = chunked(body, entry["chunks"])
    return http(entry.get("method", "GET"), entry["target"], *headers, body=body)


def read(path: Path) -> AttackFile:
    """Return the attack file at path. Raises KeyError or yaml.YAMLError where it is not one."""
    document = yaml.safe_load(path.read_text())
    requests = tuple(
        Request(
            entry["name"],
            entry["kind"],
            entry.get("family", "plain"),
            tuple(entry.get("sids", ())),
            entry.get("port", 8080),
            encode(entry),
        )
        for entry in document["requests"]
    )
    return AttackFile(
        path, document["cve"], document["name"], document["product"], document["signatures"], requests
    )


def read_all() -> list[AttackFile]:
    """Return every attack file, by name."""
    return [read(path) for path in sorted(ATTACKS.glob("*.yaml"))]
