"""The kernel's memory for datagrams whose fragments have not all come, which all guests share.

Connection tracking puts them together before anybody sees them. While it is full no fragmented datagram
passes any more, whosever it is; what never becomes whole is given up after `ipfrag_time`
(net/ipv4/inet_fragment.c). How much it may be is not asked: a sandbox without /proc/sys cannot.
"""

from pathlib import Path

import msgspec

from appliance.model.faults import SystemFault
from appliance.netns import entered

IN_USE, COUNTS = (Path("/proc/thread-self/net") / name for name in ("sockstat", "snmp"))
MUCH_BYTES = 3 << 20
"""Linux' own bound is 4 MiB; far from any, a fragment is refused for what it is."""


class Fragments(msgspec.Struct, frozen=True):
    """Bytes that IPv4's unfinished datagrams take; fragments refused, but for those that waited in vain."""

    bytes: int = 0
    refused: int = 0

    def found_no_room_since(self, before: "Fragments") -> int:
        """Return how many fragments were refused for want of room."""
        return max(0, self.refused - before.refused) if self.bytes >= MUCH_BYTES else 0


def read_fragments(netns: str | None) -> Fragments:
    """Return how the namespace's memory for fragments stands. Raises SystemFault."""
    try:
        with entered(netns):
            used = next(line for line in IN_USE.read_text().splitlines() if line.startswith("FRAG:")).split()
            names, counts = (
                line.split() for line in COUNTS.read_text().splitlines() if line.startswith("Ip:")
            )
        counted = dict(zip(names[1:], map(int, counts[1:]), strict=True))
        refused = counted["ReasmFails"] - counted["ReasmTimeout"]
        return Fragments(int(used[used.index("memory") + 1]), refused)
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise SystemFault(f"fragments: cannot read how much of their memory is taken: {error}") from error
