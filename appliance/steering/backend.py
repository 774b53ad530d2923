"""How packets get from the bridge to the inspector's queues, and whether this kernel can do it.

`br-netfilter`: br_netfilter carries bridged packets through the inet hooks, iptables' NFQUEUE rules
queue them; any kernel has it. `nft-bridge`: everything in the bridge family, with nftables' own `queue` and
the bridge's own conntrack; distributions' kernels have it.
"""

import contextlib
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

import msgspec

from appliance import rtnetlink
from appliance.firewall import nft
from appliance.model.faults import SystemFault
from appliance.netns import entered, run_in
from appliance.steering.dialect import BRIDGE, INET

SYSCTLS = Path("/proc/sys/net/bridge")
VLAN_SYSCTL = SYSCTLS / "bridge-nf-filter-vlan-tagged"
TIMESTAMP_SYSCTL = Path("/proc/sys/net/netfilter/nf_conntrack_timestamp")
SWITCHED_SYSCTLS = {1: TIMESTAMP_SYSCTL, 2: VLAN_SYSCTL}
"""What is turned on beside the bridges, by the number under which the set `turned_on` remembers that it was
off before us."""
CALL_SYSCTLS = f"{SYSCTLS}/bridge-nf-call-*"


class Backend(Enum):
    """How packets are steered."""

    BR_NETFILTER = "br-netfilter"
    NFT_BRIDGE = "nft-bridge"


class Choice(msgspec.Struct, frozen=True):
    """A back end, and in words why it is this one."""

    backend: Backend
    why: str

    @property
    def family(self) -> nft.Family:
        """Where the back end's chains are."""
        return (BRIDGE if self.backend is Backend.NFT_BRIDGE else INET).family


def choose_backend(netns: str | None = None, wanted: Backend | None = None) -> Choice:
    """Return the back end to use: the one wanted, else nft-bridge where the kernel has it, else br-netfilter.

    Raises SystemFault saying what the kernel lacks.
    """
    choice, present = judge_backend(netns, wanted)
    if not present:
        load_br_netfilter(netns)
    return choice


def judge_backend(netns: str | None = None, wanted: Backend | None = None) -> tuple[Choice, bool]:
    """Return the back end to use, and whether all that it needs is there; load no br_netfilter.

    Raises SystemFault saying what the kernel lacks.
    """
    if wanted is Backend.BR_NETFILTER:
        return Choice(wanted, "asked for"), _has_br_netfilter(netns)
    lacking = _lacking_for_nft_bridge(netns)
    if lacking is None:
        able = "this kernel queues and tracks connections in the bridge family"
        return Choice(Backend.NFT_BRIDGE, "asked for" if wanted else able), True
    if wanted is Backend.NFT_BRIDGE:
        raise SystemFault(f"steering: nft-bridge needs a kernel that {lacking}. Use br-netfilter")
    why = f"nft-bridge would need a kernel that {lacking}"
    return Choice(Backend.BR_NETFILTER, why), _has_br_netfilter(netns)


def load_br_netfilter(netns: str | None) -> None:
    """Make br_netfilter's hooks be there. Raises SystemFault."""
    if _has_br_netfilter(netns):
        return
    try:
        run_in(None, ["modprobe", "br_netfilter"])
    except SystemFault as error:
        raise SystemFault(
            f"steering: this kernel has no br_netfilter ({error}); without it bridged packets reach no "
            "queue. Install the distribution's full kernel, or load the module"
        ) from error
    # A module that is new turns itself on for all bridges of a namespace; nobody was told to want that.
    for name in {None, netns}:
        run_in(name, ["sh", "-e"], f"for each in {CALL_SYSCTLS}; do echo 0 > $each; done\n")


def _has_br_netfilter(netns: str | None) -> bool:
    try:
        run_in(netns, ["test", "-d", str(SYSCTLS)])
    except SystemFault:
        return False
    return True


_PROBES: dict[str, nft.Rule] = {
    "queues bridged packets (nft_queue)": (nft.queue(0, bypass=True),),
    "tracks bridged connections (nf_conntrack_bridge)": (
        nft.match(nft.ct("state"), "established"),
        nft.match(nft.ct("direction"), "reply"),
        nft.set_bits(nft.ct("mark"), keep=0, to=1),
    ),
    "names a packet's bridge (nft_meta_bridge)": (nft.match(BRIDGE.bridge, "probe"),),
    "hashes both directions alike (nft_hash)": (nft.dispatch({"symhash": {"mod": 2}}, [(0, nft.ACCEPT)]),),
}
"""What the chains of nft-bridge need of the kernel beyond what br-netfilter's need."""


def _lacking_for_nft_bridge(netns: str | None) -> str | None:
    """Return the first thing that the kernel lacks, or None.

    All are asked for with a transaction that the kernel checks, loading its modules, and then forgets; one by
    one only if it refuses.
    """
    if _refusal(netns, *_PROBES.values()) is None:
        return None
    refusals = ((what, _refusal(netns, rule)) for what, rule in _PROBES.items())
    return next((f"{what}: {why}" for what, why in refusals if why is not None), None)


def _refusal(netns: str | None, *rules: nft.Rule) -> str | None:
    chain = nft.Chain("probe", rules, nft.Hook("forward", 0))
    batch = nft.transaction((nft.Table("bridge", (chain,)),), nft.KernelState())
    try:
        run_in(netns, ["nft", "--check", "-j", "-f", "-"], batch.replace(nft.TABLE, "sekisho_probe"))
    except SystemFault as fault:
        return str(fault)
    return None


def sysctls_off(netns: str | None) -> frozenset[int]:
    """Return which of SWITCHED_SYSCTLS are off, or not there yet. Raises SystemFault."""

    def is_off(path: Path) -> bool:
        try:
            return path.read_text().strip() == "0"
        except FileNotFoundError:
            return True

    try:
        with entered(netns):
            return frozenset(number for number, path in SWITCHED_SYSCTLS.items() if is_off(path))
    except OSError as error:
        raise SystemFault(f"steering: cannot read the kernel's switches: {error}") from error


def look_through_tags(netns: str | None, *, on: bool) -> None:
    """Let br_netfilter see IP under a VLAN tag, or stop it (the kernel's default).

    There is no such switch per bridge; this one concerns those alone that call iptables anyway.
    Raises SystemFault.
    """
    run_in(netns, ["sh", "-e"], f"[ ! -e {VLAN_SYSCTL} ] || echo {int(on)} > {VLAN_SYSCTL}\n")


def note_beginnings(netns: str | None, *, on: bool) -> None:
    """Have the kernel note when each connection began, or stop it (its default).

    Where that may not be written, connections are shown without their age. Raises SystemFault.
    """
    try:
        with entered(netns), contextlib.suppress(OSError):
            TIMESTAMP_SYSCTL.write_text(f"{int(on)}\n")
    except OSError as error:
        raise SystemFault(f"steering: {error}") from error


def switch_bridges(bridges: Iterable[str], netns: str | None, *, on: bool) -> None:
    """Turn br_netfilter on or off for those of the bridges that exist, leaving all others alone.

    The sysctl for all bridges stays as it is: turned on it would pull other people's bridges into FORWARD.
    Raises SystemFault.
    """
    for bridge in bridges:
        rtnetlink.set_bridge_calls(netns, bridge, on=on)
