"""Topology pair: a wire from each guest to a vNIC of the appliance.

A pair bridge has two ports: the guest's tap, and the tap of one of the appliance's vNICs, which is in the
appliance's own bridge together with the others and with the one on the bridge that the guests used to share.
The appliance's vNICs are there from its start on; protecting a guest moves the guest's tap alone.
"""

from collections.abc import Mapping, Sequence

from appliance.model.faults import SystemFault
from host_helper import links, watch
from host_helper.appliance_vm import ApplianceVm
from host_helper.config import PairConfig, PairSegment
from host_helper.model import HostGuest, HostVnic
from host_helper.proof import known_ipv4, lets_through, verified
from host_helper.slots import Choice, Slots
from host_helper.source import GuestSource
from host_helper.state import State
from host_helper.topology import AppliancePort, segment_on


class Pair:
    """Pair bridges of all segments."""

    def __init__(self, config: PairConfig, source: GuestSource, state: State) -> None:
        self._config = config
        self._source = source
        self._state = state
        self._vm = ApplianceVm(config.appliance, state)
        self._appliance: HostGuest | None = None
        self._at: dict[str, str] = {}
        self._slots = Slots(state)

    @property
    def counters(self) -> Sequence[str]:
        """All taps of the appliance."""
        return sorted(self._at.values())

    @property
    def trunks(self) -> Mapping[str, Sequence[int]]:
        """No frames come out with tags."""
        return {}

    @property
    def needs_following(self) -> bool:
        """It may have its guests from a file."""
        return False

    @property
    def owns_vlans(self) -> bool:
        """VLANs are others'."""
        return False

    def prepare(self) -> None:
        """Make the pair bridges, which must be there before the appliance starts. Raises SystemFault."""
        for segment in self._config.segments:
            for pair in segment.pairs:
                links.ensure_pair_bridge(pair)

    def refresh(self, guests: Sequence[HostGuest]) -> None:
        """Find the appliance, and which of its taps is on which bridge."""
        self._slots.note(guests)
        self._appliance = self._vm.among(guests)
        master = links.masters()
        taps = [vnic.tap for vnic in self._appliance.vnics if vnic.tap] if self._appliance else []
        self._at = {bridge: tap for tap in taps if (bridge := master.get(tap))}

    def is_appliance(self, guest: HostGuest) -> bool:
        """Whether this guest is the appliance itself, which is led through nothing."""
        return self._vm.is_it(guest)

    def port_of(self, guest: HostGuest, vnic: HostVnic) -> AppliancePort | None:
        """Return the appliance's vNIC that the guest's is behind, or is to be."""
        pair = self._slots.of(guest, vnic)
        tap = self._at.get(pair) if pair else None
        cards = self._appliance.vnics if self._appliance and tap else ()
        return next((AppliancePort(card.mac) for card in cards if card.tap == tap), None)

    def is_led(self, guest: HostGuest, vnic: HostVnic) -> bool:
        """Whether the tap is on a pair bridge of its own that the appliance is on, too."""
        pair = self._slots.of(guest, vnic)
        return pair is not None and pair in self._at and links.masters().get(vnic.tap or "") == pair

    def plan(self, guest: HostGuest, vnic: HostVnic) -> str:
        """Return what `lead` would do. Raises SystemFault, PolicyError when it could not."""
        home, pair = self.home(guest, vnic), self._choose(guest, vnic)
        self._need_appliance(self._segment(home), pair)
        there = f"where the appliance's tap {self._at[pair]} is"
        return f"tap {vnic.tap} moves from bridge {home} to {pair}, {there}"

    def lead(self, guest: HostGuest, vnic: HostVnic, *, persistent: bool) -> str:
        """Move the tap and see the guest's frames come out of the appliance."""
        segment, pair = self._segment(self.home(guest, vnic)), self._claim(guest, vnic)
        self._need_appliance(segment, pair)
        if not self._lets_through(segment, pair):
            raise SystemFault(
                f"appliance {self._config.appliance!r} lets no frame through from {segment.bridge} to "
                f"{pair}; is its bridge up, and are both vNICs in it? The guest was not touched"
            )
        was = links.masters().get(vnic.tap or "") or segment.bridge
        try:
            self._move(guest, vnic, pair, persistent=persistent)
            return verified(guest, vnic, segment.bridge)
        except SystemFault as fault:
            self._back(guest, vnic, was, fault, persistent=persistent)
            raise

    def reserve(self, guest: HostGuest, vnic: HostVnic) -> None:
        """Claim its pair bridge. Raises SystemFault, PolicyError."""
        self._claim(guest, vnic)

    def store(self, guest: HostGuest, vnic: HostVnic) -> None:
        """Write its pair bridge into the definition."""
        self._source.move(guest, vnic.mac, self._claim(guest, vnic), persistent=True)

    def settle(self, guest: HostGuest, vnic: HostVnic) -> None:
        """Move the tap, and have the hypervisor know where it is."""
        pair = self._claim(guest, vnic)
        masters = links.masters()
        if vnic.tap not in masters:  # it is being unplugged
            return
        there = masters[vnic.tap] == pair
        if not there or (vnic.bridge != pair and not guest.migrating):
            self._move(guest, vnic, pair, persistent=False)

    def release(self, guest: HostGuest, vnic: HostVnic, home: str, *, persistent: bool) -> None:
        """Move the tap back."""
        self._move(guest, vnic, home, persistent=persistent)

    def keep_off(self, guest: HostGuest, vnic: HostVnic) -> None:
        """Move it to the segment's bridge from a pair bridge: one that it was saved or migrated with."""
        if (home := self._beside(vnic.bridge)) is not None:
            self._move(guest, vnic, home, persistent=False)

    def passing_by(self, guest: HostGuest) -> None:
        """Move the taps before the guest runs; libvirt is told when it does."""
        for vnic in guest.vnics:
            if vnic.tap is not None and (home := self._beside(vnic.bridge)) is not None:
                links.plug(vnic.tap, home)

    def announce(self, guest: HostGuest, vnic: HostVnic) -> None:
        """Tell the bridges, the appliance's among them."""
        self._announce(guest, vnic, self._claim(guest, vnic))

    def starting(self, guest: HostGuest) -> None:
        """Move the taps before the guest runs; libvirt is told when it does (it waits for us now).

        Nobody else is: a guest that migrates here still runs where it was.
        """
        for vnic in guest.vnics:
            if vnic.tap is None or vnic.obstacle:
                continue
            links.plug(vnic.tap, self._claim(guest, vnic))

    def healthy(self, bridge: str) -> bool:
        """Whether a probe into the segment's bridge comes out at one of its pair bridges."""
        segment = self._segment(bridge)
        led = [pair for pair in segment.pairs if pair in self._at]
        return bool(led) and self._lets_through(segment, led[0])

    def segments_to_watch(self) -> list[str]:
        """The bridges whose guests are to be connected past an appliance that is down."""
        return [each.bridge for each in self._config.segments if each.direct_when_down]

    # Which bridge.

    def _segment(self, bridge: str) -> PairSegment:
        return segment_on(bridge, self._config.segments)

    def home(self, guest: HostGuest, vnic: HostVnic) -> str:
        """Return the bridge that the vNIC is on without us."""
        if home := self._state.home(guest.uuid, vnic.mac):
            return home
        bridge = links.masters().get(vnic.tap or "") or vnic.bridge or "(none)"
        return self._beside(bridge) or bridge

    def _beside(self, pair: str | None) -> str | None:
        """Return the bridge that is shared by the guests of this pair bridge's segment, if it is one."""
        return next((each.bridge for each in self._config.segments if pair in each.pairs), None)

    def _choose(self, guest: HostGuest, vnic: HostVnic) -> str:
        """Return the vNIC's pair bridge, or a free one that the appliance is on."""
        return self._slots.choose(guest, vnic, self._choice(guest, vnic))

    def _claim(self, guest: HostGuest, vnic: HostVnic) -> str:
        """Return the vNIC's pair bridge, from now on its own."""
        return self._slots.claim(guest, vnic, self._choice(guest, vnic))

    def _choice(self, guest: HostGuest, vnic: HostVnic) -> Choice:
        segment = self._segment(self.home(guest, vnic))
        return Choice(
            segment.pairs,
            [pair for pair in segment.pairs if pair in self._at],
            f"bridge {segment.bridge}: none of its {len(segment.pairs)} pair bridges is free and has the "
            "appliance on it; is the appliance running, with a vNIC on each?",
        )

    def _need_appliance(self, segment: PairSegment, pair: str) -> None:
        for bridge in (segment.bridge, pair):
            if bridge not in self._at:
                raise SystemFault(
                    f"appliance {self._config.appliance!r} has no vNIC on {bridge} (is it running?); "
                    "nothing was changed"
                )

    # Moving, and being sure.

    def _move(self, guest: HostGuest, vnic: HostVnic, bridge: str, *, persistent: bool) -> None:
        """Move the vNIC, and tell who has to know. On a fault it is where it was."""
        at = links.masters().get(vnic.tap or "")
        if vnic.tap is not None and at == bridge != vnic.bridge:
            links.unplug(
                vnic.tap
            )  # libvirt, which believes it elsewhere, refuses a tap that is there already
        try:
            self._source.move(guest, vnic.mac, bridge, persistent=persistent)
        except SystemFault:
            if vnic.tap is not None and at is not None:
                links.plug(vnic.tap, at)
            raise
        if vnic.tap is None:
            return
        # where the hypervisor believes it to be there already, it moved nothing
        if links.masters().get(vnic.tap) != bridge:
            links.plug(vnic.tap, bridge)
        self._announce(guest, vnic, bridge)

    def _announce(self, guest: HostGuest, vnic: HostVnic, bridge: str) -> None:
        """Tell the bridges, the appliance's among them, where the guest is now.

        They go on sending its frames to where they last saw it, until it happens to speak.
        """
        if uplink := self._at.get(bridge):
            links.forget_mac(uplink, vnic.mac)
        links.ask_who_has(bridge, links.SOMEBODY, vnic.mac)
        for address in known_ipv4(guest, vnic):  # so that it speaks
            links.ask_who_has(bridge, address)

    def _back(
        self, guest: HostGuest, vnic: HostVnic, was: str, why: SystemFault, *, persistent: bool
    ) -> None:
        try:
            self._move(guest, vnic, was, persistent=persistent)
        except SystemFault as fault:
            # libvirt may be what failed: the tap itself can still be moved
            if vnic.tap is not None:
                links.plug(vnic.tap, was)
            raise SystemFault(
                f"{why}; its tap is back on {was}, which libvirt does not know: {fault}"
            ) from None

    def _lets_through(self, segment: PairSegment, pair: str) -> bool:
        """Whether a probe from the segment's bridge comes out at the pair bridge."""
        return lets_through(
            watch.probe(self._at[pair]), lambda: links.ask_who_has(segment.bridge, links.SOMEBODY)
        )
