"""Sets with ranges are filled under a name of their own before any rule asks them.

While the kernel commits a transaction it already takes elements that were deleted for gone, and does not find
those added to such a set yet (nft_set_pipapo, before Linux 6.18), not even in a new one that the same one's
rules ask. A packet in that moment would be in no set, so its sender a spoofer, and what is to be
inspected not looked at. So a set that is to hold something else is made anew by a batch that goes ahead, and
the one transaction that changes the policy has its rules ask the new one.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import chain, count
from typing import Any

import msgspec

from appliance.firewall.nft import KernelState, Set, Table, TableState, batch, make_set, place

INTERVAL = "interval"


class Ahead(msgspec.Struct, frozen=True):
    """tables: as they are to be loaded, their sets under the names that hold what they should.

    fill: the batch that goes ahead, empty if there is nothing to do; undo: what takes it back. state: what is
    loaded once it went.
    """

    tables: tuple[Table, ...]
    fill: str
    undo: str
    state: KernelState


def ahead(tables: Sequence[Table], state: KernelState) -> Ahead:
    """Return what is to go ahead of the transaction that makes the tables live."""
    named, loaded, fill, undo = [], dict(state.tables), [], []
    for table in tables:
        before = state.tables.get(table.family)
        if before is None:  # nothing is asked yet
            named.append(table)
            continue
        names = {each.name: _name(each, before) for each in table.sets if INTERVAL in each.flags}
        moved = _renamed(table, names)
        new = [each for each in moved.sets if INTERVAL in each.flags and each.name not in before.intervals]
        fill += [command for each in new for command in make_set(each, table.family)]
        undo += [{"delete": {"set": place(table.family, name=each.name)}} for each in new]
        loaded[table.family] = _with(before, new)
        named.append(moved)
    return Ahead(
        tuple(named),
        batch(fill) if fill else "",
        batch(undo) if undo else "",
        msgspec.structs.replace(state, tables=loaded),
    )


def _name(wanted: Set, before: TableState) -> str:
    """Return the name of the set that holds what is wanted, or one that is free."""
    elements = _comparable(wanted.elements)
    ours = re.compile(rf"{re.escape(wanted.name)}(_\d+)?")
    known = [name for name in before.intervals if ours.fullmatch(name)]
    if len(known) == 1 and _comparable(before.intervals[known[0]]) == elements:
        return known[0]  # of two, one was left behind, and it is not known which
    names = chain([wanted.name], (f"{wanted.name}_{number}" for number in count(1)))
    return next(name for name in names if name not in before.sets)


def _comparable(elements: Sequence[Any]) -> frozenset[str]:
    return frozenset(json.dumps(element, sort_keys=True) for element in elements)


def _with(before: TableState, new: Sequence[Set]) -> TableState:
    return msgspec.structs.replace(
        before,
        sets=before.sets | {each.name for each in new},
        intervals={**before.intervals, **{each.name: each.elements for each in new}},
    )


def _renamed(table: Table, names: Mapping[str, str]) -> Table:
    """Return the table with some of its sets under other names."""
    asked = {f"@{name}": f"@{new}" for name, new in names.items() if name != new}
    if not asked:
        return table

    def told(value: Any) -> Any:
        if isinstance(value, str):
            return asked.get(value, value)
        if isinstance(value, Mapping):
            return {key: told(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(told, value))
        return value

    sets = (msgspec.structs.replace(each, name=names.get(each.name, each.name)) for each in table.sets)
    chains = (msgspec.structs.replace(each, rules=told(each.rules)) for each in table.chains)
    return msgspec.structs.replace(table, sets=tuple(sets), chains=tuple(chains))
