"""What a bridge does not lead to our chains: with br-netfilter, the packets of a bridge that is not told to.

A segment's bridge may be made while we run, or be told by somebody not to call iptables any more; until
control has seen it, its packets pass the inet family's chains by. The bridge family's own chain `marks` sees
them all the same, and what went through our chains has its mark taken off. So a packet that still has it at
the end of the bridge's forward hook was neither firewalled nor inspected, and its segment's failure policy
decides as it does while the inspector is down.
"""

from collections.abc import Iterator

from appliance.firewall import nft
from appliance.firewall.guard import IIF, OIF
from appliance.firewall.kernel import is_empty, read_counters, run_batch
from appliance.firewall.names import slug
from appliance.firewall.nft import ACCEPT, DROP, Chain, KernelState, Rule, Set, Table
from appliance.firewall.rules import FROM_PORT, MARK, TO_PORT
from appliance.model.guest import GuestInventory
from appliance.model.links import Links, Port
from appliance.model.marks import ALL, BYPASS, OUT_PORT_SHIFT, PACKET_MASK

UNLED_PRIORITY = 10
"""Behind br_netfilter's forward hooks at -1 and 0, which call the inet chains."""


def unled_table(inventory: GuestInventory, links: Links) -> Table:
    """Return what the bridge family's table has of it."""
    is_open = {each.name: each.failure.inspector_down == "open" for each in inventory.segments}
    chains = (
        Chain("unled", tuple(_unled_rules()), nft.Hook("forward", UNLED_PRIORITY)),
        Chain("unled_open", (*_count("passed"), (nft.set_bits(MARK, keep=ALL ^ PACKET_MASK, to=0), ACCEPT))),
        Chain(
            "unled_closed",
            ((nft.bits_set(MARK, BYPASS), nft.goto("unled_open")), *_count("dropped"), (DROP,)),
        ),
    )
    return Table("bridge", chains, tuple(_sets(links.ports, is_open)), tuple(_counters(links.ports)))


def let_unled_pass(state: KernelState, netns: str | None) -> None:
    """Have packets that are not led to us pass from now on, as they will not be. Raises SystemFault."""
    table = state.tables.get("bridge")
    if table is not None and "unled" in table.chains:
        run_batch(netns, nft.emptied("bridge", "unled"))


def _unled_rules() -> Iterator[Rule]:
    # nearly every packet
    yield nft.bits_clear(MARK, PACKET_MASK), ACCEPT
    # what is no IP is judged in this family alone
    yield nft.unequal(nft.meta("protocol"), {"set": ["ip", "ip6"]}), ACCEPT
    # a mark that is another one's names no port of ours together with this port's number
    yield (nft.dispatch(nft.concat(IIF, FROM_PORT), "unled_from"),)
    yield (nft.dispatch(nft.concat(OIF, TO_PORT), "unled_to"),)


def _count(what: str) -> Iterator[Rule]:
    """A rule an end: a counter map that has nothing for its key ends the rule."""
    yield (nft.count_by(FROM_PORT, f"unled_{what}_from"),)
    yield (nft.count_by(TO_PORT, f"unled_{what}_to"),)


def _sets(ports: tuple[Port, ...], is_open: dict[str, bool]) -> Iterator[Set]:
    for way, shift in (("from", 0), ("to", OUT_PORT_SHIFT)):
        verdicts = [
            [
                nft.concat(port.tap, port.number << shift),
                nft.goto("unled_open" if is_open[port.segment] else "unled_closed"),
            ]
            for port in ports
        ]
        yield Set(f"unled_{way}", ("ifname", "mark"), tuple(verdicts), maps_to="verdict")
        for what in ("passed", "dropped"):
            counts = [[port.number << shift, _counter(what, port.guest)] for port in ports]
            yield Set(f"unled_{what}_{way}", "mark", tuple(counts), maps_to="counter")


def _counters(ports: tuple[Port, ...]) -> Iterator[str]:
    for guest in dict.fromkeys(port.guest for port in ports):
        yield from (_counter(what, guest) for what in ("passed", "dropped"))


def unled_dropped(guest: str, netns: str | None) -> int:
    """Return how many of the guest's packets were dropped so, since the table was loaded.

    Raises SystemFault.
    """
    if is_empty(netns, "bridge", "unled_from"):
        return 0
    wanted = _counter("dropped", guest)
    return sum(packets for name, packets, _ in read_counters(netns, "bridge") if name == wanted)


def _counter(what: str, guest: str) -> str:
    """Return a counter of the name that the steering table's has: both count the same."""
    return f"{'uninspected' if what == 'passed' else 'dropped'}/{slug(guest)}/inspector-down"
