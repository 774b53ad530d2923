"""The number that nftables gives its rules: every change in a network namespace, anybody's, makes another."""

import socket
import struct

from appliance.model.faults import SystemFault
from appliance.netns import entered

# include/uapi/linux/netlink.h and netfilter/nfnetlink.h
NETLINK_NETFILTER = 12
NFT_MSG_GETGEN = 10 << 8 | 16
NLM_F_REQUEST = 1
GENERATION_AT = 24
"""Where the answer holds the generation: after its header (16), nfgenmsg (4) and the attribute's own (4)."""
ANSWER_S = 5.0


def generation(netns: str | None) -> int:
    """Return the number of nftables' rules in the namespace: every change has another. Raises SystemFault."""
    request = struct.pack("=IHHIIBBH", 20, NFT_MSG_GETGEN, NLM_F_REQUEST, 1, 0, 0, 0, 0)
    try:
        with nftables_socket(netns) as asked:
            asked.settimeout(ANSWER_S)
            asked.send(request)
            answer = asked.recv(4096)
    except OSError as error:
        raise SystemFault(f"nftables: cannot ask for the generation: {error}") from error
    if len(answer) < GENERATION_AT + 4:
        raise SystemFault("nftables: the kernel does not know the generation")
    return int.from_bytes(answer[GENERATION_AT : GENERATION_AT + 4], "big")


def nftables_socket(netns: str | None) -> socket.socket:
    """Return a socket that speaks with nftables in the namespace. Raises SystemFault."""
    try:
        with entered(netns):
            return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    except OSError as error:
        raise SystemFault(f"nftables: cannot listen for changes: {error}") from error
