"""Where guests come from: the one interface that libvirt and a plain file have in common."""

from collections.abc import Callable
from typing import Protocol

from host_helper.model import HostGuest, Lifecycle, Mark

Heard = Callable[[Lifecycle], None]


class GuestSource(Protocol):
    """A host's guests. Calls block; each raises SystemFault where the hypervisor is silent or refuses."""

    @property
    def host_uuid(self) -> str:
        """Who this host is."""

    def start(self, heard: Heard) -> None:
        """Begin to tell what happens, from a thread of its own; a lost hypervisor is waited for."""

    def stop(self) -> None:
        """Stop telling."""

    def guests(self) -> tuple[HostGuest, ...]:
        """Return every guest, running or not."""

    def mark(self, guest: HostGuest, mark: Mark | None) -> None:
        """Write into the running guest that it is protected (None: is not), for the host it may move to."""

    def move(self, guest: HostGuest, mac: str, bridge: str, *, persistent: bool) -> None:
        """Connect a running guest's vNIC to another bridge, the guest noticing nothing.

        persistent: it comes back there when the guest is started again.
        """

    def store_vlan(self, guest: HostGuest, mac: str, vlan: int, default: int) -> None:
        """Have a vNIC in this VLAN of its bridge when the guest is started again, and change nothing now.

        default: the VLAN that the bridge's new ports are in. Where hypervisors leave VLANs to others it does
        nothing.
        """
