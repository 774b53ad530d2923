"""The rules that inspectors hold: drawn from ET Open with a fixed seed."""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SEED = 300
SIZE = 300
# Shares of the drawn ones that are kept: at least so many of a kind, the rest as chance has it.
HTTP_ANY_PORT, RESPONSES, RAW_TCP = 75, 33, 18
"""25 %, 11 % and 6 % of 300: above the 20 %, 10 % and 5 % that are asked for."""

HEADER = re.compile(
    r"(?P<action>\w+)\s+(?P<protocol>\S+)\s+(?P<source>\[[^\]]*\]|\S+)\s+(?P<source_ports>\[[^\]]*\]|\S+)\s+"
    r"(?:->|<>)\s+(?P<target>\[[^\]]*\]|\S+)\s+(?P<ports>\[[^\]]*\]|\S+)\s+\((?P<options>.*)\)\s*$"
)
SERVERS = re.compile(r"(?<!!)\$(HOME_NET|\w+_SERVERS?)\b")
TO_CLIENT = re.compile(r"flow:[^;]*(to_client|from_server)")
SID = re.compile(r"\bsid:\s*(\d+)\s*;")


@dataclass(frozen=True, slots=True)
class Drawn:
    """One rule, as far as the drawing looks at it."""

    text: str
    sid: int
    protocol: str
    ports: str
    is_request: bool
    """Looks at what is sent to a protected server."""
    is_response: bool
    """Looks at what a protected server answers."""

    @property
    def is_http_any_port(self) -> bool:
        """An HTTP request on whatever port."""
        return self.is_request and self.protocol == "http" and self.ports == "any"

    @property
    def is_raw_tcp(self) -> bool:
        """Bytes of a TCP stream to the server, of no protocol."""
        return self.is_request and self.protocol == "tcp"

    @property
    def is_one_port(self) -> bool:
        """Raw TCP to a single port."""
        return self.is_raw_tcp and self.ports.isdigit()


@dataclass(frozen=True, slots=True)
class Selection:
    """Rules under a name. needs_replies: whether any looks at what a server answers."""

    key: str
    name: str
    rules: tuple[str, ...]
    sids: tuple[int, ...]
    needs_replies: bool

    def write(self, path: Path, action: str = "") -> Path:
        """Write the rules to a file, with another action if one is given, and return its path."""
        renamed = (re.sub(r"^\w+", action, rule) if action else rule for rule in self.rules)
        path.write_text("\n".join(renamed) + "\n")
        return path


def read_rules(path: Path) -> list[Drawn]:
    """Return every active rule of the file, by sid. Raises OSError."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        return sorted(_rules(lines), key=lambda rule: rule.sid)


def _rules(lines: Iterator[str]) -> Iterator[Drawn]:
    for line in map(str.strip, lines):
        header, sid = HEADER.match(line), SID.search(line)
        if header is None or sid is None or line.startswith("#"):
            continue
        answers = TO_CLIENT.search(header["options"]) is not None
        yield Drawn(
            line, int(sid[1]), header["protocol"], header["ports"],
            is_request=SERVERS.search(header["target"]) is not None and not answers,
            is_response=SERVERS.search(header["source"]) is not None and answers,
        )  # fmt: skip


def select(rules: list[Drawn]) -> dict[str, Selection]:
    """Return the selections by key: a (one signature), b (300), b' (b without responses), c (all)."""
    one = next(rule for rule in rules if rule.is_one_port)
    drawn = draw(rules, SEED)
    requests = [rule for rule in drawn if not rule.is_response]
    selections = [
        _selection("a", "1 signature", [one]),
        _selection("b", f"{len(drawn)} of ET Open", drawn),
        _selection("b'", f"{len(requests)} of ET Open, none on responses", requests),
        _selection("c", f"all of ET Open ({len(rules)})", rules),
    ]
    return {each.key: each for each in selections}


def draw(rules: list[Drawn], seed: int) -> list[Drawn]:
    """Return SIZE server rules, by sid: the shares first, then the rest from all server rules."""
    chance = random.Random(seed)
    chosen: dict[int, Drawn] = {}

    def take(count: int, wanted: Callable[[Drawn], bool]) -> None:
        left = [rule for rule in rules if wanted(rule) and rule.sid not in chosen]
        chosen.update((rule.sid, rule) for rule in chance.sample(left, min(count, len(left))))

    take(HTTP_ANY_PORT, lambda rule: rule.is_http_any_port)
    take(RESPONSES, lambda rule: rule.is_response)
    take(RAW_TCP, lambda rule: rule.is_raw_tcp)
    take(SIZE - len(chosen), lambda rule: rule.is_request)
    return sorted(chosen.values(), key=lambda rule: rule.sid)


def _selection(key: str, name: str, rules: list[Drawn]) -> Selection:
    return Selection(
        key,
        name,
        tuple(rule.text for rule in rules),
        tuple(rule.sid for rule in rules),
        # Of all rules some look both ways without saying so.
        needs_replies=any(not rule.is_request for rule in rules),
    )
