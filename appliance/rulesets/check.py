"""What of a rule set loads in our engine, and what is refused and why."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, overload

import msgspec

if TYPE_CHECKING:
    from appliance._engine import Signatures


class Signature(msgspec.Struct, frozen=True):
    """What is known of one loaded signature; priority 1 is the most severe."""

    sid: int
    gid: int = 1
    rev: int = 0
    msg: str = ""
    action: str = "alert"
    protocol: str = "ip"
    classtype: str = ""
    priority: int = 3
    cves: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    metadata: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    file: str = ""
    line: int = 0


class RefusedRule(msgspec.Struct, frozen=True):
    """One rule that does not load; sid is None where the rule is too broken to have one."""

    file: str
    line: int
    sid: int | None
    reason: str


class RuleWarning(msgspec.Struct, frozen=True):
    """Something that a rule which loads says, and that is not done."""

    file: str
    line: int
    sid: int | None
    reason: str


class CheckReport(msgspec.Struct, frozen=True):
    """The outcome of checking a rule set as a whole."""

    signatures: Sequence[Signature]
    refused: tuple[RefusedRule, ...]
    warnings: tuple[RuleWarning, ...] = ()

    @property
    def loaded(self) -> int:
        """How many signatures load."""
        return len(self.signatures)


def check_files(files: Sequence[tuple[str, bytes]]) -> CheckReport:
    """Return what of a rule set's (name, text) files loads and what is refused; never raises for a bad rule.

    Files called *.rules hold the rules, threshold.config thresholds and suppressions for them. Any other file
    is data that a rule names (`dataset:…,load NAME`), beside the rule's file; rules see no file but these.
    """
    # Imported here so that everything that checks no rules starts without the compiled engine.
    from appliance import _engine

    infos, refusals, remarks = _engine.check_rules(files)
    refused = tuple(RefusedRule(r.file, r.line, r.sid, r.reason) for r in refusals)
    warnings = tuple(RuleWarning(r.file, r.line, r.sid, r.reason) for r in remarks)
    return CheckReport(_Loaded(infos), refused, warnings)


class _Loaded(Sequence[Signature]):
    """The engine's signatures, each made into one of ours when it is asked for: there may be very many."""

    def __init__(self, infos: "Signatures") -> None:
        self._infos = infos

    def __len__(self) -> int:
        return len(self._infos)

    @overload
    def __getitem__(self, index: int) -> Signature: ...

    @overload
    def __getitem__(self, index: slice) -> list[Signature]: ...

    def __getitem__(self, index: int | slice) -> Signature | list[Signature]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        info = self._infos[index + len(self) if index < 0 else index]
        return Signature(
            sid=info.sid,
            gid=info.gid,
            rev=info.rev,
            msg=info.msg,
            action=info.action,
            protocol=info.protocol,
            classtype=info.classtype,
            priority=info.priority,
            cves=tuple(info.cves),
            references=tuple(info.references),
            metadata={key: tuple(values) for key, values in info.metadata.items()},
            file=info.file,
            line=info.line,
        )
