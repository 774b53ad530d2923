"""Guests from a `guests.yaml`: for hosts without libvirt. A guest runs while its taps are there."""

import contextlib
import threading
import uuid
from pathlib import Path

from appliance.hypervisor import load_guests
from appliance.model.faults import PolicyError, SystemFault
from host_helper import links
from host_helper.model import Happened, HostGuest, HostVnic, Lifecycle, Mark
from host_helper.source import Heard

LOOK_EVERY_S = 1.0
MACHINE_ID = Path("/etc/machine-id")
_NAMESPACE = uuid.UUID("6f4c2f5e-5a38-4f5b-9d3e-0a4a6e9a6b11")


class StaticSource:
    """The guests that a file names; a name is who a guest is, for the file says nothing else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ending = threading.Event()

    @property
    def host_uuid(self) -> str:
        """The machine's ID."""
        try:
            return str(uuid.UUID(MACHINE_ID.read_text().strip()))
        except (OSError, ValueError):
            return ""

    def start(self, heard: Heard) -> None:
        """Begin to tell what happens: every second the file and the taps are looked at."""
        heard(Lifecycle(Happened.CONNECTED))
        known = self._known()
        threading.Thread(target=self._look, args=(heard, known), name="guests", daemon=True).start()

    def stop(self) -> None:
        """Stop looking."""
        self._ending.set()

    def guests(self) -> tuple[HostGuest, ...]:
        """Return the file's guests. Raises SystemFault."""
        try:
            inventory = load_guests(self._path)
        except PolicyError as error:
            raise SystemFault(str(error)) from None
        master = links.masters()
        guests = []
        for guest in inventory.guests:
            vnics = tuple(
                HostVnic(vnic.mac, "bridge", master.get(vnic.tap) or "-", vnic.tap) for vnic in guest.vnics
            )
            running = any(vnic.tap in master for vnic in guest.vnics)
            guests.append(HostGuest(str(uuid.uuid5(_NAMESPACE, guest.name)), guest.name, running, vnics))
        return tuple(guests)

    def mark(self, guest: HostGuest, mark: Mark | None) -> None:
        """Nobody moves these guests to another host."""

    def move(self, guest: HostGuest, mac: str, bridge: str, *, persistent: bool) -> None:
        """Make the tap a port of another bridge. Raises SystemFault.

        persistent: is up to whoever makes the tap.
        """
        vnic = guest.vnic(mac)
        if vnic is None or vnic.tap is None:
            raise SystemFault(f"{self._path}: guest {guest.name!r} has no vNIC {mac}")
        links.plug(vnic.tap, bridge)

    def store_vlan(self, guest: HostGuest, mac: str, vlan: int, default: int) -> None:
        """Whoever makes the taps is told nothing."""

    def _known(self) -> dict[str, HostGuest]:
        with contextlib.suppress(SystemFault):
            return {guest.uuid: guest for guest in self.guests()}
        return {}

    def _look(self, heard: Heard, before: dict[str, HostGuest]) -> None:
        while not self._ending.wait(LOOK_EVERY_S):
            try:
                now = {guest.uuid: guest for guest in self.guests()}
            except SystemFault:  # a file that is being written; what was known stays
                continue
            for key in before.keys() | now.keys():
                if what := _difference(before.get(key), now.get(key)):
                    guest = now.get(key) or before[key]
                    heard(Lifecycle(what, guest.uuid, guest.name))
            before = now


def _difference(before: HostGuest | None, now: HostGuest | None) -> Happened | None:
    if now is None:
        return Happened.UNDEFINED
    if before is None:
        return Happened.STARTED if now.running else Happened.DEFINED
    if before.running != now.running:
        return Happened.STARTED if now.running else Happened.STOPPED
    macs = [[(vnic.mac, vnic.tap) for vnic in guest.vnics] for guest in (before, now)]
    return Happened.VNICS_CHANGED if macs[0] != macs[1] else None
