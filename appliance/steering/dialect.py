"""What the back ends say differently in chains that are otherwise the same.

With br-netfilter the chains hang in the inet family, which knows the bridge as the interface that a packet
came in by and sees IP alone. With nft-bridge they hang in the bridge family, which knows the bridge's port,
and sees ARP and whatever else crosses a bridge too.
"""

import msgspec

from appliance.firewall import nft
from appliance.firewall.nft import ACCEPT, Expression, Family, Rule


class Dialect(msgspec.Struct, frozen=True):
    """bridge: the bridge that a packet crosses. not_ip: the rules by which what is no IP skips a chain."""

    family: Family
    bridge: Expression
    not_ip: tuple[Rule, ...] = ()


INET = Dialect("inet", nft.meta("iifname"))
BRIDGE = Dialect(
    "bridge",
    nft.meta("ibrname"),
    # what is under a VLAN tag counts as what it is: the kernel took the tag off before
    not_ip=((nft.unequal(nft.meta("protocol"), {"set": ["ip", "ip6"]}), ACCEPT),),
)
