"""Which packets go to the inspector: the chains `zones`, `firewall`, `steer` and so on.

    zones     a segment's connections are its own: equal addresses on two segments never meet
    firewall  the guests' own chains (appliance.firewall)
    steer     queue or not, and to which worker
    queued    what is to be queued; what happens instead while the inspector hangs: appliance.steering.failure
    after     what came back from the inspector: drops are made to stick, what need not be looked at any more
              is remembered, what it never saw is counted

A flow that was dropped stays dropped by a bit of its conntrack mark, not by the inspector's memory,
so that it ends even when the inspector dies right after. The one packet that passes that bit is a SYN
without ACK: it may open a new connection on the old addresses and ports, so the inspector judges it,
and says with `FORGET_DROP` that the bit is to go. It says so of every connection that is new to it: it may
have been started since the drop. Where such a SYN passes unseen, the bit goes as well.

Steering accepts in the kernel only what it can read the ports of and finds in no set of what is looked at
(appliance.steering.looks); all else of a guest with signatures is queued: fragments, broken headers, other
protocols. Conntrack's original direction is that of whoever was seen first, which after an expiry, a flush or
a reset can be the server. So directions count only for an entry that a SYN made (`PLACED`); without that bit
both are queued. SYN, FIN and RST of a connection that is looked at at all are queued in both directions.

A packet that passes unseen although it is looked at (nobody listens, the queue is full, the operator's
bypass) leaves a bit at its connection (`CONNTRACK_UNSEEN`). The next one that is queued takes it along, so
that an inspector that saw the packets before does not wait for bytes that will not come. It is taken when
that packet enters the queue, not when it is answered: what passes unseen meanwhile sets it anew.

What the inspector clears is remembered with the generation of its policy, and counts only under that one: a
new policy looks again at all connections. Every answer states anew what is cleared, and a SYN clears nothing.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

from appliance.firewall import nft
from appliance.firewall.denied import BY_FAILURE_POLICY, denied_chain, denied_sets, deny
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
    AFTER_UNSEEN,
    ALL,
    ANSWER,
    ANSWER_CLEAR_TO_CLIENT,
    ANSWER_CLEAR_TO_SERVER,
    ANSWER_ENCRYPTED,
    ANSWER_ODD,
    BYPASS,
    CONNTRACK_BYPASS_ORIGINATOR,
    CONNTRACK_BYPASS_RESPONDER,
    CONNTRACK_CLEAR_TO_CLIENT,
    CONNTRACK_CLEAR_TO_SERVER,
    CONNTRACK_CLEARED,
    CONNTRACK_DROP,
    CONNTRACK_ENCRYPTED,
    CONNTRACK_GENERATION,
    CONNTRACK_GENERATION_SHIFT,
    CONNTRACK_PLACED,
    CONNTRACK_UNSEEN,
    FORGET_DROP,
    FROM_SERVER,
    IN_PORT,
    OUT_PORT,
    OUT_PORT_SHIFT,
    PACKET_MASK,
    PLACED,
    QUEUED,
    SEEN,
    WORKER_SHIFT,
)
from appliance.model.marks import (
    DROP as DROP_FLOW,
)
from appliance.model.needs import EVERYTHING, NOTHING, Needs
from appliance.model.policy import GuestPolicy, Mode, PolicyDocument
from appliance.steering.dialect import INET, Dialect
from appliance.steering.failure import failure_chain, failure_sets
from appliance.steering.looks import Way, look_sets, lookups

ZONES_PRIORITY = -300
"""Before conntrack looks the connection up at -200."""
FIREWALL_PRIORITY = -160
"""Before -150, where packets are queued: by iptables' mangle table, or by the bridge family's `queues`."""
AFTER_PRIORITY = -140

Direction = Literal["to_server", "to_client"]
REASONS = ("steered", "bypass", "encrypted", "inspector-down")
"""Why this table lets bytes pass uninspected. `inspector-down` holds what was queued and came back
unseen: nobody listened, or the queue was full; the kernel does not say which."""
TCP_FLAGS = nft.payload("tcp", "flags")
PLAIN_SYN = nft.match(nft.masked(TCP_FLAGS, 0x12), 0x02)
"""SYN without ACK, whatever else."""
OPENING = nft.match(nft.masked(TCP_FLAGS, 0x17), 0x02)
"""SYN without ACK, FIN or RST."""
ORIGINAL = nft.match(nft.ct("direction"), "original")
REPLY = nft.match(nft.ct("direction"), "reply")
FORGET_THE_DROP = nft.set_bits(CONNTRACK_MARK, keep=ALL ^ CONNTRACK_DROP, to=0)
LEAVE_UNSEEN = (nft.set_bits(CONNTRACK_MARK, keep=ALL, to=CONNTRACK_UNSEEN),)
TCP_HEADERS = range(5, 16)
"""Their lengths, in words of four bytes."""
WITH_TIMESTAMPS = 8
"""That of most segments."""


def is_inspected(policy: GuestPolicy) -> bool:
    """Return whether any signature may be evaluated for the guest."""
    modes = [*(each.mode for each in policy.assignments), *(each.mode for each in policy.overrides)]
    return any(mode is not Mode.OFF for mode in modes)


def steering_table(
    policy: PolicyDocument,
    inventory: GuestInventory,
    links: Links,
    workers: int,
    needs: Mapping[str, Needs] | None = None,
    generation: int = 0,
    dialect: Dialect = INET,
) -> Table:
    """Return the table of the dialect's family. Raises PolicyError for a firewall rule that cannot be.

    workers: 1…8. needs: what is looked at, by guest; of one that has signatures and is not named, everything.
    generation: of the policy, as the inspector knows it.
    """
    needs = {port.guest: _needs_of(port.guest, policy, needs or {}) for port in links.ports}
    zones = tuple(_zone_rules(inventory, links, dialect))
    look = tuple(look_sets(needs, links))
    guarded = tuple(firewall_chains(policy, inventory, links))
    admission = tuple(_firewall_rules(guarded, dialect))
    return Table(
        dialect.family,
        chains=(
            Chain("zones", zones, nft.Hook("prerouting", ZONES_PRIORITY)),
            Chain("firewall", admission, nft.Hook("forward", FIREWALL_PRIORITY)),
            *guarded,
            *steer_chains(workers, generation, {each.name for each in look if each.elements}),
            *_worker_chains(workers),
            failure_chain(dialect, queued="queued", passed="pass_inspector-down", blocked="blocked"),
            *_after_chains(generation, dialect),
        ),
        sets=(
            Set("bridges", "ifname", tuple(segment.bridge for segment in inventory.segments)),
            *failure_sets(inventory),
            *firewall_sets(guarded, links),
            *denied_sets(),
            *_inspected_sets(policy, links),
            *look,
            *_counter_maps(links),
        ),
        counters=(*_counters(links), *firewall_counters(policy, inventory)),
    )


def _zone_rules(inventory: GuestInventory, links: Links, dialect: Dialect) -> Iterator[Rule]:
    """Frames to the bridge's own MAC leave the bridge for the host: they keep the host's zone, else
    the host's replies and its NAT would not find their connections."""
    if not links.bridges:
        return
    zones = {segment.bridge: segment.zone for segment in inventory.segments}
    own = [nft.concat(bridge.name, bridge.mac) for bridge in links.bridges]
    yield (
        nft.match(nft.concat(dialect.bridge, nft.payload("ether", "daddr")), {"set": own}),
        ACCEPT,
    )
    by_bridge = [(bridge.name, zones[bridge.name]) for bridge in links.bridges]
    yield ({"mangle": {"key": nft.ct("zone"), "value": nft.chosen(dialect.bridge, by_bridge)}},)


