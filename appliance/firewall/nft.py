"""nftables as values: tables of chains, sets and counters, and the transaction that makes them live.

A transaction keeps what must outlive a policy change (counters, timed elements, what was learned):
it adds what is missing, empties every chain and every static set without ranges, fills them again and
removes what is no longer wanted, all in one batch that the kernel takes whole or not at all. The form is
that of `nft -j -f -`; source: libnftables-json(5).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

TABLE = "sekisho"

Expression = Any
Statement = dict[str, Any]
Command = dict[str, Any]
Rule = tuple[Statement, ...]
Family = Literal["bridge", "inet"]


class Hook(msgspec.Struct, frozen=True):
    """Where a base chain hangs in the packet's path."""

    name: Literal["prerouting", "forward"]
    priority: int


class Chain(msgspec.Struct, frozen=True):
    """A chain and all its rules."""

    name: str
    rules: tuple[Rule, ...] = ()
    hook: Hook | None = None


class Set(msgspec.Struct, frozen=True):
    """A set, or with `maps_to` a map. learned: its elements are the kernel's and stay across changes."""

    name: str
    type: str | tuple[str, ...]
    elements: tuple[Any, ...] = ()
    maps_to: Literal["verdict", "counter"] | None = None
    flags: tuple[str, ...] = ()
    size: int | None = None
    timeout_s: int | None = None
    learned: bool = False


class Table(msgspec.Struct, frozen=True):
    """One family's table of ours."""

    family: Family
    chains: tuple[Chain, ...]
    sets: tuple[Set, ...] = ()
    counters: tuple[str, ...] = ()


class TableState(msgspec.Struct, frozen=True):
    """The names that a table of ours holds in the kernel.

    intervals: elements of the sets that may hold ranges.
    remembered: elements of the sets that say what of the kernel's is to be undone with the table.
    """

    chains: frozenset[str] = frozenset()
    sets: frozenset[str] = frozenset()
    maps: frozenset[str] = frozenset()
    counters: frozenset[str] = frozenset()
    intervals: Mapping[str, Sequence[Any]] = msgspec.field(default_factory=dict)
    remembered: Mapping[str, Sequence[Any]] = msgspec.field(default_factory=dict)


REMEMBERING = ("turned_on", "told", "spared")
"""Sets that say what of the kernel's is to be undone with our tables."""


class KernelState(msgspec.Struct, frozen=True):
    """What is loaded now. jumps: how often our chain is called from FORWARD, for IPv4 and IPv6.

    turned_on: the sysctls that are on because of us. off: those that are off, by the same numbers. told: the
    taps of which bridges know from us who is behind them. spared: those that because of us get no frames for
    unknown addresses. flooded: the bridge ports that get them.
    """

    tables: Mapping[str, TableState] = msgspec.field(default_factory=dict)
    jumps: tuple[int, int] = (0, 0)
    turned_on: frozenset[int] = frozenset()
    off: frozenset[int] = frozenset()
    told: frozenset[str] = frozenset()
    spared: frozenset[str] = frozenset()
    flooded: frozenset[str] = frozenset()


def transaction(tables: tuple[Table, ...], state: KernelState) -> str:
    """Return the batch that turns what is loaded into tables, as `nft -j -f -` reads it."""
    commands = [command for table in tables for command in _replace(table, state.tables.get(table.family))]
    wanted = {table.family for table in tables}
    commands += [_delete_table(family) for family in state.tables if family not in wanted]
    return batch(commands)


def removal(state: KernelState) -> str:
    """Return the batch that removes the tables that are loaded."""
    return batch([_delete_table(family) for family in state.tables])


def batch(commands: Sequence[Command]) -> str:
    """Return the commands as `nft -j -f -` reads them."""
    return json.dumps({"nftables": [{"metainfo": {"json_schema_version": 1}}, *commands]})


def place(family: str, **more: Any) -> dict[str, Any]:
    """Return where something of our table is."""
    return {"family": family, "table": TABLE, **more}


