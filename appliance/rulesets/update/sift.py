"""Takes out of fetched rules what our engine does not load, so that the rest can become live as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.rulesets.check import CheckReport, RefusedRule, check_files

# The name by which the engine knows the file in a rule set that holds no rules.
THRESHOLDS = "threshold.config"


@dataclass(frozen=True, slots=True)
class Sifted:
    """Rule files in which everything loads, and what was taken out of them."""

    files: tuple[tuple[str, bytes], ...]
    report: CheckReport
    """Of the files as they are now: nothing in it is refused."""
    refused: tuple[RefusedRule, ...]


def sift(files: Sequence[tuple[str, bytes]]) -> Sifted:
    """Return the files with every refused rule turned into a comment that says why.

    Data that no rule names any more is left out.
    """
    report = check_files(files)
    refused: tuple[RefusedRule, ...] = ()
    kept = tuple(files)
    # A rule taken out may have been the older of two with one sid, or what another depended on.
    while report.refused:
        unnamed = {rule.file for rule in report.refused if not _holds_lines(rule.file)}
        refused += tuple(rule for rule in report.refused if rule.file not in unnamed)
        kept = tuple(
            (name, _without(name, text, report.refused)) for name, text in kept if name not in unnamed
        )
        report = check_files(kept)
    return Sifted(kept, report, refused)


def _holds_lines(name: str) -> bool:
    """Return whether the file's lines are read one by one, and not as the data of a rule."""
    return name.endswith((".rules", THRESHOLDS))


def _without(name: str, text: bytes, refused: Sequence[RefusedRule]) -> bytes:
    reasons = {rule.line: rule.reason for rule in refused if rule.file == name}
    lines = text.split(b"\n")
    continues: str | None = None
    for at, line in enumerate(lines):
        reason = reasons.get(at + 1, continues)
        if reason is not None:
            lines[at] = b"# refused: " + " ".join(reason.split()).encode() + b": " + line.rstrip(b"\\\r \t")
        continues = reason if line.rstrip(b"\r \t").endswith(b"\\") else None
    return b"\n".join(lines)
