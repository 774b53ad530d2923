"""What an update changes about the rules that are live."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.rulesets.check import CheckReport, RefusedRule, Signature

Key = tuple[int, int]
Files = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class RuleChange:
    """One signature that is not as it was; the revs are None where there is none."""

    gid: int
    sid: int
    msg: str
    old_rev: int | None
    new_rev: int | None


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


def compare(
    live: tuple[CheckReport, Files], new: tuple[CheckReport, Files], refused: Sequence[RefusedRule]
) -> Difference:
    """Compare two rule sets, each what loads and its text; refused: left out of the new one."""
    before, after = _by_key(*live), _by_key(*new)
    live_sids = {sid for _gid, sid in before}
    lost = {sid for _gid, sid in before.keys() - after.keys()}
    return Difference(
        added=tuple(_change(None, after[key][0]) for key in sorted(after.keys() - before.keys())),
        removed=tuple(_change(before[key][0], None) for key in sorted(before.keys() - after.keys())),
        changed=tuple(
            _change(before[key][0], after[key][0])
            for key in sorted(before.keys() & after.keys())
            if before[key][1] != after[key][1]
        ),
        newly_refused=tuple(rule for rule in refused if rule.sid in live_sids and rule.sid in lost),
    )


def _change(old: Signature | None, new: Signature | None) -> RuleChange:
    known = new or old
    assert known is not None
    return RuleChange(
        known.gid, known.sid, known.msg, None if old is None else old.rev, None if new is None else new.rev
    )


def _by_key(report: CheckReport, files: Files) -> Mapping[Key, tuple[Signature, bytes]]:
    """Return each signature with its text, spaces at the ends left out."""
    lines = {name: text.split(b"\n") for name, text in files}
    return {(s.gid, s.sid): (s, _text(lines[s.file], s.line)) for s in report.signatures}


def _text(lines: Sequence[bytes], first: int) -> bytes:
    whole = b""
    for line in lines[first - 1 :]:
        stripped = line.strip()
        if not stripped.endswith(b"\\"):
            return whole + stripped
        whole += stripped[:-1]
    return whole
