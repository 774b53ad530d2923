"""Our own signatures as their text: enough of the language to lint it, not a second parser."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.tools.cases import ROOT

SIGNATURES = ROOT / "signatures"
HEADER = re.compile(r"alert (http|tcp|udp) any any -> \$HOME_NET (any|\S+) \((.*)\)")
OPTION = re.compile(r'\s*([a-z_.]+)(?::((?:"(?:\\.|[^"\\])*"|\\.|[^;"\\])*|!"(?:\\.|[^"\\])*"))?;')


@dataclass(frozen=True)
class Signature:
    """One rule line; options in the order written, their values as written."""

    file: Path
    line: int
    text: str
    options: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        """Return every value of this option."""
        return [value for key, value in self.options if key == name]

    def one(self, name: str) -> str:
        """Return the value of an option that must stand exactly once. Raises ValueError."""
        (value,) = self.all(name)
        return value

    @property
    def sid(self) -> int:
        return int(self.one("sid"))

    @property
    def metadata(self) -> dict[str, list[str]]:
        """Return the metadata's values by key."""
        found: dict[str, list[str]] = {}
        for pair in ",".join(self.all("metadata")).split(","):
            key, _, value = pair.strip().partition(" ")
            found.setdefault(key, []).append(value)
        return found

    @property
    def fast_pattern(self) -> bytes:
        """Return the one content marked fast_pattern. Raises ValueError where there is none or several."""
        (chosen,) = list(self._marked())
        return chosen

    def _marked(self) -> Iterator[bytes]:
        content = b""
        for key, value in self.options:
            if key == "content":
                content = unquote(value)
            elif key == "fast_pattern":
                yield content


def unquote(content: str) -> bytes:
    """Return the bytes a content option stands for, its |hex| read."""
    parts = re.split(r"\|([0-9A-Fa-f ]*)\|", content.removeprefix("!").strip('"'))
    plain = [re.sub(r"\\(.)", r"\1", part).encode() for part in parts[::2]]
    coded = [bytes.fromhex(part) for part in parts[1::2]] + [b""]
    return b"".join(a + b for a, b in zip(plain, coded, strict=True))


def read(file: Path) -> list[Signature]:
    """Return the signatures of a file. Raises ValueError, naming file and line, for what is not one."""
    found = []
    for number, text in enumerate(file.read_text().splitlines(), 1):
        if not text or text.startswith("#"):
            continue
        head = HEADER.fullmatch(text)
        if head is None:
            raise ValueError(f"{file.name}:{number}: not `alert PROTOCOL any any -> $HOME_NET PORTS (…)`")
        options, at = [], 0
        while at < len(head[3]):
            option = OPTION.match(head[3], at)
            if option is None:
                raise ValueError(f"{file.name}:{number}: unreadable from `{head[3][at : at + 30]}`")
            options.append((option[1], option[2] or ""))
            at = option.end()
        found.append(Signature(file, number, text, tuple(options)))
    return found


def read_all() -> list[Signature]:
    """Return the signatures of every file."""
    return [signature for file in sorted(SIGNATURES.glob("*.rules")) for signature in read(file)]
