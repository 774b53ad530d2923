"""Which packets go to the inspector: the inet table's chains `zones`, `firewall`, `steer`, `after`.

    zones     a segment's connections are its own: equal addresses on two segments never meet
    firewall  counts, then the guests' own chains (appliance.firewall)
    steer     queue or not, and to which worker: queueing is the default for a guest with signatures
    after     what came back from the inspector: drops are made to stick, what it never saw is counted

A flow that was dropped stays dropped by a bit of its conntrack mark, not by the inspector's memory,
so that it ends even when the inspector dies right after. The one packet that passes that bit is a SYN
without ACK: it may open a new connection on the old addresses and ports, so the inspector judges it,
and says with `FORGET_DROP` that the bit is to go.
"""

from collections.abc import Iterator
from typing import Any

from appliance.firewall import nft
from appliance.firewall.names import slug
from appliance.firewall.nft import ACCEPT, DROP, Chain, Rule, Set, Table
from appliance.firewall.rules import (
    CONNTRACK_MARK,
    FROM_PORT,
    MARK,
    TO_PORT,
    admission_rules,
    firewall_chains,
    firewall_counters,
    firewall_sets,
)
from appliance.model.guest import GuestInventory
from appliance.model.links import Links
from appliance.model.marks import (
    ALL,
    BYPASS,
    CONNTRACK_BYPASS_ORIGINATOR,
    CONNTRACK_BYPASS_RESPONDER,
    CONNTRACK_DROP,
    FORGET_DROP,
    IN_PORT,
    OUT_PORT,
    OUT_PORT_SHIFT,
    PACKET_MASK,
    QUEUED,
    SEEN,
    WORKER_SHIFT,
)
from appliance.model.marks import (
    DROP as DROP_FLOW,
)
from appliance.model.policy import GuestPolicy, Mode, PolicyDocument

ZONES_PRIORITY = -300
"""Before conntrack looks the connection up at -200."""
FIREWALL_PRIORITY = -160
"""Before iptables' mangle table at -150, where our NFQUEUE rules are."""
AFTER_PRIORITY = -140

REASONS = ("steered", "bypass", "inspector-down")
"""Why this table lets bytes pass uninspected. `inspector-down` holds what was queued and came back
unseen: nobody listened, or the queue was full; the kernel does not say which."""
PLAIN_SYN = nft.match(nft.masked(nft.payload("tcp", "flags"), 0x12), 0x02)


def is_inspected(policy: GuestPolicy) -> bool:
    """Return whether any signature may be evaluated for the guest."""
    modes = [*(each.mode for each in policy.assignments), *(each.mode for each in policy.overrides)]
    return any(mode is not Mode.OFF for mode in modes)


def inet_table(policy: PolicyDocument, inventory: GuestInventory, links: Links, workers: int) -> Table:
    """Return the inet family's table. workers: 1…8. Raises PolicyError for a firewall rule that cannot be."""
    return Table(
        "inet",
        chains=(
            Chain("zones", tuple(_zone_rules(inventory, links)), nft.Hook("prerouting", ZONES_PRIORITY)),
            Chain("firewall", tuple(_firewall_rules()), nft.Hook("forward", FIREWALL_PRIORITY)),
            *firewall_chains(policy, inventory, links),
            *_steer_chains(workers),
            *_worker_chains(workers),
            *_after_chains(),
        ),
        sets=(
            Set("bridges", "ifname", tuple(segment.bridge for segment in inventory.segments)),
            *firewall_sets(links),
            *_inspected_sets(policy, links),
            *_counter_maps(links),
        ),
        counters=(*_counters(links), *firewall_counters(policy, inventory)),
    )


def _zone_rules(inventory: GuestInventory, links: Links) -> Iterator[Rule]:
    """Frames to the bridge's own MAC leave the bridge for the host: they keep the host's zone, else
    the host's replies and its NAT would not find their connections."""
    zones = {segment.bridge: segment.zone for segment in inventory.segments}
    for bridge in links.bridges:
        yield (
            nft.match(nft.meta("iifname"), bridge.name),
            nft.unequal(nft.payload("ether", "daddr"), bridge.mac),
            {"mangle": {"key": nft.ct("zone"), "value": zones[bridge.name]}},
        )


def _firewall_rules() -> Iterator[Rule]:
    # others' packets may carry marks that look like ours
    yield nft.unequal(nft.meta("iifname"), "@bridges"), ACCEPT
    yield nft.match(nft.masked(MARK, IN_PORT | OUT_PORT), 0), ACCEPT
    yield from _count_both_ends("total")
    yield from admission_rules()


