"""Which signatures of a rule set an assignment takes, and which of them can stop traffic."""

from collections.abc import Iterable

from appliance.model.policy import Mode, Selection
from appliance.rulesets.check import Signature


class SelectionError(ValueError):
    """A filter that cannot be read; the text says where and what would do."""


def select(selection: Selection, signatures: Iterable[Signature]) -> tuple[int, ...] | None:
    """Return the sids that a selection takes, or None for all of them. Raises SelectionError.

    Listed sids and a filter together take what both name.
    """
    if selection.filter is None:
        return selection.sids
    # Imported here: most policies select without a filter, and a start waits for what is imported.
    from appliance.rulesets.filters import compile_filter

    predicate = compile_filter(selection.filter)
    listed = None if selection.sids is None else frozenset(selection.sids)
    return tuple(s.sid for s in signatures if (listed is None or s.sid in listed) and predicate(s))


def can_block(action: str, mode: Mode) -> bool:
    """Return whether a signature with this action can stop traffic when assigned in this mode."""
    match mode:
        case Mode.OFF | Mode.DETECT:
            return False
        case Mode.AS_WRITTEN:
            return action in ("drop", "reject")
        case Mode.PREVENT:
            return action != "pass"