def make_set(each: Set, family: str) -> Iterator[Command]:
    """Yield what makes a set and fills it."""
    yield {"add": {"map" if each.maps_to else "set": place(family, **_definition(each))}}
    if each.elements:
        yield {"add": {"element": place(family, name=each.name, elem=list(each.elements))}}


def emptied(family: Family, chain: str) -> str:
    """Return the batch that takes all rules out of a chain of ours."""
    where = {"family": family, "table": TABLE, "name": chain}
    return json.dumps({"nftables": [{"flush": {"chain": where}}]})


def joined(*tables: Table) -> Table:
    """Return one table that holds what tables of one family hold; no two may use a name twice."""
    family = {table.family for table in tables}
    chains = tuple(chain for table in tables for chain in table.chains)
    sets = tuple(each for table in tables for each in table.sets)
    if len(family) != 1 or len({chain.name for chain in chains}) != len(chains):
        raise ValueError("tables of several families, or with a chain's name in common")
    return Table(family.pop(), chains, sets, tuple(name for table in tables for name in table.counters))


def _delete_table(family: str) -> Command:
    return {"delete": {"table": {"family": family, "name": TABLE}}}


def _replace(table: Table, state: TableState | None) -> Iterator[Command]:
    state = state or TableState()
    where = place(table.family)
    yield {"add": {"table": {"family": table.family, "name": TABLE}}}
    for name in table.counters:
        yield {"add": {"counter": {**where, "name": name}}}
    yield {"flush": {"table": {"family": table.family, "name": TABLE}}}
    for each in table.sets:
        if each.name in state.intervals:
            continue  # it holds what it should: appliance.firewall.ahead
        if each.learned and each.name in state.sets:
            # rules that learn made the kernel flag it `dynamic`, which JSON cannot say: adding it again fails
            continue
        kind = "map" if each.maps_to else "set"
        yield {"add": {kind: {**where, **_definition(each)}}}
        if not each.learned:
            yield {"flush": {kind: {**where, "name": each.name}}}
    yield from _remove_unwanted(table, state, where)
    for chain in table.chains:
        yield {"add": {"chain": {**where, "name": chain.name, **_base(chain.hook)}}}
    for each in table.sets:
        if each.elements and each.name not in state.intervals:
            yield {"add": {"element": {**where, "name": each.name, "elem": list(each.elements)}}}
    for chain in table.chains:
        for rule in chain.rules:
            yield {"add": {"rule": {**where, "chain": chain.name, "expr": list(rule)}}}


def _remove_unwanted(table: Table, state: TableState, where: dict[str, str]) -> Iterator[Command]:
    """Remove in the order of who refers to whom: maps and sets, then chains, then counters."""
    for name in sorted(state.maps - {each.name for each in table.sets}):
        yield {"delete": {"map": {**where, "name": name}}}
    for name in sorted(state.sets - {each.name for each in table.sets}):
        yield {"delete": {"set": {**where, "name": name}}}
    for name in sorted(state.chains - {chain.name for chain in table.chains}):
        yield {"delete": {"chain": {**where, "name": name}}}
    for name in sorted(state.counters - set(table.counters)):
        yield {"delete": {"counter": {**where, "name": name}}}


def _definition(each: Set) -> dict[str, Any]:
    definition: dict[str, Any] = {
        "name": each.name,
        "type": list(each.type) if isinstance(each.type, tuple) else each.type,
    }
    if each.maps_to:
        definition["map"] = each.maps_to
    if each.flags:
        definition["flags"] = list(each.flags)
    if each.size:
        definition["size"] = each.size
    if each.timeout_s:
        definition["timeout"] = each.timeout_s
    return definition


def _base(hook: Hook | None) -> dict[str, Any]:
    if hook is None:
        return {}
    return {"type": "filter", "hook": hook.name, "prio": hook.priority, "policy": "accept"}


