"""The whole of what the kernel is told, as one value; and how it gets there and away again."""

import contextlib
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from appliance.firewall.ahead import ahead
from appliance.firewall.guard import bridge_table
from appliance.firewall.kernel import FAMILIES, read_tables, run_batch
from appliance.firewall.nft import TABLE, KernelState, Set, Table, TableState, joined, removal, transaction
from appliance.model.faults import SystemFault
from appliance.model.guest import GuestInventory
from appliance.model.links import Links
from appliance.model.needs import Needs
from appliance.model.policy import PolicyDocument
from appliance.netns import exists, list_objects, run_in
from appliance.steering import forwarding
from appliance.steering.backend import (
    SWITCHED_SYSCTLS,
    TIMESTAMP_SYSCTL,
    VLAN_SYSCTL,
    Backend,
    choose_backend,
    load_br_netfilter,
    look_through_tags,
    note_beginnings,
    switch_bridges,
    sysctls_off,
)
from appliance.steering.chains import steering_table
from appliance.steering.dialect import BRIDGE, INET
from appliance.steering.forwarding import Home
from appliance.steering.queues import CHAIN, JUMP, queue_chains, queue_removal, queue_rules
from appliance.steering.unled import let_unled_pass, unled_table

IPTABLES = ("iptables", "ip6tables")


class Queues(msgspec.Struct, frozen=True):
    """The inspector's queues: first, first + 1, … for `workers` workers (1…8).

    Fixed for an inspector's life: packets are spread over all of them by a hash of the connection.
    """

    first: int = 0
    workers: int = 1


class Ruleset(msgspec.Struct, frozen=True):
    """nft: a batch for `nft -j -f -`. iptables, ip6tables: input for their -restore --noflush, if any.

    fill: a batch that goes ahead of it, if any; undo: what takes that back.

    learned: the sets whose elements are the kernel's or the operator's. turned_on: which of SWITCHED_SYSCTLS
    were off before us. homes: where guests are. spared: which of their taps got frames for unknown addresses
    before us, and shall not.
    """

    nft: str
    iptables: str
    ip6tables: str
    bridges: tuple[str, ...]
    fill: str = ""
    undo: str = ""
    backend: Backend = Backend.BR_NETFILTER
    learned: tuple[str, ...] = ()
    turned_on: frozenset[int] = frozenset()
    homes: tuple[Home, ...] = ()
    spared: frozenset[str] = frozenset()


def render(
    policy: PolicyDocument,
    inventory: GuestInventory,
    links: Links,
    state: KernelState,
    queues: Queues | None = None,
    needs: Mapping[str, Needs] | None = None,
    generation: int = 0,
    backend: Backend = Backend.BR_NETFILTER,
) -> Ruleset:
    """Return the ruleset for a policy; the same input gives the same text.

    needs: what is looked at, by guest; of one that has signatures and is not named, everything.
    generation: of the policy as the inspector knows it: what it clears counts under that one only.
    Raises PolicyError for a firewall rule or address pair that cannot be, naming guest and rule.
    """
    queues = queues or Queues()
    turned_on = state.turned_on | state.off & _turns_on(backend)
    homes = forwarding.homes(policy, inventory, links)
    spared = (state.spared | state.flooded) & {home.tap for home in homes if home.alone}
    told = [home.tap for home in homes]
    guard = _remembering(bridge_table(policy, inventory, links), turned_on, told, spared)
    bridges = tuple(segment.bridge for segment in inventory.segments)
    tables: tuple[Table, ...]
    match backend:
        case Backend.BR_NETFILTER:
            tables = (
                joined(guard, unled_table(inventory, links)),
                steering_table(policy, inventory, links, queues.workers, needs, generation, INET),
            )
            v4, v6 = (queue_rules(inventory, queues.first, queues.workers, jumps) for jumps in state.jumps)
        case Backend.NFT_BRIDGE:
            steering = steering_table(policy, inventory, links, queues.workers, needs, generation, BRIDGE)
            queueing = Table("bridge", tuple(queue_chains(inventory, queues.first, queues.workers)))
            tables = (joined(guard, steering, queueing),)
            v4, v6 = (queue_removal(jumps) if jumps else "" for jumps in state.jumps)
    learned = tuple(each.name for table in tables for each in table.sets if each.learned)
    first = ahead(tables, state)
    return Ruleset(
        transaction(first.tables, first.state),
        v4,
        v6,
        bridges,
        first.fill,
        first.undo,
        backend,
        learned,
        turned_on,
        homes,
        spared,
    )


def _turns_on(backend: Backend) -> frozenset[int]:
    return frozenset(
        number
        for number, path in SWITCHED_SYSCTLS.items()
        if backend is Backend.BR_NETFILTER or path != VLAN_SYSCTL
    )


def _remembering(table: Table, turned_on: Iterable[int], told: Iterable[str], spared: Iterable[str]) -> Table:
    """Return the table with sets of what is to be undone when our tables go."""
    sets = (
        Set("turned_on", "mark", tuple(sorted(turned_on))),
        Set("told", "ifname", tuple(sorted(told))),
        Set("spared", "ifname", tuple(sorted(spared))),
    )
    return msgspec.structs.replace(table, sets=(*table.sets, *sets))


def read_state(netns: str | None = None) -> KernelState:
    """Return what of ours the kernel holds now. Raises SystemFault."""
    v4, v6 = (_count_jumps(netns, program) for program in IPTABLES)
    tables = read_tables(netns)
    remembered = tables.get(BRIDGE.family, TableState()).remembered
    return KernelState(
        tables,
        (v4, v6),
        turned_on=_turned_on(tables),
        off=sysctls_off(netns),
        told=frozenset(remembered.get("told", ())),
        spared=frozenset(remembered.get("spared", ())),
        flooded=forwarding.flooded(netns),
    )


