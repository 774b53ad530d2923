"""Guests that come from another host and go to one, with their protection.

A running guest carries a mark in its definition (`domain_xml`). libvirt shows it to the hook of the host that
the guest goes to before it makes anything there; so the guest is protected, and has its way through the
appliance, before it runs. Where it is now is told to the bridges when it does: until then it is elsewhere.
"""

import contextlib
import logging
import time
from collections.abc import Sequence

from appliance.model.faults import PolicyError, SystemFault
from host_helper.model import Happened, HostGuest, Lifecycle, Mark
from host_helper.source import GuestSource
from host_helper.state import Protected, State
from host_helper.topology import Topology

log = logging.getLogger("sekisho.host")

AWAITED_S = 60.0
"""Who was to come, or went, is forgotten if the hypervisor does not know it after this."""


class Migration:
    """Who comes and who goes."""

    def __init__(self, source: GuestSource, state: State, topology: Topology) -> None:
        self._source = source
        self._state = state
        self._topology = topology
        self._moving: dict[str, float] = {}
        self._came: set[str] = set()

    def heard(self, event: Lifecycle) -> None:
        """Note who went and who came."""
        if event.what is Happened.MIGRATED_OUT:
            self._moving[event.uuid] = time.monotonic()
        elif event.what is Happened.MIGRATED_IN:
            self._came.add(event.uuid)

    def arriving(self, guest: HostGuest) -> Mark | None:
        """Protect a guest that was protected where it comes from; return what it was marked with.

        Raises OSError.
        """
        if (mark := guest.marked) is None:
            return None
        self._moving[guest.uuid] = time.monotonic()
        if guest.uuid not in self._state.protected:
            protected = Protected(persistent=mark.persistent, home=dict(mark.home))
            self._state.protected[guest.uuid] = protected
            self._state.save()
        return mark

    def look(self, guests: Sequence[HostGuest]) -> None:
        """Forget who left, mark who is protected, and announce who came."""
        known = {guest.uuid for guest in guests}
        for uuid, since in list(self._moving.items()):
            if uuid in known:
                del self._moving[uuid]
            elif time.monotonic() - since > AWAITED_S:
                del self._moving[uuid]
                self._forget(uuid)
        for guest in guests:
            if guest.running and not guest.migrating:
                self.mark(guest)
                self._announce(guest)

    def mark(self, guest: HostGuest) -> None:
        """Have the running guest say whether it is protected, for the host that it may move to."""
        protected, wanted = self._state.protected.get(guest.uuid), None
        if protected is not None:
            wanted = Mark(dict(protected.home), protected.persistent, self._topology.owns_vlans)
        if guest.marked != wanted:
            with contextlib.suppress(SystemFault):  # it is busy; at the next look, then
                self._source.mark(guest, wanted)

    def _announce(self, guest: HostGuest) -> None:
        if guest.uuid not in self._came:
            return
        self._came.discard(guest.uuid)
        for vnic in guest.vnics if guest.uuid in self._state.protected else ():
            if vnic.tap is not None and not vnic.obstacle:
                with contextlib.suppress(PolicyError, SystemFault):  # it is on no way of ours
                    self._topology.announce(guest, vnic)

    def _forget(self, uuid: str) -> None:
        if uuid in self._state.protected:
            log.info("guest %s is not of this host any more", uuid)
            del self._state.protected[uuid]
            self._state.save()
