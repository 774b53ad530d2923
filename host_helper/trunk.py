"""Topology trunk: a VLAN for each guest on the bridge that they share, all on one vNIC of the appliance.

Nothing moves from bridge to bridge. A protected guest's port is put into a VLAN of its own, in which only the
appliance's trunk is beside it; the appliance joins the VLANs, and its other vNIC in the VLAN that the guests
used to share, in its own bridge. The hypervisor believes its guests where they always were; one that knows
VLANs (libvirt 11) stores theirs, if asked to, for the next time that they start.
"""

from collections.abc import Mapping, Sequence

from appliance.model.faults import PolicyError, SystemFault
from host_helper import links, vlans, watch
from host_helper.appliance_vm import ApplianceVm
from host_helper.config import TrunkConfig, TrunkSegment
from host_helper.model import HostGuest, HostVnic
from host_helper.proof import known_ipv4, lets_through, verified
from host_helper.slots import Choice, Slots
from host_helper.source import GuestSource
from host_helper.state import State
from host_helper.topology import AppliancePort, segment_on
from host_helper.vlans import PortVlans


class Trunk:
    """The trunks of all segments."""

    def __init__(self, config: TrunkConfig, source: GuestSource, state: State) -> None:
        self._config = config
        self._source = source
        self._state = state
        self._vm = ApplianceVm(config.appliance, state)
        self._slots = Slots(state)
        self._trunks: dict[str, str] = {}
        self._uplinks: dict[str, str] = {}
        self._vlans: dict[str, PortVlans] = {}

    @property
    def counters(self) -> Sequence[str]:
        """All taps of the appliance."""
        return sorted({*self._trunks.values(), *self._uplinks.values()})

    @property
    def trunks(self) -> Mapping[str, Sequence[int]]:
        """The trunks' taps, with the VLANs of those whose own they are."""
        segments = [each for each in self._config.segments if each.bridge in self._trunks]
        return {self._trunks[each.bridge]: [_vlan(slot) for slot in self._in_use(each)] for each in segments}

    @property
    def needs_following(self) -> bool:
        """It makes its end of a VLAN when it hears of the guest."""
        return True

    @property
    def owns_vlans(self) -> bool:
        """A VLAN is what leads a guest."""
        return True

    def prepare(self) -> None:
        """The bridge is there, and whether it tells VLANs apart is not for us to decide."""

    def refresh(self, guests: Sequence[HostGuest]) -> None:
        """Find the appliance's two taps on each bridge; have the trunk carry our VLANs and nothing else."""
        self._slots.note(guests)
        appliance = self._vm.among(guests)
        master = links.masters()
        self._trunks, self._uplinks = {}, {}
        for vnic in appliance.vnics if appliance else ():
            for segment in self._config.segments:
                if vnic.tap and master.get(vnic.tap) == segment.bridge:
                    taps = self._trunks if vnic.mac == segment.trunk else self._uplinks
                    taps[segment.bridge] = vnic.tap
        for segment in self._config.segments:
            if (tap := self._trunks.get(segment.bridge)) and vlans.is_filtering(segment.bridge):
                vlans.carry(tap, map(_vlan, self._in_use(segment)))
        self._vlans = vlans.all_vlans()

    def is_appliance(self, guest: HostGuest) -> bool:
        """Whether this guest is the appliance itself."""
        return self._vm.is_it(guest)

    def port_of(self, guest: HostGuest, vnic: HostVnic) -> AppliancePort | None:
        """Return the trunk's MAC and the vNIC's VLAN."""
        slot = self._slots.of(guest, vnic)
        segment = next((each for each in self._config.segments if slot in _slots(each)), None)
        return AppliancePort(segment.trunk, _vlan(slot)) if segment and slot else None

    def is_led(self, guest: HostGuest, vnic: HostVnic) -> bool:
        """Whether the tap is in a VLAN of its own, and the appliance's trunk is in that, too."""
        slot = self._slots.of(guest, vnic)
        trunk = self._trunks.get(self.home(guest, vnic))
        if slot is None or trunk is None:
            return False
        there = _vlan(slot) in self._now(trunk).tagged
        return there and self._now(vnic.tap).is_only(_vlan(slot))

    def plan(self, guest: HostGuest, vnic: HostVnic) -> str:
        """Return what `lead` would do. Raises SystemFault, PolicyError when it could not."""
        segment = self._able(guest, vnic)
        slot = self._slots.choose(guest, vnic, self._choice(segment))
        trunk = self._trunks[segment.bridge]
        return (
            f"tap {vnic.tap} on {segment.bridge} moves from VLAN {segment.vlan} to {_vlan(slot)}, on {trunk}"
        )

    def lead(self, guest: HostGuest, vnic: HostVnic, *, persistent: bool) -> str:
        """Put the tap into its VLAN once the appliance joins that, and see frames come out of the appliance.

        persistent: the hypervisor that makes the tap anew puts it there, too, if it knows VLANs.
        """
        segment, vlan = self._able(guest, vnic), self._claim(guest, vnic)
        if not self._lets_through(segment, vlan):
            raise SystemFault(
                f"appliance {self._config.appliance!r} lets no frame through from VLAN {segment.vlan} "
                f"of {segment.bridge} to {vlan}; is this trunk its segment's, and its other vNIC in the "
                "segment's bridge? The guest was not touched"
            )
        tap = str(vnic.tap)
        was = self._now(tap).access or segment.vlan
        try:
            self._put(tap, vlan)
            self._announce(guest, vnic, segment, vlan)
            said = verified(guest, vnic, segment.bridge)
        except SystemFault:
            self._put(tap, was)
            self._announce_home(guest, vnic, segment)
            raise
        if persistent:
            try:
                self._write(guest, vnic, segment, vlan)
            except SystemFault as fault:
                return f"{said}; its VLAN is not in its stored definition: {fault}"
        return said

    def reserve(self, guest: HostGuest, vnic: HostVnic) -> None:
        """Claim its VLAN. Raises SystemFault, PolicyError."""
        self._fitting(guest, vnic)
        self._claim(guest, vnic)

    def store(self, guest: HostGuest, vnic: HostVnic) -> None:
        """Write its VLAN into the definition, where the hypervisor knows VLANs."""
        self._write(guest, vnic, self._fitting(guest, vnic), self._claim(guest, vnic))

    def settle(self, guest: HostGuest, vnic: HostVnic) -> None:
        """Put the tap into its VLAN."""
        segment, vlan = self._segment(guest, vnic), self._claim(guest, vnic)
        self._need_filtering(segment)
        if not self._now(vnic.tap).is_only(vlan):
            self._put(str(vnic.tap), vlan)
            self._announce(guest, vnic, segment, vlan)

    def release(self, guest: HostGuest, vnic: HostVnic, home: str, *, persistent: bool) -> None:
        """Put the tap back into the VLAN that the guests share."""
        is_there = vnic.tap in links.masters()
        if not (is_there or persistent):
            return
        segment = self._segment(guest, vnic)
        if is_there:
            self._put(str(vnic.tap), segment.vlan)
            self._announce_home(guest, vnic, segment)
        if persistent:
            self._write(guest, vnic, segment, segment.vlan)

    def keep_off(self, guest: HostGuest, vnic: HostVnic) -> None:
        """Move it from a VLAN that is for those who are led: one that it was stored or saved with."""
        if (segment := self._strayed(vnic)) is not None:
            self._put(str(vnic.tap), segment.vlan)
            self._announce_home(guest, vnic, segment)

    def passing_by(self, guest: HostGuest) -> None:
        """Move the taps, which are new, before the guest runs; nobody is told, for it may run elsewhere."""
        self._vlans = vlans.all_vlans()
        for vnic in guest.vnics:
            if (segment := self._strayed(vnic)) is not None:
                self._put(str(vnic.tap), segment.vlan)

    def announce(self, guest: HostGuest, vnic: HostVnic) -> None:
        """Tell the bridges, the appliance's among them."""
        self._announce(guest, vnic, self._segment(guest, vnic), self._claim(guest, vnic))

    def starting(self, guest: HostGuest) -> None:
        """Put the taps, which are new whatever was seen of their names, into their VLANs.

        Nobody is told: a guest that migrates here still runs where it was.
        """
        for vnic in guest.vnics:
            if vnic.tap is not None and not vnic.obstacle:
                segment = self._segment(guest, vnic)
                self._need_filtering(segment)
                if _says_otherwise(vnic, segment):
                    raise _own_vlans(vnic, segment)
                self._put(vnic.tap, self._claim(guest, vnic))

    def healthy(self, bridge: str) -> bool:
        """Whether a probe from the shared VLAN comes out in a guest's; with no guest nothing is wrong."""
        segment = next(each for each in self._config.segments if each.bridge == bridge)
        led = self._protected(segment)
        there = bridge in self._trunks and bridge in self._uplinks
        return not led or (there and self._lets_through(segment, _vlan(led[0])))

    def segments_to_watch(self) -> list[str]:
        """The bridges whose guests are to be connected past an appliance that is down."""
        return [each.bridge for each in self._config.segments if each.direct_when_down]

    def home(self, guest: HostGuest, vnic: HostVnic) -> str:
        """Return the bridge that the vNIC is on; it stays there."""
        known = self._state.home(guest.uuid, vnic.mac)
        return known or links.masters().get(vnic.tap or "") or vnic.bridge or "(none)"

    def _now(self, tap: str | None) -> PortVlans:
        """Return the VLANs as `refresh` saw them, or as we made them since."""
        return self._vlans.get(tap or "", PortVlans())

    def _put(self, tap: str, vlan: int) -> None:
        vlans.put_into(tap, vlan)
        self._vlans[tap] = PortVlans(vlan, frozenset({vlan}))

    def _write(self, guest: HostGuest, vnic: HostVnic, segment: TrunkSegment, vlan: int) -> None:
        """Have the vNIC start in this VLAN the next time."""
        if vnic.kind == "bridge":  # of a network's ports others decide
            default = vlans.default_of(segment.bridge)
            self._source.store_vlan(guest, vnic.mac, vlan, default)

    def _strayed(self, vnic: HostVnic) -> TrunkSegment | None:
        """Return the segment among whose VLANs for those who are led the tap is."""
        now = self._now(vnic.tap).access
        for segment in self._config.segments:
            if vnic.bridge == segment.bridge and _is_for_led(now, segment):
                return segment
        return None

    # Which VLAN.

    def _segment(self, guest: HostGuest, vnic: HostVnic) -> TrunkSegment:
        return segment_on(self.home(guest, vnic), self._config.segments)

    def _able(self, guest: HostGuest, vnic: HostVnic) -> TrunkSegment:
        """Return the segment. Raises SystemFault, PolicyError saying why the vNIC cannot be led now."""
        segment = self._fitting(guest, vnic)
        for kind, taps in (("trunk", self._trunks), ("untagged", self._uplinks)):
            if segment.bridge not in taps:
                raise SystemFault(
                    f"appliance {self._config.appliance!r} has no {kind} vNIC on {segment.bridge} (is it "
                    "running?); nothing was changed"
                )
        return segment

    def _fitting(self, guest: HostGuest, vnic: HostVnic) -> TrunkSegment:
        """Return the segment. Raises SystemFault, PolicyError saying why the vNIC is none for a trunk."""
        segment = self._segment(guest, vnic)
        self._need_filtering(segment)
        now, slot = self._now(vnic.tap), self._slots.of(guest, vnic)
        fit = {segment.vlan} if slot is None else {segment.vlan, _vlan(slot)}
        if _says_otherwise(vnic, segment) or (guest.running and not any(map(now.is_only, fit))):
            raise _own_vlans(vnic, segment)
        return segment

    def _need_filtering(self, segment: TrunkSegment) -> None:
        if not vlans.is_filtering(segment.bridge):
            raise SystemFault(
                f"bridge {segment.bridge} does not tell VLANs apart; turn it on first: "
                f"ip link set {segment.bridge} type bridge vlan_filtering 1 (tagged frames then pass only "
                "where their VLAN was allowed)"
            )

    def _claim(self, guest: HostGuest, vnic: HostVnic) -> int:
        """Return the vNIC's VLAN, from now on its own and on the trunk."""
        segment = self._segment(guest, vnic)
        slot = self._slots.claim(guest, vnic, self._choice(segment))
        if trunk := self._trunks.get(segment.bridge):
            carried = frozenset(map(_vlan, {*self._in_use(segment), slot}))
            if self._now(trunk) != PortVlans(tagged=carried):
                vlans.carry(trunk, carried)
                self._vlans[trunk] = PortVlans(tagged=carried)
        return _vlan(slot)

    def _choice(self, segment: TrunkSegment) -> Choice:
        slots = _slots(segment)
        lacking = f"bridge {segment.bridge}: none of its {len(slots)} VLANs {segment.vlans[0]} to "
        return Choice(slots, slots, f"{lacking}{segment.vlans[1]} is free")

    def _in_use(self, segment: TrunkSegment) -> list[str]:
        """Return the slots that belong to somebody."""
        return [slot for slot in _slots(segment) if slot in self._state.slots]

    def _protected(self, segment: TrunkSegment) -> list[str]:
        slots = self._state.slots
        return [slot for slot in self._in_use(segment) if slots[slot][0] in self._state.protected]

    # Being sure, and being found.

    def _lets_through(self, segment: TrunkSegment, vlan: int) -> bool:
        """Whether a probe from the shared VLAN comes out in the guest's.

        Not the other way: the appliance's guard lets nobody speak at a guest's port but the guest.
        """
        counter = watch.probe(self._trunks[segment.bridge], vlan)
        return lets_through(counter, lambda: links.ask_who_has(segment.bridge, links.SOMEBODY))

    def _announce(self, guest: HostGuest, vnic: HostVnic, segment: TrunkSegment, vlan: int) -> None:
        """Tell the appliance's bridge, and through it everybody's, that the guest is behind its VLAN now."""
        if trunk := self._trunks.get(segment.bridge):
            links.ask_who_has(trunk, links.SOMEBODY, vnic.mac, vlan)
        for address in known_ipv4(guest, vnic):  # so that it speaks
            links.ask_who_has(str(vnic.tap), address)

    def _announce_home(self, guest: HostGuest, vnic: HostVnic, segment: TrunkSegment) -> None:
        if uplink := self._uplinks.get(segment.bridge):
            links.forget_mac(uplink, vnic.mac, segment.vlan)
        links.ask_who_has(segment.bridge, links.SOMEBODY, vnic.mac)
        for address in known_ipv4(guest, vnic):
            links.ask_who_has(str(vnic.tap), address)


def _says_otherwise(vnic: HostVnic, segment: TrunkSegment) -> bool:
    """Whether the hypervisor puts it into other VLANs than the shared one and those of who is led."""
    return vnic.vlan not in (None, segment.vlan) and not _is_for_led(vnic.vlan, segment)


def _is_for_led(vlan: int | None, segment: TrunkSegment) -> bool:
    first, last = segment.vlans
    return vlan is not None and first <= vlan <= last


def _own_vlans(vnic: HostVnic, segment: TrunkSegment) -> PolicyError:
    return PolicyError(
        f"vNIC {vnic.mac} is not in VLAN {segment.vlan} of {segment.bridge} alone, which this "
        "segment is; a guest with VLANs of its own cannot be led through a trunk"
    )


def _slots(segment: TrunkSegment) -> list[str]:
    first, last = segment.vlans
    return [f"{segment.bridge}.{vlan}" for vlan in range(first, last + 1)]


def _vlan(slot: str) -> int:
    return int(slot.rpartition(".")[2])
