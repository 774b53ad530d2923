"""Topology host: the appliance's package runs on this host, on the bridge that the guests share.

Nothing is moved. The helper writes the appliance's `guests.yaml`; a guest in it is protected, and the
appliance's rules go by the tap's name, so that they can be in place before there is a tap.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from appliance.durable import replace_file
from appliance.firewall.names import slug
from appliance.hypervisor import existing, load_guests, render_guests
from appliance.model.faults import PolicyError, SystemFault
from appliance.model.guest import Guest, GuestInventory, Segment, Vnic
from appliance.netns import list_objects
from host_helper import links, watch
from host_helper.config import HostConfig, HostSegment
from host_helper.model import HostGuest, HostVnic
from host_helper.state import State
from host_helper.topology import AppliancePort
from host_helper.waiting import within

TABLE = ("bridge", "sekisho")
APPLIED_S = 15.0
STARTED_S = 16.0
"""The same when a guest starts, as many may at once; the hook waits a little longer for our answer."""
VERIFY_S = 3.0


class Host:
    """The guests of one `guests.yaml`."""

    def __init__(self, config: HostConfig, state: State) -> None:
        self._config = config
        self._state = state
        self._guests: dict[str, HostGuest] = {}
        self._starting: dict[str, HostGuest] = {}
        self._seen = False

    @property
    def counters(self) -> Sequence[str]:
        """Frames come out of no appliance; its own counters are asked."""
        return ()

    @property
    def trunks(self) -> Mapping[str, Sequence[int]]:
        """No frames come out with tags."""
        return {}

    @property
    def needs_following(self) -> bool:
        """Its guests.yaml is written by us."""
        return False

    @property
    def owns_vlans(self) -> bool:
        """VLANs are others'."""
        return False

    def prepare(self) -> None:
        """Forget taps that went with the host's last run: the hypervisor gives their names out anew."""
        self.write(frozenset(self._state.protected))

    def is_appliance(self, guest: HostGuest) -> bool:
        """The appliance is no guest."""
        return False

    def segments_to_watch(self) -> list[str]:
        """Nothing is led past an appliance: its rules are in the kernel, and its failure policy with them."""
        return []

    def healthy(self, bridge: str) -> bool:
        """Its rules are in the kernel."""
        return True

    def refresh(self, guests: Sequence[HostGuest]) -> None:
        """Take note of the guests, and write the file if a protected one's taps are others now."""
        self._guests, self._seen = {guest.uuid: guest for guest in guests}, True
        for guest in guests:
            if guest.running:
                self._starting.pop(guest.uuid, None)
        self.write(frozenset(self._state.protected))

    def home(self, guest: HostGuest, vnic: HostVnic) -> str:
        """Return the bridge that it is on; it stays there."""
        return str(vnic.bridge)

    def port_of(self, guest: HostGuest, vnic: HostVnic) -> AppliancePort | None:
        """There is no vNIC of an appliance."""
        return None

    def is_led(self, guest: HostGuest, vnic: HostVnic) -> bool:
        """Whether the appliance's rules know the tap as this guest's."""
        return vnic.tap is not None and _ports().get(vnic.tap) == self._name(guest)

    def plan(self, guest: HostGuest, vnic: HostVnic) -> str:
        """Return what `lead` would do. Raises PolicyError when it could not."""
        segment = self._segment(vnic)
        return f"tap {vnic.tap} on {segment.bridge} is written into {self._config.guests_file}"

    def lead(self, guest: HostGuest, vnic: HostVnic, *, persistent: bool) -> str:
        """Write the guest down and see the appliance's rules take it up, and count its traffic."""
        segment = self._segment(vnic)
        before = frozenset(self._state.protected) - {guest.uuid}
        try:
            self.write(before | {guest.uuid})
            self._wait_until_known(guest, vnic)
            return self._verified(guest, vnic, segment)
        except SystemFault:
            self.write(before)
            raise

    def reserve(self, guest: HostGuest, vnic: HostVnic) -> None:
        """Its taps are written down when it starts."""

    def store(self, guest: HostGuest, vnic: HostVnic) -> None:
        """Nothing of its definition changes."""

    def settle(self, guest: HostGuest, vnic: HostVnic) -> None:
        """It is in the file; say so where the rules do not have it. Raises SystemFault."""
        if not self.is_led(guest, vnic):
            raise SystemFault(f"the appliance on this host has no rules for {vnic.tap} (yet)")

    def release(self, guest: HostGuest, vnic: HostVnic, home: str, *, persistent: bool) -> None:
        """Take the guest out of the file and see the rules let it go, where there is an appliance."""
        protected = frozenset(self._state.protected)
        self.write(protected - {guest.uuid})
        if not within(APPLIED_S, lambda: not self.is_led(guest, vnic)):
            self.write(protected)  # or it would be let go later, and still be called protected
            raise SystemFault(
                f"guest {guest.name!r}: the appliance still has rules for {vnic.tap}, so it stays protected; "
                "is `sekisho run` alive? Without it `sekisho withdraw` takes all of its rules away"
            )

    def keep_off(self, guest: HostGuest, vnic: HostVnic) -> None:
        """There are no ways of their own."""

    def passing_by(self, guest: HostGuest) -> None:
        """There are no ways of their own."""

    def announce(self, guest: HostGuest, vnic: HostVnic) -> None:
        """Tell the bridge, and through it everybody's: what the hypervisor says for the guest is not ARP."""
        links.ask_who_has(str(vnic.bridge), links.SOMEBODY, vnic.mac)

    def starting(self, guest: HostGuest) -> None:
        """Write the guest's new taps down and wait until the rules have them."""
        self._starting[guest.uuid] = guest
        self.write(frozenset(self._state.protected))
        for vnic in guest.vnics:
            if vnic.tap is not None and not vnic.obstacle:
                self._wait_until_known(guest, vnic, STARTED_S)

    def inventory(self, protected: frozenset[str]) -> GuestInventory:
        """Return what the appliance is to protect; without guests that are off or on no segment."""
        segments = tuple(
            Segment(each.name, each.bridge, each.zone, each.failure) for each in self._config.segments
        )
        name_of = {each.bridge: each.name for each in self._config.segments}
        guests = []
        for guest in sorted((self._guests | self._starting).values(), key=lambda each: each.uuid):
            vnics = [v for v in guest.vnics if v.tap and v.bridge in name_of]
            if guest.uuid not in protected or not vnics:
                continue
            # one segment a guest is what the appliance knows
            first = name_of[str(vnics[0].bridge)]
            led = tuple(
                Vnic(f"net{number}", str(v.tap), v.mac)
                for number, v in enumerate(vnics)
                if name_of[str(v.bridge)] == first
            )
            guests.append(Guest(self._name(guest), first, led))
        if not self._seen:  # what the file says of guests that nobody asked about yet stays
            guests += self._written(beside=guests)
        return GuestInventory(segments, tuple(guests))

    def _written(self, beside: Sequence[Guest]) -> list[Guest]:
        """Return the file's other guests, with the taps that are there still and not somebody else's now."""
        try:
            known = load_guests(Path(self._config.guests_file)).guests
        except PolicyError:  # not there yet, or damaged: it is written anew
            known = ()
        names = {guest.name for guest in beside}
        taken = {vnic.tap for guest in beside for vnic in guest.vnics}
        there = existing(vnic.tap for guest in known for vnic in guest.vnics) - taken
        kept = [
            msgspec.structs.replace(guest, vnics=tuple(vnic for vnic in guest.vnics if vnic.tap in there))
            for guest in known
            if guest.name not in names
        ]
        return [guest for guest in kept if guest.vnics]

    def write(self, protected: frozenset[str]) -> None:
        """Write the file if it says something else. Raises OSError."""
        inventory = self.inventory(protected)
        text = "# Written by sekisho-host; it writes it anew when guests change.\n"
        text += render_guests(inventory)
        path = Path(self._config.guests_file)
        if not path.exists() or path.read_text() != text:
            replace_file(path, text.encode())

    def _name(self, guest: HostGuest) -> str:
        return self._state.name_of(guest.uuid, guest.name)

    def _segment(self, vnic: HostVnic) -> HostSegment:
        for segment in self._config.segments:
            if segment.bridge == vnic.bridge:
                return segment
        known = ", ".join(each.bridge for each in self._config.segments)
        raise PolicyError(f"bridge {vnic.bridge} is no segment of this appliance; known: {known}")

    def _wait_until_known(self, guest: HostGuest, vnic: HostVnic, seconds: float = APPLIED_S) -> None:
        if not within(seconds, lambda: self.is_led(guest, vnic)):
            raise SystemFault(
                f"guest {guest.name!r}: the appliance on this host did not take up {vnic.tap}; "
                "is `sekisho run` running, with this guests_file?"
            )

    def _verified(self, guest: HostGuest, vnic: HostVnic, segment: HostSegment) -> str:
        """Wait until the appliance's rules counted traffic of the guest, as far as it speaks."""
        said, before = watch.said(vnic.mac), watch.counters()
        passed = _total(self._name(guest))
        if within(VERIFY_S, lambda: _total(self._name(guest)) > passed):
            return f"the appliance counted {_total(self._name(guest)) - passed} packets of it"
        frames = watch.counters().get(said, 0) - before.get(said, 0)
        return (
            f"the rules know its tap; of {frames} frames none was for another port of {segment.bridge} so far"
        )


def _ports() -> dict[str, str]:
    """Return which guest the appliance's rules take each tap for."""
    entries = list_objects(None, "map", *TABLE, "in_ports")
    elements = [element for entry in entries for element in entry.get("map", {}).get("elem", ())]
    found = [key["elem"] for key, _ in elements if isinstance(key, dict)]
    return {each["val"]: each.get("comment", "") for each in found}


def _total(name: str) -> int:
    """Return the packets that the appliance's rules counted of a guest."""
    for family in ("inet", "bridge"):
        try:
            entries = list_objects(None, "counter", family, "sekisho", f"total/{slug(name)}")
        except SystemFault:
            continue
        for entry in entries:
            if "counter" in entry:
                return int(entry["counter"]["packets"])
    return 0
