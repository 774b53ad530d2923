"""The kernel's memory for datagrams whose fragments have not all come, which all guests share.

Connection tracking puts them together before anybody sees them. While it is full no fragmented datagram
passes any more, whosever it is; what never becomes whole is given up after `ipfrag_time`
(net/ipv4/inet_fragment.c).
"""

from pathlib import Path

import msgspec

from appliance.model.faults import SystemFault
from appliance.netns import entered

IN_USE = Path("/proc/thread-self/net/sockstat")
AT_MOST = Path("/proc/sys/net/ipv4/ipfrag_high_thresh")


class Fragments(msgspec.Struct, frozen=True):
    """Bytes that IPv4's unfinished datagrams take, and may take."""

    bytes: int
    at_most: int

    @property
    def are_refused(self) -> bool:
        """Whether the kernel takes no further one."""
        return self.bytes > self.at_most


def read_fragments(netns: str | None) -> Fragments:
    """Return how much of a namespace's memory for fragments is taken. Raises SystemFault."""
    try:
        with entered(netns):
            said = dict(line.split(":", 1) for line in IN_USE.read_text().splitlines())
            words = said["FRAG"].split()
            return Fragments(int(words[words.index("memory") + 1]), int(AT_MOST.read_text()))
    except (OSError, ValueError, KeyError) as error:
        raise SystemFault(f"fragments: cannot read how much of their memory is taken: {error}") from error
