"""How packets get from the bridge to the inspector's queues, and whether this kernel can do it.

`br-netfilter`: br_netfilter carries bridged packets through the inet hooks, iptables' NFQUEUE rules
queue them; any kernel has it. `nft-bridge`: nftables' own `queue` in the bridge family.
"""

from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from appliance.firewall import nft
from appliance.model.faults import SystemFault
from appliance.netns import entered, run_in

SYSCTLS = Path("/proc/sys/net/bridge")
VLAN_SYSCTL = SYSCTLS / "bridge-nf-filter-vlan-tagged"
BRIDGE_CALLS = ("br_nf_call_iptables", "br_nf_call_ip6tables")
"""The bridge's attributes that turn br_netfilter on for it alone. Not nf_call_arptables: ARP is judged
in the bridge family."""


class Backend(Enum):
    """How packets are steered."""

    BR_NETFILTER = "br-netfilter"
    NFT_BRIDGE = "nft-bridge"


def choose_backend(netns: str | None = None, wanted: Backend | None = None) -> Backend:
    """Return the back end to use, found by asking the kernel. Raises SystemFault saying what lacks."""
    if wanted is Backend.NFT_BRIDGE:
        able = "has" if _has_bridge_queue(netns) else "lacks"
        raise SystemFault(
            f"steering: the back end nft-bridge is not available in this version (this kernel {able} "
            "nftables' queue for bridges); use br-netfilter"
        )
    _load_br_netfilter(netns)
    return Backend.BR_NETFILTER


def _load_br_netfilter(netns: str | None) -> None:
    if _has_br_netfilter(netns):
        return
    try:
        run_in(None, ["modprobe", "br_netfilter"])
    except SystemFault as error:
        raise SystemFault(
            f"steering: this kernel has no br_netfilter ({error}); without it bridged packets reach no "
            "queue. Install the distribution's full kernel, or load the module"
        ) from error


def _has_br_netfilter(netns: str | None) -> bool:
    try:
        run_in(netns, ["test", "-d", str(SYSCTLS)])
    except SystemFault:
        return False
    return True


def _has_bridge_queue(netns: str | None) -> bool:
    """Ask the kernel with a transaction that it checks and then forgets."""
    chain = nft.Chain("probe", (({"queue": {"num": 0}},),), nft.Hook("forward", 0))
    try:
        check = nft.transaction((nft.Table("bridge", (chain,)),), nft.KernelState())
        run_in(netns, ["nft", "--check", "-j", "-f", "-"], check.replace(nft.TABLE, "sekisho_probe"))
    except SystemFault:
        return False
    return True


def look_through_tags(netns: str | None, *, on: bool) -> None:
    """Let br_netfilter see IP under a VLAN tag, or stop it (the kernel's default).

    There is no such switch per bridge; this one concerns those alone that call iptables anyway.
    Raises SystemFault.
    """
    run_in(netns, ["sh", "-e"], f"[ ! -e {VLAN_SYSCTL} ] || echo {int(on)} > {VLAN_SYSCTL}\n")


def switch_bridges(bridges: Iterable[str], netns: str | None, *, on: bool) -> None:
    """Turn br_netfilter on or off for those of the bridges that exist, leaving all others alone.

    The sysctl for all bridges stays as it is: turned on it would pull other people's bridges into FORWARD.
    Raises SystemFault.
    """
    try:
        with entered(netns), IPRoute() as handle:
            for bridge in bridges:
                for index in handle.link_lookup(ifname=bridge):
                    handle.link("set", index=index, kind="bridge", **dict.fromkeys(BRIDGE_CALLS, int(on)))
    except (NetlinkError, OSError) as error:
        raise SystemFault(f"steering: cannot turn br_netfilter on the bridges: {error}") from error
