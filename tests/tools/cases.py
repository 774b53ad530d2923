"""A case as its folder: input.pcap, test.rules, expect.yaml, README.md."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from scapy.packet import Packet

from tests.tools import wire

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "tests" / "cases"
ORIGIN = "Made by `python -m tests.tools.make_cases` with scapy; nobody's traffic."


@dataclass(frozen=True)
class Case:
    """One case to be written.

    rules: text, or the name of a file below signatures/, to which test.rules is then a link.
    alerts: how often each sid fires; suricata: how often in Suricata, where we differ (notes then say why).
    purpose, why and notes go into the README.
    """

    name: str
    purpose: str
    why: str
    rules: str
    packets: Sequence[Packet]
    alerts: Mapping[int, int] = field(default_factory=dict)
    ips: bool = False
    notes: str = ""
    suricata: Mapping[int, int] | None = None

    def write(self, below: Path) -> None:
        """Write the case's folder below this one, replacing what is there."""
        folder = below / self.name
        folder.mkdir(parents=True, exist_ok=True)
        wire.write(folder / "input.pcap", self.packets)
        test_rules = folder / "test.rules"
        test_rules.unlink(missing_ok=True)
        if self.rules.endswith(".rules"):
            target = ROOT / "signatures" / self.rules
            test_rules.symlink_to(os.path.relpath(target, CASES / self.name))
        else:
            test_rules.write_text(self.rules.strip() + "\n")
        expect: dict[str, object] = {"ips": self.ips, "alerts": dict(sorted(self.alerts.items()))}
        if self.suricata is not None:
            expect["suricata"] = dict(sorted(self.suricata.items()))
        (folder / "expect.yaml").write_text(yaml.safe_dump(expect, sort_keys=False))
        (folder / "README.md").write_text(self.readme())

    def readme(self) -> str:
        """Return the README: purpose, origin, why the alerts must or must not be there."""
        parts = [f"# {self.name}", self.purpose, f"**Origin.** {ORIGIN}", f"**Why.** {self.why}"]
        if self.notes:
            parts.append(f"**Notes.** {self.notes}")
        return "\n\n".join(parts) + "\n"


@dataclass(frozen=True)
class Written:
    """A case as it stands on disk."""

    folder: Path
    ips: bool
    alerts: Counter[int]
    suricata: Counter[int]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def rules(self) -> Path:
        return self.folder / "test.rules"

    @property
    def pcap(self) -> Path:
        return self.folder / "input.pcap"


def read(folder: Path) -> Written:
    """Return the case in this folder. Raises OSError, KeyError or yaml.YAMLError where it is not one."""
    expect = yaml.safe_load((folder / "expect.yaml").read_text())
    alerts = expect["alerts"]
    return Written(folder, bool(expect["ips"]), Counter(alerts), Counter(expect.get("suricata", alerts)))


def read_all(below: Path = CASES) -> list[Written]:
    """Return every case below, by name."""
    return [read(path.parent) for path in sorted(below.glob("*/expect.yaml"))]
