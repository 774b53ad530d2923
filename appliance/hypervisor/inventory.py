"""Who is protected: the guests of guests.yaml, and those that the host helper leads to this appliance.

What the helper said last lies on disk, so everybody who asks, control and commands alike, reads the same and
a helper that is away changes nothing. A guest is matched with a port of ours by the MAC of our own card,
which nobody but the host decides; what the guest itself sends decides nothing.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from pathlib import Path

from appliance.config import Config
from appliance.hypervisor.links import Place, places
from appliance.hypervisor.listing import ListedGuest, ListedVnic, Listing, read_kept
from appliance.hypervisor.static import GUEST_NAME, check_guests, load_guests
from appliance.model.faults import PolicyError
from appliance.model.guest import Guest, GuestInventory, Unplaced, Vnic


def read_inventory(config: Config) -> GuestInventory:
    """Return the guests as they are known now. Raises PolicyError, SystemFault, OSError."""
    written = load_guests(Path(config.guests))
    if config.helper is None:
        return written
    kept = read_kept(config.followed)
    if kept is None:
        return written
    return with_listed(written, kept, places(config.netns))


def with_listed(written: GuestInventory, listing: Listing, known: Mapping[str, Place]) -> GuestInventory:
    """Return guests.yaml's inventory with the helper's guests at our ports.

    A guest on two segments is two here, for a guest of ours has one; the second is called NAME@SEGMENT. What
    guests.yaml says by hand wins. Raises PolicyError.
    """
    joining = _Joining(written, known)
    for guest in listing.guests:
        joining.add(guest)
    inventory = GuestInventory(written.segments, tuple(joining.guests), tuple(joining.unplaced))
    check_guests(inventory, "the host helper's guests")
    return inventory


class _Joining:
    """The guests so far."""

    def __init__(self, written: GuestInventory, known: Mapping[str, Place]) -> None:
        self.guests = list(written.guests)
        self.unplaced: list[Unplaced] = []
        self._segments = {segment.bridge: segment.name for segment in written.segments}
        self._trunks = {segment.trunk: segment.name for segment in written.segments if segment.trunk}
        self._known = known
        self._names = {guest.name for guest in written.guests}
        self._taps = {vnic.tap for guest in written.guests for vnic in guest.vnics}

    def add(self, guest: ListedGuest) -> None:
        # libvirt allows names that nftables and people do not
        name = guest.known_as if GUEST_NAME.fullmatch(guest.known_as) else guest.uuid
        by_segment: dict[str, list[Vnic]] = {}
        for number, vnic in enumerate(guest.vnics):
            try:
                segment, tap = self._place(vnic)
            except PolicyError as error:
                why = f"guest {name!r}: vNIC {vnic.mac} is not protected: {error}"
                self.unplaced.append(Unplaced(guest.uuid, vnic.port is not None, why))
                continue
            self._taps.add(tap)
            announced = tuple(_addresses(vnic))
            by_segment.setdefault(segment, []).append(Vnic(f"net{number}", tap, vnic.mac, (), announced))
        for number, (segment, vnics) in enumerate(by_segment.items()):
            here = self._free(name if number == 0 else f"{name[:80]}@{segment}", guest.uuid)
            self._names.add(here)
            self.guests.append(Guest(here, segment, tuple(vnics)))

    def _place(self, vnic: ListedVnic) -> tuple[str, str]:
        """Return its segment and its port's name. Raises PolicyError."""
        if vnic.port is None:
            raise PolicyError("the host helper leads it to no port of this appliance")
        place = self._known.get(vnic.port)
        if vnic.vlan is None:
            segment = self._segments.get(place.bridge or "") if place else None
            segment = segment or (vnic.segment if vnic.segment in self._segments.values() else None)
        else:
            segment = self._trunks.get(vnic.port)
        if segment is None:
            what = "on no segment's bridge" if vnic.vlan is None else "no segment's trunk"
            raise PolicyError(f"the port {vnic.port} is {what} here")
        # a name that no interface has yet: the port keeps its place until it comes
        card = place.name if place else f"no-{vnic.port.replace(':', '')}"
        tap = card if vnic.vlan is None else f"{card[: 10 if place else 9]}.{vnic.vlan}"
        if tap in self._taps:
            raise PolicyError(f"its port {tap} is another's already")
        return segment, tap

    def _free(self, name: str, uuid: str) -> str:
        return name if name not in self._names else f"{name[:60]}@{uuid}"


def _addresses(vnic: ListedVnic) -> Iterator[str]:
    for address in vnic.addresses:
        try:
            yield str(ipaddress.ip_address(address))
        except ValueError:
            continue