def _firewall_rules(guarded: Sequence[Chain], dialect: Dialect) -> Iterator[Rule]:
    # others' packets may carry marks that look like ours
    yield nft.unequal(dialect.bridge, "@bridges"), ACCEPT
    yield from dialect.not_ip
    yield nft.match(nft.masked(MARK, IN_PORT | OUT_PORT), 0), ACCEPT
    yield from admission_rules(guarded)


def _needs_of(guest: str, policy: PolicyDocument, needs: Mapping[str, Needs]) -> Needs:
    if not is_inspected(policy.guests.get(guest, policy.defaults)):
        return NOTHING
    return needs.get(guest, EVERYTHING)


def steer_chains(workers: int, generation: int, looked_at: Container[str]) -> Iterator[Chain]:
    """Yield the chains from `steer` on; they are the same in every family that has conntrack.

    looked_at: the names of the sets of what is looked at that hold anything.
    """
    is_tcp = nft.match(nft.meta("l4proto"), "tcp")
    # both headers must say multicast: a unicast packet in a broadcast frame is an attack's carrier
    multicast = (
        nft.match(nft.meta("pkttype"), {"set": ["broadcast", "multicast"]}),
        nft.jump("multicast"),
    )
    yield Chain(
        "steer",
        (
            (nft.bits_set(MARK, BYPASS), nft.goto("bypass")),
            (nft.bits_set(CONNTRACK_MARK, CONNTRACK_DROP), nft.goto("steer_dropped")),
            # only the first fragment shows ports, and its receiver need not believe them
            (nft.bits_set(nft.payload("ip", "frag-off"), 0x3FFF), nft.goto("steer_rest")),
            (nft.match({"exthdr": {"name": "frag"}}, True), nft.goto("steer_rest")),
            # a header that cannot be read matches neither
            (is_tcp, nft.match(nft.payload("tcp", "doff"), TCP_HEADERS[0], ">="), nft.goto("steer_tcp")),
            (
                nft.match(nft.meta("l4proto"), "udp"),
                nft.match(nft.payload("udp", "length"), 8, ">="),
                nft.goto("steer_udp"),
            ),
            (nft.goto("steer_rest"),),
        ),
    )
    yield Chain("bypass", (LEAVE_UNSEEN, (nft.goto("pass_bypass"),)))
    yield Chain("steer_dropped", ((is_tcp, PLAIN_SYN, nft.goto("queue")), (nft.goto("dropped"),)))
    yield Chain("steer_tcp", tuple(_tcp_rules()))
    yield Chain("steer_tcp_ends", tuple(_tcp_end_rules()))
    yield Chain("steer_udp", (multicast, (nft.goto("steer_any"),)))
    yield Chain("steer_any", ((REPLY, nft.goto("look_any_reply")), (nft.goto("look_any_original"),)))
    yield Chain("steer_rest", (multicast, (REPLY, nft.goto("rest_reply")), (nft.goto("rest_original"),)))
    yield from _look_chains("look_to_server", "to_server", generation, looked_at)
    yield from _look_chains("look_to_client", "to_client", generation, looked_at)
    for direction in ("original", "reply"):
        name, reply = f"look_any_{direction}", direction == "reply"
        yield from _look_chains(name, "any", generation, looked_at, reply=reply)
        yield from _end_chains(
            f"rest_{direction}",
            [nft.match(FROM_PORT, "@inspected_from")],
            [nft.match(TO_PORT, "@inspected_to")],
            "queue",
            reply=direction == "reply",
        )
    for way in get_args(Direction):
        yield from _data_chains(way, looked_at)
    yield Chain("bare", tuple(_bare_rules()))
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
    yield Chain(
        "pass_cleared",
        (
            (nft.bits_set(CONNTRACK_MARK, CONNTRACK_ENCRYPTED), nft.goto("pass_encrypted")),
            (nft.goto("pass_steered"),),
        ),
    )
    for reason in REASONS[:-1]:
        yield Chain(f"pass_{reason}", (*_count_both_ends(reason), *_leave()))


