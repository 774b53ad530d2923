"""What the helper does: lists guests, protects and unprotects them, and keeps them so whatever they do.

One change at a time, each written to the audit log before it is made. Lifecycle events wake `_reconcile`,
which leads what is to be protected and is not; it may be run at any time, and is run first after a restart.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from appliance.control.audit import audit
from appliance.model.faults import PolicyError, SystemFault
from host_helper import watch
from host_helper.admission import HOPE_S, Admission, Fault
from host_helper.config import Config
from host_helper.followers import Followers
from host_helper.inline import Host
from host_helper.migration import Migration
from host_helper.model import HostGuest, HostVnic, Lifecycle, Mark
from host_helper.pair import Pair
from host_helper.source import GuestSource
from host_helper.state import Protected, State
from host_helper.topology import Topology
from host_helper.trunk import Trunk
from host_helper.watch import Watched, key_of

log = logging.getLogger("sekisho.host")

EVENTS_KEPT = 1000
LED_LATER = "it is off; it will be led through when it starts"
COUNTING_S = 3.0
LOOK_EVERY_S = 1.0
RECONCILE_EVERY_S = 10.0
WAITING_LOOK_S = 0.2
"""While a new tap waits for its appliance."""
SICK_AFTER = 3
"""As many looks in a row must find the appliance dead before guests are connected past it, or well again."""


class Helper:
    """One host's. Every public call raises PolicyError (asked wrongly) or SystemFault (did not work)."""

    def __init__(self, config: Config, source: GuestSource) -> None:
        self._config = config
        self._source = source
        config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._state = State(config.state / "state.json")
        self._topology = _topology(config, source, self._state)
        self._leading: str | None = None
        self.followers = Followers()
        self._change = asyncio.Lock()
        self._wake = asyncio.Event()
        self._heard = asyncio.Condition()
        self._events: deque[dict[str, Any]] = deque(maxlen=EVENTS_KEPT)
        self._last = 0
        self._direct: set[str] = set()
        self._troubles: dict[str, str] = {}
        self._migration = Migration(source, self._state, self._topology)
        strict = config.refuse_unprotected_start
        self._admission = Admission(self._topology, self.followers, strict=strict)

    async def run(self) -> None:
        """Listen to the hypervisor and keep protected what shall be, until cancelled."""
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._topology.prepare)
        await asyncio.to_thread(self._renew_hold)

        def heard(event: Lifecycle) -> None:
            loop.call_soon_threadsafe(lambda: loop.create_task(self._note(event)))

        await asyncio.to_thread(self._source.start, heard)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep())
                if self._topology.segments_to_watch():
                    group.create_task(self._look_after(self._topology))
        finally:
            self._source.stop()
            with contextlib.suppress(SystemFault):  # it ends by itself, then
                await asyncio.to_thread(self._admission.renew, on=False)

    # What is asked.

    async def guests(self) -> dict[str, Any]:
        """Return the host and its guests with vNICs, addresses, and whether each is led through."""
        async with self._change:
            return await self._list(await self._refresh())

    async def protect(self, name: str, who: str, *, dry_run: bool, persistent: bool) -> dict[str, Any]:
        """Lead a guest's traffic through the appliance; return what was done, or would be, in sentences."""
        async with self._change:
            guest = self._named(await self._refresh(), name)
            if self._is_appliance(guest):
                raise PolicyError(f"guest {name!r} is the appliance; it cannot be led through itself")
            refused = [
                f"{vnic.mac} stays unprotected: {vnic.obstacle}" for vnic in guest.vnics if vnic.obstacle
            ]
            able = [vnic for vnic in guest.vnics if not vnic.obstacle]
            if not able:
                why = "; ".join(refused) or "it has no vNICs"
                raise PolicyError(f"guest {name!r} cannot be protected: {why}")
            if dry_run:
                would = [await self._would(guest, vnic) for vnic in able if guest.running]
                return {"would": would or [LED_LATER], "refused": refused}
            self._audit("protect", who, guest, persistent=persistent)
            try:
                await self._introduce(guest, able)
                done = await asyncio.to_thread(self._protect, guest, able, persistent)
            except (PolicyError, SystemFault, OSError) as error:
                self._audit("protect-refused", who, guest, reason=str(error))
                raise
            finally:
                self._leading = None
                self._wake.set()
        return {"done": done, "refused": refused}

    async def unprotect(
        self, name: str | None, who: str, *, dry_run: bool, persistent: bool
    ) -> dict[str, Any]:
        """Connect a guest, or all (None), as without us; return what was done, or would be."""
        async with self._change:
            guests = await self._refresh()
            guests += self._gone(guests)
            chosen = [self._named(guests, name)] if name is not None else list(guests)
            chosen = [guest for guest in chosen if guest.uuid in self._state.protected]
            if name is not None and not chosen:
                raise PolicyError(f"guest {name!r} is not protected")
            done: list[str] = []
            faults: list[str] = []
            for guest in chosen:
                sentences = self._connected_as(guest)
                if not dry_run:
                    self._audit("unprotect", who, guest, persistent=persistent)
                    try:
                        await asyncio.to_thread(self._unprotect, guest, persistent)
                    except (PolicyError, SystemFault, OSError) as error:  # the others are none the worse
                        faults.append(str(error))
                        continue
                done += sentences
            self._wake.set()
        if faults:
            raise SystemFault("; ".join([*faults, f"unprotected: {len(chosen) - len(faults)}"]))
        return {"would" if dry_run else "done": done}

    def _connected_as(self, guest: HostGuest) -> list[str]:
        home = self._state.protected[guest.uuid].home
        return [
            f"{guest.name}: {mac} is connected to {bridge}"
            for mac, bridge in home.items()
            if guest.vnic(mac) is not None
        ] or [f"{guest.name}: is not led through any more"]

    async def starting(self, guest: HostGuest) -> None:
        """Have a protected guest's policy in place before it runs.

        The hypervisor waits for this with the domain locked, so it is asked nothing, and nothing is waited
        for that may be asking it.
        """
        if guest.uuid not in self._state.protected:
            await asyncio.to_thread(self._let_start, guest)
            return
        try:
            await asyncio.to_thread(self._start_protected, guest)
        except (PolicyError, SystemFault) as error:
            self._trouble(guest, str(error))
            raise
        finally:
            self._wake.set()

    async def arriving(self, guest: HostGuest) -> Mark | None:
        """Have a guest that comes from another host protected as it was there; return its mark.

        The hypervisor waits for this, too.
        """
        if guest.marked is not None and guest.uuid not in self._state.protected:
            self._audit("protect", "the host that it comes from", guest, persistent=guest.marked.persistent)
        self._wake.set()
        return await asyncio.to_thread(self._migration.arriving, guest)

    async def events(self, after: int) -> AsyncIterator[dict[str, Any]]:
        """Yield what happened since event number `after`, and what happens from now on, for ever."""
        while True:
            async with self._heard:
                await self._heard.wait_for(lambda seen=after: self._last > seen)  # type: ignore[misc]
                ready = [event for event in self._events if event["number"] > after]
            for event in ready:
                yield event
            after = self._last if not ready else ready[-1]["number"]

    # Keeping what was decided.

    async def _keep(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(
                    WAITING_LOOK_S if self._admission.is_hoping else RECONCILE_EVERY_S
                ):
                    await self._wake.wait()
            self._wake.clear()
            try:
                async with self._change:
                    guests = await self._refresh()
                    await asyncio.to_thread(self._reconcile, guests)
                    listing = await self._list(guests)
            except (PolicyError, SystemFault, OSError) as error:
                log.warning("%s", error)
                await self.followers.trouble(str(error))
            except Exception:
                log.exception("host helper")
            else:
                await self.followers.publish(listing)

    async def _look_after(self, topology: Topology) -> None:
        """Connect guests past an appliance that lets nothing through, and take them back when it does."""
        misses = dict.fromkeys(topology.segments_to_watch(), 0)
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for bridge in misses:
                try:
                    async with self._change:
                        await self._refresh()
                        well = await asyncio.to_thread(topology.healthy, bridge)
                        down = bridge in self._direct
                        misses[bridge] = misses[bridge] + 1 if well == down else 0
                        if misses[bridge] >= SICK_AFTER:
                            misses[bridge] = 0
                            await self._switch(topology, bridge, direct=not down)
                except (PolicyError, SystemFault) as error:
                    log.warning("segment %s: %s", bridge, error)
                except Exception:
                    log.exception("host helper: segment %s", bridge)

    async def _switch(self, topology: Topology, bridge: str, *, direct: bool) -> None:
        (self._direct.add if direct else self._direct.discard)(bridge)
        did = "connected past the appliance, which lets nothing through" if direct else "led through again"
        log.warning("segment %s: its guests are %s", bridge, did)
        audit(self._config.state, "direct-on" if direct else "direct-off", who="sekisho-host", bridge=bridge)
        guests = await self._refresh()
        if not direct:
            await asyncio.to_thread(self._reconcile, guests)
            return
        await asyncio.to_thread(self._connect_past, topology, bridge, guests)

    def _connect_past(self, topology: Topology, bridge: str, guests: Sequence[HostGuest]) -> None:
        for guest, vnic, home in self._protected_vnics(guests):
            if home == bridge:
                with _told_of(guest):  # the others none the less
                    topology.release(guest, vnic, home, persistent=False)

    def _reconcile(self, guests: Sequence[HostGuest]) -> None:
        held = self._admission.held()
        self._settle_unprotected(guests)
        faults: dict[str, list[str]] = {}
        for guest, vnic, home in self._protected_vnics(guests):
            if home in self._direct:
                self._keep_off(guest, vnic)
                self._admission.admit([vnic])
                continue
            fault = self._settle(guest, vnic)
            if vnic.tap in held:
                fault = self._admission.decide(guest, vnic, fault)
            if fault is not None:
                faults.setdefault(guest.uuid, []).append(f"{vnic.mac}: {fault}")
        for guest in guests:
            if why := faults.get(guest.uuid):
                self._trouble(guest, "; ".join(why))
            else:
                self._troubles.pop(guest.uuid, None)
        self._admission.admit_strangers(guests)
        self._migration.look(guests)

    def _settle(self, guest: HostGuest, vnic: HostVnic) -> Fault | None:
        try:
            self._topology.settle(guest, vnic)
        except (PolicyError, SystemFault) as error:
            return error
        return None

    def _protected_vnics(self, guests: Sequence[HostGuest]) -> list[tuple[HostGuest, HostVnic, str]]:
        """Return every vNIC that is to be led now, with its bridge without us."""
        found = []
        for guest in guests:
            protected = self._state.protected.get(guest.uuid)
            if protected is None:
                continue
            self._take_along(guest, protected)
            for vnic in guest.vnics if guest.running else ():
                if not vnic.obstacle and vnic.tap is not None:
                    found.append((guest, vnic, protected.home[vnic.mac]))
        return found

    def _take_along(self, guest: HostGuest, protected: Protected) -> None:
        """Have a protected guest's new vNICs led from now on, and forget those that it has no more."""
        for vnic in guest.vnics:
            if vnic.mac not in protected.home and not vnic.obstacle:
                protected.home[vnic.mac] = self._topology.home(guest, vnic)
        for mac in [mac for mac in protected.home if guest.vnic(mac) is None]:
            log.info("guest %s: vNIC %s is gone", guest.name, mac)
            del protected.home[mac]
        self._state.save()

    # Who may pass.

    def _renew_hold(self) -> None:
        self._admission.renew(on=bool(self._state.protected))

    def _settle_unprotected(self, guests: Sequence[HostGuest]) -> None:
        """Have those whom nobody protects on no way of others, and their new taps pass."""
        for guest in guests:
            if not guest.running or guest.uuid in self._state.protected:
                self._admission.admit(vnic for vnic in guest.vnics if vnic.obstacle)
                continue
            for vnic in guest.vnics if not self._is_appliance(guest) else ():
                self._keep_off(guest, vnic)
            self._admission.admit(guest.vnics)

    def _keep_off(self, guest: HostGuest, vnic: HostVnic) -> None:
        with _told_of(guest):
            self._topology.keep_off(guest, vnic)

    def _let_start(self, guest: HostGuest) -> None:
        """Keep an unprotected guest off the ways of others; it starts whatever becomes of that."""
        with _told_of(guest):
            if not self._is_appliance(guest):
                self._topology.passing_by(guest)
            self._admission.admit(guest.vnics)

    def _start_protected(self, guest: HostGuest) -> None:
        protected = self._state.protected[guest.uuid]
        self._take_along(guest, protected)
        direct = [vnic for vnic in guest.vnics if protected.home.get(vnic.mac) in self._direct]
        led = [vnic for vnic in guest.vnics if vnic not in direct]
        if direct:  # it may be stored as one that is led
            self._topology.passing_by(replace(guest, vnics=tuple(direct)))
            self._admission.admit(direct)
        if led or not direct:
            starts = replace(guest, vnics=tuple(led))
            self._topology.starting(starts)
            self._admission.admit_known(starts)

    def _trouble(self, guest: HostGuest, why: str) -> None:
        if self._troubles.get(guest.uuid) != why:
            self._troubles[guest.uuid] = why
            log.error("guest %s is to be protected and is not: %s", guest.name, why)

    # Steps.

    async def _introduce(self, guest: HostGuest, vnics: Sequence[HostVnic]) -> None:
        """Tell the appliance of the guest, and where it will have it, before it is led there."""
        for vnic in vnics:
            try:
                await asyncio.to_thread(self._topology.reserve, guest, vnic)
            except (PolicyError, SystemFault):
                if guest.running:
                    raise
                # when it starts there may be a place
        self._leading = guest.uuid
        edition = await self.followers.publish(await self._list(await self._refresh()))
        if not guest.running:
            return
        taken_up = await self.followers.taken_up(guest.uuid, edition, HOPE_S)
        if not taken_up and self._topology.needs_following:
            raise SystemFault(
                "no appliance follows this helper, so none knows the guest (`helper:` in its sekisho.yaml, "
                "`listen` here); the guest was not touched"
            )

    def _protect(self, guest: HostGuest, vnics: Sequence[HostVnic], persistent: bool) -> list[str]:
        """Lead all vNICs or none."""
        done: list[str] = []
        before = self._state.protected.get(guest.uuid)
        persistent = persistent or (before is not None and before.persistent)
        home = {vnic.mac: self._topology.home(guest, vnic) for vnic in vnics}
        led: list[HostVnic] = []
        try:
            for vnic in vnics if guest.running else ():
                already = self._topology.is_led(guest, vnic)
                said = self._topology.lead(guest, vnic, persistent=persistent)
                if not already:
                    led.append(vnic)
                done.append(f"{vnic.mac} is led through the appliance: {said}")
        except (PolicyError, SystemFault):
            for vnic in led:
                with _told_of(guest):
                    self._topology.release(guest, vnic, home[vnic.mac], persistent=persistent)
            raise
        self._state.protected[guest.uuid] = Protected(persistent=persistent, home=home)
        self._state.save()
        self._troubles.pop(guest.uuid, None)
        if guest.running:
            return done
        return [LED_LATER, *(self._stored(guest, vnics) if persistent else ())]

    def _stored(self, guest: HostGuest, vnics: Sequence[HostVnic]) -> Iterator[str]:
        """Store that a guest which is off is led; yield a sentence for each vNIC that could not be."""
        for vnic in vnics:
            try:
                self._topology.store(guest, vnic)
            except (PolicyError, SystemFault) as error:
                yield f"{vnic.mac} is stored as it was: {error}"

    def _unprotect(self, guest: HostGuest, persistent: bool) -> None:
        protected = self._state.protected[guest.uuid]
        for mac, home in protected.home.items():
            stored = persistent or protected.persistent
            if (guest.running or stored) and (vnic := guest.vnic(mac)) is not None:
                self._topology.release(guest, vnic, home, persistent=stored)
        del self._state.protected[guest.uuid]
        self._state.save()
        if guest.running:
            self._migration.mark(guest)
        self._troubles.pop(guest.uuid, None)

    async def _would(self, guest: HostGuest, vnic: HostVnic) -> str:
        plan = await asyncio.to_thread(self._topology.plan, guest, vnic)
        key = key_of(guest.uuid, vnic.mac)
        await self._refresh(counting=key)
        try:
            await asyncio.sleep(COUNTING_S)
            count = await asyncio.to_thread(watch.flows, key)
        finally:
            await self._refresh()
        return f"{plan}; {count} TCP connections that spoke within {COUNTING_S:.0f} s would be midstream"

    async def _refresh(self, counting: str | None = None) -> tuple[HostGuest, ...]:
        """Ask the hypervisor who is there, and watch their taps."""
        await asyncio.to_thread(self._renew_hold)
        guests = await asyncio.to_thread(self._source.guests)
        for guest in guests:
            self._state.name_of(guest.uuid, guest.name)
        await asyncio.to_thread(self._state.save)
        await asyncio.to_thread(self._topology.refresh, guests)
        taken = [
            Watched(key_of(guest.uuid, vnic.mac), vnic.mac, vnic.tap)
            for guest in guests
            for vnic in guest.vnics
            if vnic.tap and not vnic.obstacle and not self._is_appliance(guest)
        ]
        topology = self._topology
        await asyncio.to_thread(watch.watch, taken, topology.counters, counting, topology.trunks)
        return guests

    async def _note(self, event: Lifecycle) -> None:
        log.info("%s %s", event.name or "hypervisor", event.what.value)
        self._migration.heard(event)
        async with self._heard:
            self._last += 1
            record = {
                "number": self._last,
                "time": datetime.now(UTC).isoformat(),
                "what": event.what.value,
                "uuid": event.uuid,
                "name": event.name,
            }
            self._events.append(record)
            self._heard.notify_all()
        self._wake.set()

    async def _list(self, guests: Sequence[HostGuest]) -> dict[str, Any]:
        """Return what is said of the host and these guests."""
        return await asyncio.to_thread(self._listed_all, guests)

    def _listed_all(self, guests: Sequence[HostGuest]) -> dict[str, Any]:
        announced, held = watch.all_addresses(), self._admission.held()
        listed = [self._listed(guest, announced, held) for guest in guests]
        return {"host_uuid": self._source.host_uuid, "guests": listed}

    def _listed(
        self, guest: HostGuest, announced: Mapping[str, Sequence[str]], held: frozenset[str]
    ) -> dict[str, Any]:
        protected = guest.uuid in self._state.protected or guest.uuid == self._leading
        vnics = []
        for vnic in guest.vnics:
            led = (
                vnic.obstacle is None and not self._is_appliance(guest) and self._topology.is_led(guest, vnic)
            )
            port = self._topology.port_of(guest, vnic) if protected else None
            vnics.append(
                {
                    "mac": vnic.mac,
                    "tap": vnic.tap,
                    "bridge": self._state.home(guest.uuid, vnic.mac) or vnic.bridge,
                    "led_through": led,
                    "held": vnic.tap in held,
                    "obstacle": vnic.obstacle,
                    "port": port.mac if port else None,
                    "vlan": port.vlan if port else None,
                    "addresses": announced.get(key_of(guest.uuid, vnic.mac), ()) if vnic.tap else (),
                }
            )
        return {
            "uuid": guest.uuid,
            "name": guest.name,
            "known_as": self._state.name_of(guest.uuid, guest.name),
            "running": guest.running,
            "protected": protected,
            "appliance": self._is_appliance(guest),
            "trouble": self._troubles.get(guest.uuid),
            "vnics": vnics,
        }

    def _is_appliance(self, guest: HostGuest) -> bool:
        return self._topology.is_appliance(guest)

    def _gone(self, guests: Sequence[HostGuest]) -> tuple[HostGuest, ...]:
        """Return the protected guests that the host has no more, under the names they were known by."""
        here = {guest.uuid for guest in guests}
        return tuple(
            HostGuest(uuid, self._state.name_of(uuid, uuid), running=False, vnics=())
            for uuid in self._state.protected
            if uuid not in here
        )

    def _named(self, guests: Sequence[HostGuest], name: str) -> HostGuest:
        for guest in guests:
            if name in (guest.name, guest.uuid):
                return guest
        known = ", ".join(guest.name for guest in guests) or "none"
        raise PolicyError(f"there is no guest {name!r} on this host; known: {known}")

    def _audit(self, action: str, who: str, guest: HostGuest, **details: Any) -> None:
        """Write it down first: what cannot be written down is not done."""
        audit(self._config.state, action, who=who, guest=guest.name, uuid=guest.uuid, **details)


@contextlib.contextmanager
def _told_of(guest: HostGuest) -> Iterator[None]:
    """Log a fault, and go on."""
    try:
        yield
    except SystemFault as error:
        log.error("guest %s: %s", guest.name, error)


def _topology(config: Config, source: GuestSource, state: State) -> Topology:
    if config.pair is not None:
        return Pair(config.pair, source, state)
    if config.trunk is not None:
        return Trunk(config.trunk, source, state)
    assert config.host is not None
    return Host(config.host, state)
