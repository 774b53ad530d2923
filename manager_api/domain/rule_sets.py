"""A rule set's canonical content, and what its signatures can do under an assignment."""

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from appliance.model.policy import Mode, RuleFile, RuleSetContent, Selection
from appliance.rulesets import Signature, can_block, select

__all__ = ["MAX_FILES", "can_block", "canonical", "count_blocking", "digest_of", "selected"]

MAX_FILES = 1_000


def canonical(name: str, files: Sequence[RuleFile]) -> bytes:
    """Return the content as the bytes that are stored, sent and digested: files by name, keys sorted."""
    ordered = tuple(sorted(files, key=lambda file: file.name))
    return msgspec.json.encode(RuleSetContent(name, ordered), order="sorted")


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of canonical content as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def count_blocking(signatures: Iterable[Signature], mode: Mode) -> int:
    """Return how many of the signatures may drop a packet under mode."""
    return sum(can_block(signature.action, mode) for signature in signatures)


def selected(selection: Selection, signatures: Sequence[Signature]) -> tuple[Signature, ...]:
    """Return the signatures that the selection takes. Raises SelectionError."""
    sids = select(selection, signatures)
    if sids is None:
        return tuple(signatures)
    wanted = frozenset(sids)
    return tuple(s for s in signatures if s.sid in wanted)
