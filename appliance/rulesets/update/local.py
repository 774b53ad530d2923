"""Rules from files of one's own: suricata-update passes over what it cannot read, without a word."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from appliance.model.faults import SystemFault
from appliance.rulesets.check import RefusedRule, check_files

_SID = re.compile(rb"\bsid\s*:\s*(\d+)")
_PASSED_OVER = "suricata-update passes it over; does a byte order mark or something else stand before it?"


def local_files(paths: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield name and text of each rule file that the paths stand for. Raises SystemFault."""
    for path in paths:
        for file in sorted(path.glob("*.rules")) if path.is_dir() else [path]:
            try:
                text = file.read_bytes()
            except OSError as error:
                raise SystemFault(f"{file}: {str(error.strerror).lower()}") from None
            decoded(str(file), text)
            yield str(file), text


def decoded(name: str, text: bytes) -> str:
    """Return the text of a file. Raises SystemFault where it is not UTF-8."""
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise SystemFault(f"{name}:{line}: not UTF-8; convert it, for instance with iconv") from None


def passed_over(local: Sequence[tuple[str, bytes]], given: Sequence[tuple[str, bytes]]) -> list[RefusedRule]:
    """Return the rules of local files that are not among those that suricata-update gave, each with why."""
    known = {int(sid) for _, text in given for sid in _SID.findall(text)}
    lost: list[RefusedRule] = []
    for name, text in local:
        # What a file is called says how it is read.
        report = check_files([("local.rules", text)])
        refused = [RefusedRule(name, rule.line, rule.sid, rule.reason) for rule in report.refused]
        loaded = [RefusedRule(name, rule.line, rule.sid, _PASSED_OVER) for rule in report.signatures]
        missed = [rule for rule in refused + loaded if rule.sid not in known]
        lost += sorted(missed, key=lambda rule: rule.line)
    return lost