def _tcp_rules() -> Iterator[Rule]:
    """Which way a segment travels: known only in a connection that a SYN was seen to begin."""
    ends = 0x07  # FIN, SYN, RST
    yield nft.bits_set(TCP_FLAGS, ends), nft.goto("steer_tcp_ends")
    # a packet without a connection has no such bit, and ends the rule as well
    placed = nft.bits_set(CONNTRACK_MARK, CONNTRACK_PLACED)
    yield placed, REPLY, nft.goto("look_to_client")
    yield placed, nft.goto("look_to_server")
    yield (nft.goto("steer_any"),)


def _tcp_end_rules() -> Iterator[Rule]:
    """What begins or ends a connection: it takes back what was cleared, and says who is the client."""
    syn = 0x02
    yield nft.bits_set(TCP_FLAGS, syn), nft.set_bits(CONNTRACK_MARK, keep=ALL ^ CONNTRACK_CLEARED, to=0)
    yield (
        OPENING,
        nft.match(nft.ct("state"), "new"),
        ORIGINAL,
        nft.set_bits(CONNTRACK_MARK, keep=ALL, to=CONNTRACK_PLACED),
    )
    # the other end opens: whoever was first is not the client, or not any more
    yield PLAIN_SYN, REPLY, nft.set_bits(CONNTRACK_MARK, keep=ALL ^ CONNTRACK_PLACED, to=0)
    yield (nft.goto("steer_any"),)


