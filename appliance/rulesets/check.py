"""What of a rule set loads in our engine, and what is refused and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Signature:
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
    metadata: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class RefusedRule:
    """One rule that does not load; sid is None where the rule is too broken to have one."""

    file: str
    line: int
    sid: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The outcome of checking a rule set as a whole."""

    signatures: tuple[Signature, ...]
    refused: tuple[RefusedRule, ...]

    @property
    def loaded(self) -> int:
        """How many signatures load."""
        return len(self.signatures)


def read_attachments(files: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Return (path, bytes) of the files that rules name, those that can be read.

    files: (path, text) of rule files that the person at the keyboard trusts, since rules can name any path.
    """
    from appliance import _engine

    attachments = []
    for path in _engine.rule_attachments(files):
        try:
            attachments.append((path, Path(path).read_bytes()))
        except OSError:
            continue  # The rule that names it is refused, and says so.
    return attachments


def check_files(
    files: Sequence[tuple[str, bytes]],
    attachments: Sequence[tuple[str, bytes]] = (),
    thresholds: Sequence[tuple[str, bytes]] = (),
) -> CheckReport:
    """Return what of the (name, text) files loads and what is refused; never raises for a bad rule.

    A file called threshold.config holds thresholds and suppressions for the signatures of the others.
    attachments: (path, bytes) of the files that rules name, see read_attachments.
    thresholds: (path, text) of files that are read as threshold.config whatever they are called.
    """
    # Imported here so that everything that checks no rules starts without the compiled engine.
    from appliance import _engine

    infos, refusals = _engine.check_rules(files, attachments, thresholds)
    signatures = tuple(
        Signature(
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
        for info in infos
    )
    refused = tuple(RefusedRule(r.file, r.line, r.sid, r.reason) for r in refusals)
    return CheckReport(signatures, refused)