def _steer_chains(workers: int) -> Iterator[Chain]:
    yield Chain(
        "steer",
        (
            (nft.bits_set(MARK, BYPASS), nft.goto("pass_bypass")),
            (
                nft.bits_set(CONNTRACK_MARK, CONNTRACK_DROP),
                nft.match(nft.meta("l4proto"), "tcp"),
                PLAIN_SYN,
                nft.goto("queue"),
            ),
            (nft.bits_set(CONNTRACK_MARK, CONNTRACK_DROP), nft.goto("dropped")),
            # both headers must say multicast: a unicast packet in a broadcast frame is an attack's carrier
            (
                nft.match(nft.meta("pkttype"), {"set": ["broadcast", "multicast"]}),
                nft.jump("multicast"),
            ),
            (nft.match(nft.ct("direction"), "reply"), nft.goto("steer_reply")),
            *_queue_if_inspected(CONNTRACK_BYPASS_ORIGINATOR, CONNTRACK_BYPASS_RESPONDER),
        ),
    )
    yield Chain(
        "steer_reply",
        tuple(_queue_if_inspected(CONNTRACK_BYPASS_RESPONDER, CONNTRACK_BYPASS_ORIGINATOR)),
    )
    yield Chain(
        "multicast",
        (
            (
                nft.match(
                    nft.payload("ip", "daddr"), {"set": [nft.prefix("224.0.0.0", 4), "255.255.255.255"]}
                ),
                nft.goto("pass_steered"),
            ),
            (nft.match(nft.payload("ip6", "daddr"), nft.prefix("ff00::", 8)), nft.goto("pass_steered")),
        ),
    )
    yield Chain("queue", tuple(_worker_rules(workers)))
    for reason in REASONS[:2]:
        yield Chain(f"pass_{reason}", (*_count_both_ends(reason), *_leave()))


def _queue_if_inspected(sender_bypass: int, receiver_bypass: int) -> Iterator[Rule]:
    """Queue if either end has signatures and has not said bypass for this connection.

    One end's bypass never blinds the other: the connection passes uninspected only if no end is left.
    """
    inspected_sender = nft.match(FROM_PORT, "@inspected_from")
    inspected_receiver = nft.match(TO_PORT, "@inspected_to")
    yield inspected_sender, nft.bits_clear(CONNTRACK_MARK, sender_bypass), nft.goto("queue")
    yield inspected_receiver, nft.bits_clear(CONNTRACK_MARK, receiver_bypass), nft.goto("queue")
    both = CONNTRACK_BYPASS_ORIGINATOR | CONNTRACK_BYPASS_RESPONDER
    yield nft.bits_set(CONNTRACK_MARK, both), nft.goto("pass_bypass")
    yield (nft.goto("pass_steered"),)


def _worker_rules(workers: int) -> Iterator[Rule]:
    """A hash that is equal for both directions and takes in the ports picks the worker."""
    if workers > 1:
        verdicts: list[tuple[Any, nft.Statement]] = [
            (number, nft.goto(f"worker_{number}")) for number in range(workers)
        ]
        yield (nft.dispatch({"symhash": {"mod": workers}}, verdicts),)
    yield nft.set_bits(MARK, keep=ALL, to=QUEUED), ACCEPT


def _worker_chains(workers: int) -> Iterator[Chain]:
    for number in range(workers if workers > 1 else 0):
        yield Chain(
            f"worker_{number}",
            ((nft.set_bits(MARK, keep=ALL, to=QUEUED | number << WORKER_SHIFT), ACCEPT),),
        )


def _after_chains() -> Iterator[Chain]:
    yield Chain(
        "after",
        (
            (nft.unequal(nft.meta("iifname"), "@bridges"), ACCEPT),
            (nft.bits_set(MARK, FORGET_DROP), nft.set_bits(CONNTRACK_MARK, keep=ALL ^ CONNTRACK_DROP, to=0)),
            (
                nft.bits_set(MARK, DROP_FLOW),
                nft.set_bits(CONNTRACK_MARK, keep=ALL, to=CONNTRACK_DROP),
                nft.goto("dropped"),
            ),
            (nft.match(nft.masked(MARK, QUEUED | SEEN), QUEUED), nft.goto("pass_inspector-down")),
            *_leave(),
        ),
        nft.Hook("forward", AFTER_PRIORITY),
    )
    yield Chain("dropped", (*_count_both_ends("dropped"), (DROP,)))
    yield Chain("pass_inspector-down", (*_count_both_ends("inspector-down"), *_leave()))


def _leave() -> Iterator[Rule]:
    """Take our bits off again: the host's own rules and routing may read the mark."""
    yield nft.set_bits(MARK, keep=ALL ^ PACKET_MASK, to=0), ACCEPT


# Counters.


def _count_both_ends(what: str) -> Iterator[Rule]:
    """A rule an end: a counter map that has nothing for its key ends the rule."""
    yield (nft.count_by(FROM_PORT, f"{what}_from"),)
    yield (nft.count_by(TO_PORT, f"{what}_to"),)


def counter_of(what: str, guest: str) -> str:
    """Return the counter for `total`, `dropped` or a reason of a guest."""
    if what == "total":
        return f"total/{slug(guest)}"
    if what == "dropped":
        return f"dropped/{slug(guest)}/flow"
    return f"uninspected/{slug(guest)}/{what}"


COUNTED = ("total", "dropped", *REASONS)


def _counter_maps(links: Links) -> Iterator[Set]:
    for what in COUNTED:
        for way, shift in (("from", 0), ("to", OUT_PORT_SHIFT)):
            elements = [[port.number << shift, counter_of(what, port.guest)] for port in links.ports]
            yield Set(f"{what}_{way}", "mark", tuple(elements), maps_to="counter")


def _counters(links: Links) -> Iterator[str]:
    for guest in dict.fromkeys(port.guest for port in links.ports):
        yield from (counter_of(what, guest) for what in COUNTED)


def _inspected_sets(policy: PolicyDocument, links: Links) -> Iterator[Set]:
    numbers = [
        port.number for port in links.ports if is_inspected(policy.guests.get(port.guest, policy.defaults))
    ]
    yield Set("inspected_from", "mark", tuple(numbers))
    yield Set("inspected_to", "mark", tuple(number << OUT_PORT_SHIFT for number in numbers))
