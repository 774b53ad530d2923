"""How guests are led through the appliance: what pair, trunk and host have in common."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

from appliance.model.faults import PolicyError, SystemFault
from host_helper.config import PairSegment, TrunkSegment
from host_helper.model import HostGuest, HostVnic


class NotThrough(SystemFault):
    """A guest's frames do not come out of the appliance; it was connected as before."""


class AppliancePort(NamedTuple):
    """Where the appliance has a guest: the MAC of its vNIC, and the VLAN where several share it."""

    mac: str
    vlan: int | None = None


_Segment = TypeVar("_Segment", PairSegment, TrunkSegment)


def segment_on(bridge: str, segments: Sequence[_Segment]) -> _Segment:
    """Return the segment that the bridge is. Raises PolicyError where it is none."""
    for segment in segments:
        if segment.bridge == bridge:
            return segment
    known = ", ".join(each.bridge for each in segments)
    raise PolicyError(f"bridge {bridge} is no segment of this appliance; known: {known}")


class Topology(Protocol):
    """Blocking; every call raises PolicyError or SystemFault."""

    @property
    def counters(self) -> Sequence[str]:
        """The taps at which frames come out of the appliance."""

    @property
    def trunks(self) -> Mapping[str, Sequence[int]]:
        """Those of them at which frames come out with tags, and their VLANs."""

    @property
    def needs_following(self) -> bool:
        """Whether an appliance that does not follow the helper lets nothing through."""

    @property
    def owns_vlans(self) -> bool:
        """Whether the VLANs of those who are led are its doing."""

    def prepare(self) -> None:
        """Make what must be there before the appliance starts."""

    def is_appliance(self, guest: HostGuest) -> bool:
        """Whether this guest is the appliance itself, which is led through nothing."""

    def segments_to_watch(self) -> list[str]:
        """The bridges whose guests are to be connected past an appliance that is down."""

    def healthy(self, bridge: str) -> bool:
        """Whether the appliance lets a probe through from or to the segment's bridge."""

    def refresh(self, guests: Sequence[HostGuest]) -> None:
        """Take note of the host's guests as they are now."""

    def home(self, guest: HostGuest, vnic: HostVnic) -> str:
        """Return the bridge that the vNIC is on without us."""

    def port_of(self, guest: HostGuest, vnic: HostVnic) -> AppliancePort | None:
        """Return where the appliance has the guest's vNIC; None where there is no such."""

    def is_led(self, guest: HostGuest, vnic: HostVnic) -> bool:
        """Whether the vNIC's traffic goes through the appliance now, as far as connections tell."""

    def plan(self, guest: HostGuest, vnic: HostVnic) -> str:
        """Return in words what `lead` would change."""

    def lead(self, guest: HostGuest, vnic: HostVnic, *, persistent: bool) -> str:
        """Lead the running vNIC's traffic through; return in words how that was verified.

        On any fault the guest is connected as it was.
        """

    def reserve(self, guest: HostGuest, vnic: HostVnic) -> None:
        """Choose where a guest that is off will be, so that its policy is there before it."""

    def store(self, guest: HostGuest, vnic: HostVnic) -> None:
        """Have the hypervisor start a guest that is off as one that is led, without being asked then."""

    def settle(self, guest: HostGuest, vnic: HostVnic) -> None:
        """Have a protected vNIC connected as it shall be, whether or not the appliance is well."""

    def release(self, guest: HostGuest, vnic: HostVnic, home: str, *, persistent: bool) -> None:
        """Connect the vNIC past the appliance."""

    def keep_off(self, guest: HostGuest, vnic: HostVnic) -> None:
        """Have the vNIC of a guest that is not led (now) on no way that is for those that are."""

    def passing_by(self, guest: HostGuest) -> None:
        """The same while the guest starts, when the hypervisor cannot be asked."""

    def announce(self, guest: HostGuest, vnic: HostVnic) -> None:
        """Tell the bridges where the guest is, now that it runs here and not on another host."""

    def starting(self, guest: HostGuest) -> None:
        """A protected guest's taps are there and its processors stand still: have its policy in place."""
