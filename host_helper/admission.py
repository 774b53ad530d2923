"""When a new tap's frames may pass: at once if its guest is unprotected, else once the appliance knows it."""

import time
from collections.abc import Iterable

from appliance.model.faults import PolicyError, SystemFault
from host_helper.followers import Followers
from host_helper.hold import Hold
from host_helper.model import HostGuest, HostVnic
from host_helper.topology import Topology

Fault = PolicyError | SystemFault

HOPE_S = 30.0
"""For an appliance to hear of a guest, load its rules and make its port."""


class Admission:
    """Decides on the taps that the hold lets wait. Every call raises SystemFault."""

    def __init__(self, topology: Topology, followers: Followers, *, strict: bool) -> None:
        """strict: a tap that cannot be protected waits for ever."""
        self._topology = topology
        self._followers = followers
        self._strict = strict
        self._hold = Hold()
        self._since: dict[str, float] = {}

    def renew(self, *, on: bool) -> None:
        """Have new taps wait for another while, or nobody."""
        self._hold.renew(on=on)

    def held(self) -> frozenset[str]:
        """Return the taps that wait, and begin to count how long new ones do."""
        held = self._hold.held()
        self._since = {tap: self._since.get(tap, time.monotonic()) for tap in held}
        return held

    @property
    def is_hoping(self) -> bool:
        """Whether a tap waits that may soon be let through."""
        return any(time.monotonic() - since < HOPE_S for since in self._since.values())

    def admit(self, vnics: Iterable[HostVnic]) -> None:
        """Let them pass, whoever protects them."""
        taps = [vnic.tap for vnic in vnics if vnic.tap]
        self._hold.admit(taps)
        for tap in taps:
            self._since.pop(tap, None)

    def admit_strangers(self, guests: Iterable[HostGuest]) -> None:
        """Let those pass that are no guest's after all: other hypervisors use the same names."""
        taps = {vnic.tap for guest in guests for vnic in guest.vnics}
        late = time.monotonic() - HOPE_S
        self._hold.admit([tap for tap, since in self._since.items() if since < late and tap not in taps])

    def admit_known(self, guest: HostGuest) -> None:
        """Let those pass that the appliance knows."""
        self.admit([vnic for vnic in guest.vnics if self._is_known(guest, vnic)])

    def decide(self, guest: HostGuest, vnic: HostVnic, fault: Fault | None) -> Fault | None:
        """Let a protected guest's vNIC pass if it is led (no fault) and known; return why it never will be.

        Then it passes as a guest does that starts without its protection.
        """
        if fault is None and self._is_known(guest, vnic):
            self.admit([vnic])
            return None
        waited_s = time.monotonic() - self._since.get(str(vnic.tap), time.monotonic())
        if fault is None and waited_s > HOPE_S:
            fault = SystemFault(f"the appliance did not take it up within {HOPE_S:.0f} s")
        if not isinstance(fault, PolicyError) and waited_s <= HOPE_S:
            return None
        if not self._strict:
            self.admit([vnic])
        return fault

    def _is_known(self, guest: HostGuest, vnic: HostVnic) -> bool:
        """Whether the appliance said that it protects the guest where it has it, as far as one says such."""
        if not self._followers.any_ever:
            return True
        port = self._topology.port_of(guest, vnic)
        return port is not None and self._followers.know(guest.uuid, vnic.mac, port.mac, port.vlan)
