"""What the lab's client can send: the YAML files in `attacks/`, whose README states their form."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import yaml

from appliance.lab.settings import RAW_PORT
from appliance.model.faults import PolicyError

ATTACKS_DIR = Path(__file__).parent / "attacks"

Kind = Literal["exploit", "obfuscated", "near-miss", "ordinary"]


class AttackRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One request: `raw` as it is, or put together from method, target, headers and body.

    sids: the signatures that answer it.
    """

    name: str
    kind: Kind
    sids: tuple[int, ...] = ()
    family: str = "plain"
    port: int = RAW_PORT
    method: str = "GET"
    target: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    body: str | None = None
    chunks: tuple[int, ...] = ()
    raw: str | None = None

    def wire(self, host: str) -> bytes:
        """Return the request's bytes (text is UTF-8); Host comes first unless the headers hold one."""
        if self.raw is not None:
            return self.raw.encode()
        body = (self.body or "").encode()
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        if not any(name.lower() == "host" for name, _ in self.headers):
            lines.append(f"Host: {host}")
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.chunks:
            lines.append("Transfer-Encoding: chunked")
            body = b"".join(_chunked(body, self.chunks))
        elif self.body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode() + body


def _chunked(body: bytes, sizes: tuple[int, ...]) -> Iterator[bytes]:
    for size in (*sizes, len(body)):
        piece, body = body[:size], body[size:]
        if piece:
            yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


class Attack(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A vulnerability's exploit requests, obfuscated forms of them, near misses and ordinary requests."""

    cve: str
    also: tuple[str, ...] = ()
    name: str
    product: str
    signatures: str
    requests: tuple[AttackRequest, ...]


@dataclass(frozen=True, slots=True)
class AttackFile:
    """An attack and the file that defines it; the file's stem is what `--only` names."""

    stem: str
    attack: Attack


def load_attacks(directory: Path = ATTACKS_DIR) -> tuple[AttackFile, ...]:
    """Return the attacks defined in the directory, by file name. Raises PolicyError naming file and place."""
    return tuple(AttackFile(path.stem, _load(path)) for path in sorted(directory.glob("*.yaml")))


def _load(path: Path) -> Attack:
    try:
        attack = msgspec.convert(yaml.safe_load(path.read_bytes()), Attack)
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path}: {error}") from error
    names = [request.name for request in attack.requests]
    for name in names:
        if names.count(name) > 1:
            raise PolicyError(f"{path}: two requests are named {name!r}; names are unique in a file")
    return attack
