"""Marked packets into the inspector's queues: nftables' own `queue`, or iptables' NFQUEUE.

With nft-bridge a chain of the bridge family. Not every kernel has that; with br-netfilter iptables' mangle
table holds one chain of ours and one jump to it, the only rules outside our tables. They are
rendered as a value that `iptables-restore --noflush` and `ip6tables-restore --noflush` take whole:
naming the chain empties it, so loading twice is loading once; the jump is added only if it is not
there, and all jumps too many are taken away.
"""

from collections.abc import Iterator

from appliance.firewall import nft
from appliance.firewall.nft import ACCEPT, Chain
from appliance.firewall.rules import MARK
from appliance.model.guest import GuestInventory
from appliance.model.marks import MAX_WORKERS, QUEUED, WORKER, WORKER_SHIFT
from appliance.steering.dialect import BRIDGE

CHAIN = "SEKISHO"
JUMP = f"FORWARD -j {CHAIN}"
QUEUES_PRIORITY = -150
"""iptables' mangle table's: between `firewall`, which marks, and `after`, which judges what came back."""


def queue_chains(inventory: GuestInventory, first_queue: int, workers: int) -> Iterator[Chain]:
    """Yield the bridge family's chains that queue what is marked, and let all else go on.

    A segment whose failure policy passes traffic while the inspector is down says `bypass`. All queues must
    be bound with segmentation offload on: the kernel cannot cut up a bridge's packets for a queue without.
    """
    _check(workers)
    policies = {segment.bridge: segment.failure.inspector_down for segment in inventory.segments}
    by_bridge = [(bridge, nft.goto(f"queues_{policy}")) for bridge, policy in policies.items()]
    yield Chain(
        "queues",
        (
            (nft.bits_clear(MARK, QUEUED), ACCEPT),
            *([(nft.dispatch(BRIDGE.bridge, by_bridge),)] if by_bridge else []),
        ),
        nft.Hook("forward", QUEUES_PRIORITY),
    )
    for policy in sorted(set(policies.values())):
        yield Chain(
            f"queues_{policy}",
            tuple(
                (
                    nft.match(nft.masked(MARK, WORKER), worker << WORKER_SHIFT),
                    nft.queue(first_queue + worker, bypass=policy == "open"),
                )
                for worker in range(workers)
            ),
        )


def queue_rules(inventory: GuestInventory, first_queue: int, workers: int, jumps: int) -> str:
    """Return the input of iptables-restore and ip6tables-restore alike.

    jumps: how often FORWARD calls our chain now. A segment whose failure policy passes traffic while the
    inspector is down gets `--queue-bypass`; the kernel drops the others' while nobody listens.
    """
    _check(workers)
    lines = ["*mangle", f":{CHAIN} - [0:0]"]
    lines += [f"-D {JUMP}"] * (jumps - 1)
    lines += [] if jumps else [f"-I FORWARD 1 -j {CHAIN}"]
    lines += _rules(inventory, first_queue, workers)
    return "\n".join([*lines, "COMMIT", ""])


def _rules(inventory: GuestInventory, first_queue: int, workers: int) -> Iterator[str]:
    yield f"-A {CHAIN} -m mark --mark 0/{QUEUED:#010x} -j RETURN"
    for segment in inventory.segments:
        bypass = " --queue-bypass" if segment.failure.inspector_down == "open" else ""
        for worker in range(workers):
            mark = f"{QUEUED | worker << WORKER_SHIFT:#010x}/{QUEUED | WORKER:#010x}"
            target = f"NFQUEUE --queue-num {first_queue + worker}{bypass}"
            yield f"-A {CHAIN} -i {segment.bridge} -m mark --mark {mark} -j {target}"


def _check(workers: int) -> None:
    if not 1 <= workers <= MAX_WORKERS:
        raise ValueError(f"{workers} workers: between 1 and {MAX_WORKERS}")


def queue_removal(jumps: int) -> str:
    """Return the input of iptables-restore that takes chain and jumps away."""
    lines = ["*mangle", f":{CHAIN} - [0:0]", *[f"-D {JUMP}"] * jumps, f"-X {CHAIN}", "COMMIT", ""]
    return "\n".join(lines)
