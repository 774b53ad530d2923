"""How packets get into the queues of whoever is not Sekisho: the bench's own rules, as a value."""

import contextlib
from collections.abc import Iterator

from appliance.netns import run_in
from appliance.steering.backend import switch_bridges
from bench.inline.segment import BRIDGE, Segment

WORKER_MARK = 0x100
WORKER_MASK = 0xFF00
BYPASS_MARK = 0x10000
"""A flow that Suricata wants to hear no more of."""

TABLE = "bench"
BYPASSED = f"-A FORWARD -m connmark --mark {BYPASS_MARK:#x}/{BYPASS_MARK:#x} -j ACCEPT"


def render(queues: int, *, replies: bool, bypass: bool) -> str:
    """Return the input of iptables-restore.

    replies: whether a connection's replies are queued; what opens or ends it is in any case, or an inspector
    would not know what it sees. bypass: flows that carry BYPASS_MARK are accepted in the kernel.
    """
    mangle = [BYPASSED] if bypass else []
    if not replies:
        mangle += [
            "-A FORWARD -p tcp --tcp-flags SYN,FIN,RST NONE -m conntrack --ctdir REPLY -j ACCEPT",
            "-A FORWARD -p udp -m conntrack --ctdir REPLY -j ACCEPT",
        ]
    for worker in range(queues):
        mark = f"-m mark --mark {WORKER_MARK + (worker << 8):#x}/{WORKER_MASK:#x} " if queues > 1 else ""
        mangle.append(f"-A FORWARD -i {BRIDGE} {mark}-j NFQUEUE --queue-num {worker} --queue-bypass")
    mask = f"{BYPASS_MARK:#x}"
    save = f"-A FORWARD -m mark --mark {mask}/{mask} -j CONNMARK --save-mark --nfmask {mask} --ctmask {mask}"
    return "\n".join(["*mangle", *mangle, "COMMIT", "*filter", *([save] if bypass else []), "COMMIT", ""])


def spread(queues: int) -> str:
    """Return the input of nft: a worker a connection, by a hash over addresses and ports, both ways the same.

    iptables' own --queue-balance hashes addresses alone: two guests would use one queue. It is the hash that
    Sekisho's rules use.
    """
    hashed = f"symhash mod {queues} map {{ {_marks(queues)} }}"
    rule = f'iifname "{BRIDGE}" meta mark set {hashed}'
    hook = "type filter hook forward priority -160"
    return f"table inet {TABLE} {{\n chain forward {{\n  {hook};\n  {rule}\n }}\n}}\n"


def _marks(queues: int) -> str:
    return ", ".join(f"{worker} : {WORKER_MARK + (worker << 8):#x}" for worker in range(queues))


@contextlib.contextmanager
def steered(segment: Segment, queues: int, *, replies: bool = True, bypass: bool = False) -> Iterator[None]:
    """Steer bridged IPv4 into queues 0 … queues-1 until the block ends. Raises SystemFault."""
    netns = segment.netns
    if queues > 1:
        run_in(netns, ["nft", "-f", "-"], spread(queues))
    run_in(netns, ["iptables-restore"], render(queues, replies=replies, bypass=bypass))
    switch_bridges([BRIDGE], netns, on=True)
    try:
        yield
    finally:
        switch_bridges([BRIDGE], netns, on=False)
        run_in(netns, ["iptables-restore"], "*mangle\nCOMMIT\n*filter\nCOMMIT\n")
        if queues > 1:
            run_in(netns, ["nft", "delete", "table", "inet", TABLE])


def bypassed_bytes(segment: Segment) -> int:
    """Return how many bytes of bypassed flows were accepted in the kernel."""
    for line in run_in(segment.netns, ["iptables", "-t", "mangle", "-nvxL", "FORWARD"]).splitlines():
        if "connmark" in line and "ACCEPT" in line:
            return int(line.split()[1])
    return 0
