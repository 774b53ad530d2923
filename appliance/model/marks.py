"""The bits of the packet mark and of the conntrack mark; ARCHITECTURE.md says who sets which."""

PACKET_MASK = 0x0FFFFFFF
"""All that is ours of a packet mark; the rest is preserved."""
IN_PORT = 0x000003FF
OUT_PORT = 0x000FFC00
OUT_PORT_SHIFT = 10
WORKER = 0x00700000
WORKER_SHIFT = 20
MAX_WORKERS = 8
QUEUED = 0x00800000
SEEN = 0x01000000
DROP = 0x02000000
BYPASS = 0x04000000
FORGET_DROP = 0x08000000

# On the way to the inspector, in place of what only its answer says.
PLACED = DROP
"""Conntrack saw the connection begin with a SYN, so that its directions are known."""
FROM_SERVER = FORGET_DROP
"""If placed: the packet is the server's."""
AFTER_UNSEEN = SEEN
"""Packets of its connection passed unseen since the last one that was queued."""

# In the inspector's answer (SEEN and not QUEUED), in place of the worker's number and the bypass.
ANSWER_CLEAR_TO_SERVER = 0x00100000
ANSWER_CLEAR_TO_CLIENT = 0x00200000
ANSWER_ODD = 0x00400000
"""The generation of the policy that the inspector answered by is odd."""
ANSWER_ENCRYPTED = BYPASS
ANSWER = ANSWER_CLEAR_TO_SERVER | ANSWER_CLEAR_TO_CLIENT | ANSWER_ODD | ANSWER_ENCRYPTED

CONNTRACK_MASK = 0xFFFF0000
CONNTRACK_DROP = 0x80000000
CONNTRACK_BYPASS_ORIGINATOR = 0x40000000
CONNTRACK_BYPASS_RESPONDER = 0x20000000
CONNTRACK_PLACED = 0x10000000
"""A SYN that we saw made the entry: its original direction is to the server."""
CONNTRACK_CLEAR_TO_SERVER = 0x08000000
CONNTRACK_CLEAR_TO_CLIENT = 0x04000000
CONNTRACK_ENCRYPTED = 0x02000000
CONNTRACK_UNSEEN = 0x01000000
"""Packets passed unseen that the inspector was to see; until the next one is queued and says so."""
CONNTRACK_GENERATION = 0x00FF0000
"""Of the policy under which a direction was cleared; under another one it is not."""
CONNTRACK_GENERATION_SHIFT = 16
CONNTRACK_CLEARED = (
    CONNTRACK_CLEAR_TO_SERVER | CONNTRACK_CLEAR_TO_CLIENT | CONNTRACK_ENCRYPTED | CONNTRACK_GENERATION
)
ALL = 0xFFFFFFFF
