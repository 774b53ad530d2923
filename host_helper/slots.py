"""Which way through the appliance is whose: a pair bridge or a VLAN for each vNIC, for as long as can be."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.model.faults import SystemFault
from host_helper.model import HostGuest, HostVnic
from host_helper.state import State


@dataclass(frozen=True, slots=True)
class Choice:
    """What there is for a vNIC.

    among: all slots of its segment. usable: which of them a new vNIC may have. lacking: why none is free.
    """

    among: Sequence[str]
    usable: Sequence[str]
    lacking: str


class Slots:
    """The slots that the state remembers."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._choosing = threading.Lock()
        self._gone: set[str] = set()

    def note(self, guests: Sequence[HostGuest]) -> None:
        """Take note of whom the host has: who is gone keeps a slot while nobody else needs it."""
        with self._choosing:
            self._gone = {uuid for uuid, _ in self._state.slots.values()} - {guest.uuid for guest in guests}

    def of(self, guest: HostGuest, vnic: HostVnic) -> str | None:
        """Return the vNIC's slot, if it ever had one."""
        mine = (guest.uuid, vnic.mac)
        return next((slot for slot, whose in self._state.slots.items() if tuple(whose) == mine), None)

    def choose(self, guest: HostGuest, vnic: HostVnic, choice: Choice) -> str:
        """Return the vNIC's slot, or a free one: never used if there is such, else the longest unused.

        What is behind a port of the appliance changes as seldom as can be. Raises SystemFault.
        """
        if (mine := self.of(guest, vnic)) in choice.among:
            return str(mine)
        taken = {slot for slot, whose in self._state.slots.items() if self._is_used(*whose, guest)}
        free = [slot for slot in choice.usable if slot not in taken]
        if not free:
            raise SystemFault(choice.lacking)
        order = {slot: number for number, slot in enumerate(self._state.slots)}
        return min(free, key=lambda slot: order.get(slot, -1))

    def _is_used(self, uuid: str, mac: str, asking: HostGuest) -> bool:
        """Whether the vNIC is one that is led, or will be: also another one of the guest that asks."""
        if uuid == asking.uuid and asking.vnic(mac) is not None:
            return True
        return uuid not in self._gone and self._state.home(uuid, mac) is not None

    def claim(self, guest: HostGuest, vnic: HostVnic, choice: Choice) -> str:
        """Return the vNIC's slot, from now on its own. Raises SystemFault, OSError."""
        with self._choosing:
            slot = self.choose(guest, vnic, choice)
            self._gone.discard(guest.uuid)
            if self.of(guest, vnic) != slot:
                self._state.slots.pop(slot, None)  # so that it stands last
                self._state.slots[slot] = (guest.uuid, vnic.mac)
                self._state.save()
            return slot
