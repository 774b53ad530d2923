"""What an update changes about the rules that are live."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.rulesets.check import CheckReport, RefusedRule

# What suricata-update calls a data set, by its content or by where it was found; it lies beside the rules.
_DATA_SET = re.compile(rb"\bload (datasets/[0-9a-f]{32})\b")
Key = tuple[int, int]
Files = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class RuleChange:
    """One signature that is not as it was; what was old or is new of it is None where there is none."""

    gid: int
    sid: int
    msg: str
    old_rev: int | None
    new_rev: int | None
    old_action: str | None = None
    new_action: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """From the live rules to new ones; each list in the order of gid and sid."""

    added: tuple[RuleChange, ...]
    removed: tuple[RuleChange, ...]
    changed: tuple[RuleChange, ...]
    newly_refused: tuple[RefusedRule, ...]
    """Not loaded from the new rules, though a signature of that sid is live."""

    @property
    def is_empty(self) -> bool:
        """Whether the new rules are the live ones."""
        return not (self.added or self.removed or self.changed)


def data_sets(rules: bytes) -> set[str]:
    """Return the names of the data sets that rules ask for."""
    return {name.decode() for name in _DATA_SET.findall(rules)}


def compare(
    live: tuple[CheckReport, Files], new: tuple[CheckReport, Files], refused: Sequence[RefusedRule]
) -> Difference:
    """Compare two rule sets, each what loads and its text; refused: left out of the new one."""
    before, after = _by_key(*live), _by_key(*new)
    live_sids = {sid for _gid, sid in before}
    lost = {sid for _gid, sid in before.keys() - after.keys()}
    return Difference(
        added=tuple(_change(None, after[key]) for key in sorted(after.keys() - before.keys())),
        removed=tuple(_change(before[key], None) for key in sorted(before.keys() - after.keys())),
        changed=tuple(
            _change(before[key], after[key])
            for key in sorted(before.keys() & after.keys())
            if (before[key].text, before[key].data) != (after[key].text, after[key].data)
        ),
        newly_refused=tuple(rule for rule in refused if rule.sid in live_sids and rule.sid in lost),
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """What is compared of a signature, and shown; the whole ones of two large rule sets are not held."""

    gid: int
    sid: int
    rev: int
    action: str
    msg: str
    text: bytes
    """The rule, spaces at the ends left out."""
    data: tuple[bytes | None, ...]
    """The data sets that it names."""


def _change(old: _Known | None, new: _Known | None) -> RuleChange:
    known = new or old
    assert known is not None
    return RuleChange(
        known.gid,
        known.sid,
        known.msg,
        None if old is None else old.rev,
        None if new is None else new.rev,
        None if old is None else old.action,
        None if new is None else new.action,
    )


def _by_key(report: CheckReport, files: Files) -> Mapping[Key, _Known]:
    texts = dict(files)
    lines = {name: text.split(b"\n") for name, text in files}
    known = {}
    for s in report.signatures:
        text = _text(lines[s.file], s.line)
        data = tuple(texts.get(name) for name in sorted(data_sets(text)))
        known[s.gid, s.sid] = _Known(s.gid, s.sid, s.rev, s.action, s.msg, text, data)
    return known


def _text(lines: Sequence[bytes], first: int) -> bytes:
    whole = b""
    for at in range(first - 1, len(lines)):
        stripped = lines[at].strip()
        if not stripped.endswith(b"\\"):
            return whole + stripped
        whole += stripped[:-1]
    return whole
