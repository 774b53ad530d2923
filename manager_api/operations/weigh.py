"""What assignments come to: how many signatures they evaluate, and how many of those can block."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from appliance.model.policy import Assignment, Mode
from manager_api.domain import rule_sets as domain
from manager_api.store import rule_sets

Counts = tuple[int, int]
# Going through ET Open's 30,000 signatures takes 50 ms; 200 guests share few lists of assignments.
_KNOWN: OrderedDict[tuple[tuple[Assignment, ...], tuple[str | None, ...]], Counts] = OrderedDict()
_KNOWN_MAX = 1_000
_MUTEX = threading.Lock()


def live_digests(session: Session) -> dict[str, str]:
    """Return the digest of every rule set's live version, by name."""
    return {version.name: version.digest for version in rule_sets.all_live(session)}


def counts(session: Session, assignments: Sequence[Assignment], live: Mapping[str, str]) -> Counts:
    """Return (signatures evaluated, those that can block); of several assignments the last one counts.

    live: from live_digests. A rule set that is not there counts nothing.
    """
    key = (tuple(assignments), tuple(live.get(a.rule_set) for a in assignments))
    with _MUTEX:
        if key in _KNOWN:
            _KNOWN.move_to_end(key)
            return _KNOWN[key]
    counted = _count(session, key[0], live)
    with _MUTEX:
        _KNOWN[key] = counted
        if len(_KNOWN) > _KNOWN_MAX:
            _KNOWN.popitem(last=False)
    return counted


def _count(session: Session, assignments: Sequence[Assignment], live: Mapping[str, str]) -> Counts:
    modes: dict[tuple[int, int], tuple[str, Mode]] = {}
    for assignment in assignments:
        if (digest := live.get(assignment.rule_set)) is None:
            continue
        for s in domain.selected(assignment.select, rule_sets.signatures(session, digest)):
            modes[s.gid, s.sid] = (s.action, assignment.mode)
    evaluated = sum(mode is not Mode.OFF for _, mode in modes.values())
    return evaluated, sum(domain.can_block(action, mode) for action, mode in modes.values())
