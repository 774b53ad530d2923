"""The whole of what the kernel is told, as one value; and how it gets there and away again."""

from collections.abc import Mapping
from dataclasses import dataclass

from appliance.firewall import nft
from appliance.firewall.guard import bridge_table
from appliance.firewall.kernel import list_objects, read_tables, run_batch
from appliance.firewall.nft import KernelState
from appliance.model.faults import SystemFault
from appliance.model.guest import GuestInventory
from appliance.model.links import Links
from appliance.model.needs import Needs
from appliance.model.policy import PolicyDocument
from appliance.netns import exists, run_in
from appliance.steering.backend import Backend, choose_backend, look_through_tags, switch_bridges
from appliance.steering.chains import inet_table
from appliance.steering.queues import CHAIN, JUMP, queue_removal, queue_rules

IPTABLES = ("iptables", "ip6tables")


@dataclass(frozen=True, slots=True)
class Queues:
    """The inspector's queues: first, first + 1, … for `workers` workers (1…8).

    Fixed for an inspector's life: packets are spread over all of them by a hash of the connection.
    """

    first: int = 0
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Ruleset:
    """nft: a batch for `nft -j -f -`. iptables, ip6tables: input for their -restore --noflush."""

    nft: str
    iptables: str
    ip6tables: str
    bridges: tuple[str, ...]


def render(
    policy: PolicyDocument,
    inventory: GuestInventory,
    links: Links,
    state: KernelState,
    queues: Queues | None = None,
    needs: Mapping[str, Needs] | None = None,
    generation: int = 0,
) -> Ruleset:
    """Return the ruleset for a policy; the same input gives the same text.

    needs: what is looked at, by guest; of one that has signatures and is not named, everything.
    generation: of the policy as the inspector knows it: what it clears counts under that one only.
    Raises PolicyError for a firewall rule or address pair that cannot be, naming guest and rule.
    """
    queues = queues or Queues()
    tables = (
        bridge_table(policy, inventory, links),
        inet_table(policy, inventory, links, queues.workers, needs, generation),
    )
    v4, v6 = (queue_rules(inventory, queues.first, queues.workers, jumps) for jumps in state.jumps)
    bridges = tuple(segment.bridge for segment in inventory.segments)
    return Ruleset(nft.transaction(tables, state), v4, v6, bridges)


def read_state(netns: str | None = None) -> KernelState:
    """Return what of ours the kernel holds now. Raises SystemFault."""
    v4, v6 = (_count_jumps(netns, program) for program in IPTABLES)
    return KernelState(read_tables(netns), (v4, v6))


def load(ruleset: Ruleset, netns: str | None = None, backend: Backend | None = None) -> None:
    """Make the ruleset live.

    A policy change is the one nft batch: a packet sees the old policy or the new one. The queue rules
    go first, as without marks they match nothing; the bridges are switched on last, so that no packet
    reaches chains that are not there. Raises SystemFault; the live policy stays then.
    """
    choose_backend(netns, backend)
    run_in(netns, ["iptables-restore", "--noflush"], ruleset.iptables)
    run_in(netns, ["ip6tables-restore", "--noflush"], ruleset.ip6tables)
    run_batch(netns, ruleset.nft)
    look_through_tags(netns, on=True)
    switch_bridges(ruleset.bridges, netns, on=True)


def apply(
    policy: PolicyDocument,
    inventory: GuestInventory,
    links: Links,
    *,
    queues: Queues | None = None,
    netns: str | None = None,
    needs: Mapping[str, Needs] | None = None,
    generation: int = 0,
) -> Ruleset:
    """Render for what the kernel holds now, load, and return what was loaded.

    Raises PolicyError or SystemFault; what was live stays.
    """
    ruleset = render(policy, inventory, links, read_state(netns), queues, needs, generation)
    load(ruleset, netns)
    return ruleset


def teardown(netns: str | None = None, bridges: tuple[str, ...] = ()) -> None:
    """Remove all that `load` made, by name; nothing loaded is no error. Raises SystemFault.

    bridges: those on which br_netfilter is turned off again; without them the ones our table names.
    """
    if netns is not None and not exists(netns):
        return
    state = read_state(netns)
    switch_bridges(bridges or _loaded_bridges(netns), netns, on=False)
    for program, jumps in zip(IPTABLES, state.jumps, strict=True):
        if jumps or _has_chain(netns, program):
            run_in(netns, [f"{program}-restore", "--noflush"], queue_removal(jumps))
    if state.tables:
        look_through_tags(netns, on=False)
        run_batch(netns, nft.removal(state))


def _loaded_bridges(netns: str | None) -> tuple[str, ...]:
    for entry in list_objects(netns, "set", "inet", nft.TABLE, "bridges"):
        if "set" in entry:
            return tuple(entry["set"].get("elem", ()))
    return ()


def _count_jumps(netns: str | None, program: str) -> int:
    rules = run_in(netns, [program, "-t", "mangle", "-S", "FORWARD"])
    return rules.splitlines().count(f"-A {JUMP}")


def _has_chain(netns: str | None, program: str) -> bool:
    try:
        run_in(netns, [program, "-t", "mangle", "-S", CHAIN])
    except SystemFault:
        return False
    return True