def _turned_on(tables: Mapping[str, TableState]) -> frozenset[int]:
    if BRIDGE.family not in tables:
        return frozenset()
    if "turned_on" not in tables[BRIDGE.family].remembered:
        # made by a version that did not look what it found
        return _turns_on(Backend.BR_NETFILTER if INET.family in tables else Backend.NFT_BRIDGE)
    return frozenset(tables[BRIDGE.family].remembered["turned_on"])


def load(ruleset: Ruleset, netns: str | None = None) -> int | None:
    """Make the ruleset live; return the generation of nftables that it is in.

    None if somebody else changed nftables at the same moment: then it cannot be told whose what stands is.

    A policy change is the one nft batch: a packet sees the old policy or the new one; what goes ahead of it
    no rule asks yet. With br-netfilter the queue rules go first, as without marks they match nothing, and
    the bridges are switched on last, so that no packet reaches chains that are not there (what is not led to
    them yet is for the failure policy); with nft-bridge both are taken away after it, in case they were
    there. Raises SystemFault; the live policy stays then.
    """
    note_beginnings(netns, on=True)
    match ruleset.backend:
        case Backend.BR_NETFILTER:
            load_br_netfilter(netns)
            _restore(ruleset, netns)
            generation = _replace_tables(ruleset, netns)
            look_through_tags(netns, on=True)
            switch_bridges(ruleset.bridges, netns, on=True)
        case Backend.NFT_BRIDGE:
            generation = _replace_tables(ruleset, netns)
            switch_bridges(ruleset.bridges, netns, on=False)
            _restore(ruleset, netns)
    return generation


def _replace_tables(ruleset: Ruleset, netns: str | None) -> int | None:
    if not ruleset.fill:
        return run_batch(netns, ruleset.nft)
    run_batch(netns, ruleset.fill)
    try:
        return run_batch(netns, ruleset.nft)
    except SystemFault:
        with contextlib.suppress(SystemFault):
            run_batch(netns, ruleset.undo)
        raise


def _restore(ruleset: Ruleset, netns: str | None) -> None:
    for program, text in zip(IPTABLES, (ruleset.iptables, ruleset.ip6tables), strict=True):
        if text:
            run_in(netns, [f"{program}-restore", "--noflush"], text)


def apply(
    policy: PolicyDocument,
    inventory: GuestInventory,
    links: Links,
    *,
    queues: Queues | None = None,
    netns: str | None = None,
    needs: Mapping[str, Needs] | None = None,
    generation: int = 0,
    backend: Backend | None = None,
    former: Ruleset | None = None,
) -> tuple[Ruleset, int | None]:
    """Render for what the kernel holds now, load, and return what was loaded and what `load` returned.

    backend: None for the one that this kernel does best. former: what we loaded before, which somebody may
    have taken away. Raises PolicyError or SystemFault; what was live stays.
    """
    backend = backend or choose_backend(netns).backend
    state = read_state(netns)
    if former is not None:
        turned_on, spared = state.turned_on | former.turned_on, state.spared | former.spared
        state = msgspec.structs.replace(state, turned_on=turned_on, spared=spared)
    ruleset = render(policy, inventory, links, state, queues, needs, generation, backend)
    made = load(ruleset, netns)
    freed = state.spared - ruleset.spared
    if left := (state.told - {home.tap for home in ruleset.homes}) | freed:
        forwarding.withdraw(left, freed, netns)
    with contextlib.suppress(SystemFault):  # the rules stand; control goes on telling bridges
        forwarding.tell(ruleset.homes, ruleset.spared, netns)
    return ruleset, made


def teardown(netns: str | None = None, bridges: tuple[str, ...] = ()) -> None:
    """Remove all that `load` made, by name, and turn off what it turned on; nothing loaded is no error.

    Raises SystemFault.

    bridges: those on which br_netfilter is turned off again; without them the ones our table names.
    """
    if netns is not None and not exists(netns):
        return
    state = read_state(netns)
    let_unled_pass(state, netns)
    switch_bridges(bridges or _loaded_bridges(netns), netns, on=False)
    for program, jumps in zip(IPTABLES, state.jumps, strict=True):
        if jumps or _has_chain(netns, program):
            run_in(netns, [f"{program}-restore", "--noflush"], queue_removal(jumps))
    found_off = {SWITCHED_SYSCTLS[number] for number in state.turned_on if number in SWITCHED_SYSCTLS}
    if VLAN_SYSCTL in found_off:
        look_through_tags(netns, on=False)
    forwarding.withdraw(state.told, state.spared, netns)
    if state.tables:
        run_batch(netns, removal(state))
    if TIMESTAMP_SYSCTL in found_off:
        note_beginnings(netns, on=False)


def _loaded_bridges(netns: str | None) -> tuple[str, ...]:
    return next(filter(None, (tuple(_elements(netns, family, "bridges")) for family in FAMILIES)), ())


def _elements(netns: str | None, family: str, name: str) -> list[Any]:
    for entry in list_objects(netns, "set", family, TABLE, name):
        if "set" in entry:
            elements: list[Any] = entry["set"].get("elem", [])
            return elements
    return []


def _count_jumps(netns: str | None, program: str) -> int:
    if shutil.which(program) is None:  # nft-bridge does without
        return 0
    rules = run_in(netns, [program, "-t", "mangle", "-S", "FORWARD"])
    return rules.splitlines().count(f"-A {JUMP}")


def _has_chain(netns: str | None, program: str) -> bool:
    if shutil.which(program) is None:
        return False
    try:
        run_in(netns, [program, "-t", "mangle", "-S", CHAIN])
    except SystemFault:
        return False
    return True