def _look_chains(
    name: str, way: Way, generation: int, looked_at: Container[str], *, reply: bool | None = None
) -> Iterator[Chain]:
    """Queue what one of the two ends looks at, unless the inspector cleared it.

    looked_at: the names of the sets that hold anything; the others are not asked.
    """
    clears = {
        "to_server": CONNTRACK_CLEAR_TO_SERVER,
        "to_client": CONNTRACK_CLEAR_TO_CLIENT,
    }
    first: list[Rule] = []
    if way in clears:
        mask, value = clears[way] | CONNTRACK_GENERATION, clears[way] | _in_conntrack(generation)
        first = [(nft.match(nft.masked(CONNTRACK_MARK, mask), value), nft.goto("pass_cleared"))]
    yield from _end_chains(
        name,
        [*lookups(way, "from", looked_at)],
        [*lookups(way, "to", looked_at)],
        "queue" if way == "any" else f"queue_{way}",
        reply=way == "to_client" if reply is None else reply,
        first=first,
    )


def _end_chains(
    name: str,
    sender_looks: list[nft.Statement],
    receiver_looks: list[nft.Statement],
    queue: str,
    *,
    reply: bool,
    first: list[Rule] | None = None,
) -> Iterator[Chain]:
    """Queue if either end looks and has not said bypass for this connection.

    The server is asked first: most signatures are for it. One end's bypass never blinds the other: the
    connection passes uninspected only if no end is left. A packet without a connection has no such bits, and
    is looked at for both.
    """
    ends = (CONNTRACK_BYPASS_ORIGINATOR, CONNTRACK_BYPASS_RESPONDER)
    sender_bypass, receiver_bypass = reversed(ends) if reply else ends
    senders = [(look, nft.goto(queue)) for look in sender_looks]
    receivers = [(look, nft.goto(queue)) for look in receiver_looks]
    either = CONNTRACK_BYPASS_ORIGINATOR | CONNTRACK_BYPASS_RESPONDER
    yield Chain(
        name,
        (
            *(first or ()),
            (nft.bits_set(CONNTRACK_MARK, either), nft.goto(f"{name}_bypassed")),
            *(senders if reply else receivers),
            *(receivers if reply else senders),
            (nft.goto("pass_steered"),),
        ),
    )
    yield Chain(
        f"{name}_bypassed",
        (
            (nft.bits_set(CONNTRACK_MARK, sender_bypass), nft.goto(f"{name}_receiver")),
            (nft.goto(f"{name}_sender"),),
        ),
    )
    yield Chain(
        f"{name}_receiver",
        (
            (nft.bits_set(CONNTRACK_MARK, receiver_bypass), nft.goto("pass_bypass")),
            *receivers,
            (nft.goto("pass_bypass"),),
        ),
    )
    yield Chain(f"{name}_sender", (*senders, (nft.goto("pass_bypass"),)))