# Expressions.


def meta(key: str) -> Expression:
    """Return a packet's metadata: mark, iifname, l4proto…"""
    return {"meta": {"key": key}}


def ct(key: str) -> Expression:
    """Return a connection's property: mark, state, direction…"""
    return {"ct": {"key": key}}


def payload(protocol: str, name: str) -> Expression:
    """Return a header's field."""
    return {"payload": {"protocol": protocol, "field": name}}


def raw_payload(base: Literal["ll", "nh", "th"], offset_bits: int, length_bits: int) -> Expression:
    """Return length_bits of the packet, offset_bits into the link, network or transport header."""
    return {"payload": {"base": base, "offset": offset_bits, "len": length_bits}}


def masked(expression: Expression, mask: int) -> Expression:
    """Return the bits of the expression that the mask selects."""
    return {"&": [expression, mask]}


def concat(*expressions: Expression) -> Expression:
    """Return the expressions side by side, as a set of several types holds them."""
    return {"concat": list(expressions)}


def prefix(network: str, length: int) -> Expression:
    """Return a network as a set element or right-hand side."""
    return {"prefix": {"addr": network, "len": length}}


# Statements.


def match(left: Expression, right: Expression, op: str = "==") -> Statement:
    """Return a comparison; the rule goes on only if it holds."""
    return {"match": {"op": op, "left": left, "right": right}}


def unequal(left: Expression, right: Expression) -> Statement:
    """Return the comparison that holds when left is not (or not in) right."""
    return match(left, right, "!=")


def bits_set(left: Expression, bits: int) -> Statement:
    """Return the comparison that holds when any of the bits is set."""
    return match(masked(left, bits), 0, "!=")


def bits_clear(left: Expression, bits: int) -> Statement:
    """Return the comparison that holds when none of the bits is set."""
    return match(masked(left, bits), 0)


def set_bits(left: Expression, *, keep: int, to: int) -> Statement:
    """Return the assignment that keeps some bits of a mark and sets others."""
    kept = left if keep == 0xFFFFFFFF else masked(left, keep)
    return {"mangle": {"key": left, "value": {"|": [kept, to]} if to else kept}}


def count(name: str) -> Statement:
    """Return the statement that counts the packet with a named counter."""
    return {"counter": name}


def count_by(key: Expression, counters: str) -> Statement:
    """Return the statement that counts with the counter that the map names for key, if it names one."""
    return {"counter": {"map": {"key": key, "data": f"@{counters}"}}}


def dispatch(key: Expression, verdicts: str | list[tuple[Any, Statement]]) -> Statement:
    """Return the verdict that a named map, or the pairs given, hold for key, if any."""
    data = f"@{verdicts}" if isinstance(verdicts, str) else {"set": [list(pair) for pair in verdicts]}
    return {"vmap": {"key": key, "data": data}}


def chosen(key: Expression, values: list[tuple[Any, Any]]) -> Expression:
    """What stands beside the key; a key that is not there ends the rule."""
    return {"map": {"key": key, "data": {"set": [list(each) for each in values]}}}


def learn(key: Expression, into: str) -> Statement:
    """Return the statement that puts key into a learned set, or renews it there."""
    return {"set": {"op": "update", "elem": key, "set": f"@{into}"}}


def jump(chain: str) -> Statement:
    """Return the call of a chain; the caller's next rule follows unless it ends with a verdict."""
    return {"jump": {"target": chain}}


def goto(chain: str) -> Statement:
    """Return the move to a chain; the caller's next rule does not follow."""
    return {"goto": {"target": chain}}


def queue(number: int, *, bypass: bool) -> Statement:
    """Return the verdict that queues the packet. bypass: while nobody listens it goes on instead."""
    return {"queue": {"num": number, **({"flags": "bypass"} if bypass else {})}}


ACCEPT: Statement = {"accept": None}
DROP: Statement = {"drop": None}
RETURN: Statement = {"return": None}
