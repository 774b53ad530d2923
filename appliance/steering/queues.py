"""The NFQUEUE rules: iptables' mangle table, one chain of ours and one jump to it.

Not every kernel has nftables' own `queue`; these are the only rules outside our tables. They are
rendered as a value that `iptables-restore --noflush` and `ip6tables-restore --noflush` take whole:
naming the chain empties it, so loading twice is loading once; the jump is added only if it is not
there, and all jumps too many are taken away.
"""

from collections.abc import Iterator

from appliance.model.guest import GuestInventory
from appliance.model.marks import MAX_WORKERS, QUEUED, WORKER, WORKER_SHIFT

CHAIN = "SEKISHO"
JUMP = f"FORWARD -j {CHAIN}"


def queue_rules(inventory: GuestInventory, first_queue: int, workers: int, jumps: int) -> str:
    """Return the input of iptables-restore and ip6tables-restore alike.

    jumps: how often FORWARD calls our chain now. A segment whose failure policy passes traffic while the
    inspector is down gets `--queue-bypass`; the kernel drops the others' while nobody listens.
    """
    if not 1 <= workers <= MAX_WORKERS:
        raise ValueError(f"{workers} workers: between 1 and {MAX_WORKERS}")
    lines = ["*mangle", f":{CHAIN} - [0:0]"]
    lines += [f"-D {JUMP}"] * (jumps - 1)
    lines += [] if jumps else [f"-I FORWARD 1 -j {CHAIN}"]
    lines += _rules(inventory, first_queue, workers)
    return "\n".join([*lines, "COMMIT", ""])


def _rules(inventory: GuestInventory, first_queue: int, workers: int) -> Iterator[str]:
    for segment in inventory.segments:
        bypass = " --queue-bypass" if segment.failure.inspector_down == "open" else ""
        for worker in range(workers):
            mark = f"{QUEUED | worker << WORKER_SHIFT:#010x}/{QUEUED | WORKER:#010x}"
            target = f"NFQUEUE --queue-num {first_queue + worker}{bypass}"
            yield f"-A {CHAIN} -i {segment.bridge} -m mark --mark {mark} -j {target}"


def queue_removal(jumps: int) -> str:
    """Return the input of iptables-restore that takes chain and jumps away."""
    lines = ["*mangle", f":{CHAIN} - [0:0]", *[f"-D {JUMP}"] * jumps, f"-X {CHAIN}", "COMMIT", ""]
    return "\n".join(lines)