def _data_chains(way: Direction, looked_at: Container[str]) -> Iterator[Chain]:
    """Acknowledgments without payload stay in the kernel where no signature looks at such segments."""
    # ACK alone, ECN's flags aside
    acknowledges = nft.match(nft.masked(TCP_FLAGS, 0x3F), 0x10)
    yield Chain(f"queue_{way}", ((acknowledges, nft.jump(f"bare_{way}")), (nft.goto("queue"),)))
    empty: Way = "empty_to_server" if way == "to_server" else "empty_to_client"
    looks = [*lookups(empty, "to", looked_at), *lookups(empty, "from", looked_at)]
    yield Chain(f"bare_{way}", (*((look, nft.RETURN) for look in looks), (nft.goto("bare"),)))


def _bare_rules() -> Iterator[Rule]:
    """The receiver goes by these lengths, whatever the frame holds behind them."""
    ipv4, ipv6 = nft.payload("ip", "length"), nft.payload("ip6", "length")
    # what carries data has not to be asked for each length
    yield nft.match(ipv4, 20 + 4 * TCP_HEADERS[-1], ">"), nft.RETURN
    yield nft.match(ipv6, 4 * TCP_HEADERS[-1], ">"), nft.RETURN
    no_options = nft.match(nft.payload("ip", "hdrlength"), 5)
    no_extensions = nft.match(nft.payload("ip6", "nexthdr"), "tcp")
    for words in (WITH_TIMESTAMPS, *(words for words in TCP_HEADERS if words != WITH_TIMESTAMPS)):
        header = nft.match(nft.payload("tcp", "doff"), words)
        yield nft.match(ipv4, 20 + 4 * words), header, no_options, nft.goto("pass_steered")
        yield nft.match(ipv6, 4 * words), header, no_extensions, nft.goto("pass_steered")


def _in_conntrack(generation: int) -> int:
    return generation << CONNTRACK_GENERATION_SHIFT & CONNTRACK_GENERATION


def _worker_rules(workers: int) -> Iterator[Rule]:
    """A hash that is equal for both directions and takes in the ports picks the worker."""
    placed = nft.bits_set(CONNTRACK_MARK, CONNTRACK_PLACED)
    yield placed, nft.set_bits(MARK, keep=ALL, to=PLACED)
    yield placed, REPLY, nft.set_bits(MARK, keep=ALL, to=FROM_SERVER)
    yield (
        nft.bits_set(CONNTRACK_MARK, CONNTRACK_UNSEEN),
        nft.set_bits(CONNTRACK_MARK, keep=ALL ^ CONNTRACK_UNSEEN, to=0),
        nft.set_bits(MARK, keep=ALL, to=AFTER_UNSEEN),
    )
    if workers > 1:
        verdicts: list[tuple[Any, nft.Statement]] = [
            (number, nft.goto(f"worker_{number}")) for number in range(workers)
        ]
        yield (nft.dispatch({"symhash": {"mod": workers}}, verdicts),)
    yield nft.set_bits(MARK, keep=ALL, to=QUEUED), nft.goto("queued")


def _worker_chains(workers: int) -> Iterator[Chain]:
    for number in range(workers if workers > 1 else 0):
        yield Chain(
            f"worker_{number}",
            ((nft.set_bits(MARK, keep=ALL, to=QUEUED | number << WORKER_SHIFT), nft.goto("queued")),),
        )


