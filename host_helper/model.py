"""A host's guests and vNICs as the hypervisor states them, and what it tells of their lives."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class HostVnic:
    """A guest's vNIC.

    kind: libvirt's interface type (`bridge`, `network`, `direct`, …). bridge: what the hypervisor says it is
    connected to; None where there is no bridge. tap: None while the guest is off. vlan: the one that the
    hypervisor puts it into, without tags; None where it leaves that to the bridge, 0 for anything else.
    """

    mac: str
    kind: str
    bridge: str | None
    tap: str | None
    vlan: int | None = None

    @property
    def obstacle(self) -> str | None:
        """Why its traffic cannot be led through an appliance, in words; None where it can."""
        if self.kind in OBSTACLES:
            return OBSTACLES[self.kind]
        return None if self.bridge else f"an interface of type {self.kind} is on no bridge"


OBSTACLES = {
    "direct": "macvtap hands frames to the physical card, past every bridge",
    "hostdev": "SR-IOV: the guest drives the physical card itself",
    "vhostuser": "vhost-user shares memory with another program, past the kernel",
    "vdpa": "vDPA: the guest drives the physical card itself",
    "user": "user networking is no port of a bridge",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """What a helper writes into a running domain that it protects, for the host that it may move to.

    home: each vNIC's bridge without us, by MAC. persistent: its stored definition is one that is led.
    owns_vlans: what the hypervisor says of the vNICs' VLANs is our doing.
    """

    home: Mapping[str, str]
    persistent: bool = False
    owns_vlans: bool = False


@dataclass(frozen=True, slots=True)
class HostGuest:
    """A guest of this host.

    uuid: the domain's; together with the host's it is who the guest is. Names and MACs are not.
    marked: None where nobody protects it. migrating: it stands still between two hosts, and nothing of it can
    be changed.
    """

    uuid: str
    name: str
    running: bool
    vnics: tuple[HostVnic, ...]
    marked: Mark | None = None
    migrating: bool = False

    def vnic(self, mac: str) -> HostVnic | None:
        """Return the vNIC with this MAC."""
        return next((each for each in self.vnics if each.mac == mac), None)


class Happened(Enum):
    """What becomes of guests."""

    DEFINED = "defined"
    UNDEFINED = "undefined"
    RENAMED = "renamed"
    STARTED = "started"
    STOPPED = "stopped"
    CRASHED = "crashed"
    REBOOTED = "rebooted"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    REVERTED = "reverted"
    MIGRATED_IN = "migrated-in"
    MIGRATED_OUT = "migrated-out"
    VNICS_CHANGED = "vnics-changed"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Something happened to a guest, or (uuid empty) to the hypervisor's connection."""

    what: Happened
    uuid: str = ""
    name: str = ""