def _after_chains(generation: int, dialect: Dialect) -> Iterator[Chain]:
    seen = nft.bits_set(MARK, SEEN)
    answers = [(mark, nft.goto(name)) for mark, name, _ in _answers(generation)]
    yield Chain(
        "after",
        (
            # most packets: not queued, so that there is no answer
            (nft.bits_clear(MARK, PACKET_MASK), ACCEPT),
            (nft.unequal(dialect.bridge, "@bridges"), ACCEPT),
            # an answer has it not
            (nft.bits_set(MARK, QUEUED), nft.goto("pass_inspector-down")),
            # what was not queued; its bits may say something else
            (nft.bits_clear(MARK, SEEN), *_leaving()),
            (seen, nft.bits_set(MARK, FORGET_DROP), FORGET_THE_DROP),
            # Two rules: the first does not come to its end for a packet without connection.
            (nft.bits_set(MARK, DROP_FLOW), nft.set_bits(CONNTRACK_MARK, keep=ALL, to=CONNTRACK_DROP)),
            (nft.bits_set(MARK, DROP_FLOW), nft.goto("dropped")),
            (nft.dispatch(nft.masked(MARK, ANSWER), answers),),
            # nothing is cleared, or by another policy than this one
            (
                nft.bits_set(CONNTRACK_MARK, CONNTRACK_CLEARED),
                nft.set_bits(CONNTRACK_MARK, keep=ALL ^ CONNTRACK_CLEARED, to=0),
            ),
            *_leave(),
        ),
        nft.Hook("forward", AFTER_PRIORITY),
    )
    for _, name, remembered in _answers(generation):
        kept = nft.masked(CONNTRACK_MARK, ALL ^ CONNTRACK_CLEARED)
        remember = {"mangle": {"key": CONNTRACK_MARK, "value": {"|": [kept, remembered]}}}
        yield Chain(name, ((remember,), *_leave()))
    yield Chain("dropped", (*_count_both_ends("dropped"), (DROP,)))
    yield Chain("blocked", (*_count_both_ends("blocked"), deny(BY_FAILURE_POLICY)))
    yield denied_chain()
    opening = (nft.match(nft.meta("l4proto"), "tcp"), PLAIN_SYN, FORGET_THE_DROP)
    yield Chain(
        "pass_inspector-down", (LEAVE_UNSEEN, opening, *_count_both_ends("inspector-down"), *_leave())
    )


def _answers(generation: int) -> Iterator[tuple[int, str, int]]:
    """Yield what an answer may clear: its bits, a chain's name, what is remembered of it."""
    odd = ANSWER_ODD if generation % 2 else 0
    to_server, to_client = CONNTRACK_CLEAR_TO_SERVER, CONNTRACK_CLEAR_TO_CLIENT
    both = ANSWER_CLEAR_TO_SERVER | ANSWER_CLEAR_TO_CLIENT
    for bits, name, remembered in (
        (ANSWER_CLEAR_TO_SERVER, "to_server", to_server),
        (ANSWER_CLEAR_TO_CLIENT, "to_client", to_client),
        (both, "both", to_server | to_client),
        (both | ANSWER_ENCRYPTED, "encrypted", to_server | to_client | CONNTRACK_ENCRYPTED),
    ):
        yield bits | odd, f"clear_{name}", remembered | _in_conntrack(generation)


def _leave() -> Iterator[Rule]:
    """Take our bits off again: the host's own rules and routing may read the mark."""
    yield _leaving()


def _leaving() -> Rule:
    return nft.set_bits(MARK, keep=ALL ^ PACKET_MASK, to=0), ACCEPT


# Counters.


def _count_both_ends(what: str) -> Iterator[Rule]:
    """A rule an end: a counter map that has nothing for its key ends the rule."""
    yield (nft.count_by(FROM_PORT, f"{what}_from"),)
    yield (nft.count_by(TO_PORT, f"{what}_to"),)


def counter_of(what: str, guest: str) -> str:
    """Return the counter for `dropped`, `blocked` (by the failure policy) or a reason of a guest."""
    if what == "dropped":
        return f"dropped/{slug(guest)}/flow"
    if what == "blocked":
        return f"dropped/{slug(guest)}/inspector-down"
    return f"uninspected/{slug(guest)}/{what}"


COUNTED = ("dropped", "blocked", *REASONS)


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
