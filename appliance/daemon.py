"""The control process: keeps the inspector running, the manager's policy live, and the manager informed.

    boot      guests → last policy from disk → kernel rules ─┐
              inspector, started meanwhile ──────────────────┴► its queues
    follow    long poll → verify → apply (appliance.control.applying) → report at once
    supervise the inspector died → start it again → load the live policy; again and again → the one before it
    guard     the same for the watchdog, which kills an inspector that hangs (appliance.watchdog)
    room      the kernel's table of connections is nearly full → those who fill it make room
    stand     somebody else took our rules away → they are put back
    lead      a segment's bridge was made → its packets are led to us at once
    watch     guests come and go, guests.yaml or what the host helper says changes → the same policy anew
    report    events from the spool, status every few seconds and at each change

Without a manager everything but `follow` and `report` goes on with the last policy.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import pwd
import signal
import socket
import stat
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from appliance import rtnetlink
from appliance.clock import unset_clock
from appliance.config import Config, ManagerConfig
from appliance.control.absence import Sign, absence, last_sign, leave_sign
from appliance.control.accounts import InspectorAccounts
from appliance.control.applying import Applier, Live
from appliance.control.generations import Generations
from appliance.control.inspector_process import InspectorProcess
from appliance.control.manager_place import refuse_guarded
from appliance.control.network import Network, notices
from appliance.control.policies import RuleSetShelf
from appliance.control.probation import Probation
from appliance.control.protocol import InspectorSettings
from appliance.control.room import Room
from appliance.control.status import status_body
from appliance.control.status_file import write_status
from appliance.control.watchdog_process import WatchdogProcess, heart_sockets
from appliance.hypervisor import read_inventory
from appliance.hypervisor.following import UNREACHED, Follower
from appliance.model.faults import PolicyError, SystemFault
from appliance.model.guest import GuestInventory
from appliance.model.policy import PolicyDocument
from appliance.netlink import Alarm
from appliance.ready import alive_every_s, tell_alive, tell_ready
from appliance.reporting.client import ManagerClient, SignedPolicy
from appliance.reporting.identity import Identity, load_identity, tls_of
from appliance.reporting.journal import Journal
from appliance.reporting.queues import dropped_by_full, queues_of
from appliance.reporting.spool import SpoolReader
from appliance.rulesets import NeedsReader
from appliance.rulesets.store import RuleSetStore
from appliance.steering import Backend, Choice, Counters, Queues, choose_backend
from appliance.watchdog import Report, WatchdogSettings

if TYPE_CHECKING:
    from appliance.reporting.delivery import Delivery  # imported once the rules stand

log = logging.getLogger("sekisho")

HEARTBEAT_S = 3.0
COUNTERS_EVERY_S = 1.0
TELL_BRIDGES_EVERY_S = 10.0
WATCH_S = 1.0
RETRY_FIRST_S = 0.2
RETRY_MAX_S = 15.0
ENROL_AGAIN_S = 60.0
RESTART_FIRST_S = 0.1
RESTART_MAX_S = 2.0
"""Every pause is a time without inspection, and on a closed segment without traffic."""
STEADY_AFTER_S = 10.0
INSPECTOR_SOCKET = "inspector.sock"
CANARY = Path(__file__).resolve().parent / "canary"
SPOOL = "spool"
SPEAKING, ENROLLING = ("httpx", "appliance.reporting.delivery"), "appliance.reporting.enrolment"
"""What is imported for a manager alone."""
NO_POLICY = PolicyDocument(version=0)


class Control(msgspec.Struct):
    """One appliance. `run` returns when it was asked to stop."""

    config: Config
    inventory: GuestInventory
    journal: Journal
    reader: SpoolReader
    applier: Applier
    run_as: tuple[int, int]
    identity: Identity | None = None
    client: ManagerClient | None = None
    delivery: "Delivery | None" = None
    follower: Follower | None = None
    live: Live | None = None
    inspector: InspectorProcess | None = None
    restarts: int = 0
    watchdog: WatchdogProcess | None = None
    watchdog_restarts: int = 0
    failing: bool = False
    repairs: int = 0
    error: str | None = None
    probation: Probation = msgspec.field(default_factory=Probation)
    accounts: InspectorAccounts = msgspec.field(default_factory=InspectorAccounts)
    counters: Counters = msgspec.field(default_factory=Counters)
    _heart: tuple[socket.socket, socket.socket] = msgspec.field(default_factory=heart_sockets)
    _coming: asyncio.Task[InspectorProcess] | None = None
    _up_at: float | None = None
    _before: tuple[Sign | None, bool] = (None, False)
    _started: dict[str, Any] | None = None
    _hung: int | None = None
    _engine: dict[str, Any] = msgspec.field(default_factory=dict)
    _bypass: list[dict[str, Any]] = msgspec.field(default_factory=list)
    _overflow: dict[int, int] = msgspec.field(default_factory=dict)
    _reported: dict[str, Any] = msgspec.field(default_factory=dict)
    _switch: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)
    _changed: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    _room: Room = msgspec.field(default_factory=Room)
    _guests_told: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    _network_changed: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    _follower_trouble: str | None = UNREACHED
    _away: str | None = None

    async def run(self, *, keep_rules: bool) -> None:
        """Protect until SIGTERM or SIGINT. Raises SystemFault when the first rules cannot be loaded."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        # It takes as long to come up as the rules do, and binds no queue before it is given a policy.
        self._coming = asyncio.create_task(self._start_inspector())
        try:
            await self._boot()
        except SystemFault:
            await self._let_pass()
            raise
        duties = [
            self._beat,
            self._guard,
            self._supervise,
            self._make_room,
            self._stand,
            self._lead,
            self._tell_bridges,
            self._watch,
            self._count,
            self._report,
        ]
        if self.config.manager is not None:
            duties.append(self._talk)
        if self.config.helper is not None:
            self.follower = Follower(
                self.config,
                self.config.helper,
                lambda: tls_of(self.config.state / "identity"),
                self._heard_of_guests,
            )
            duties.append(self.follower.run)
        try:
            with self._metrics():
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._kept(duty)) for duty in duties]
                    await stop.wait()
                    for task in tasks:
                        task.cancel()
        finally:
            await self._shut_down(keep_rules=keep_rules)

    def _metrics(self) -> contextlib.AbstractContextManager[None]:
        """Serve metrics where it is asked for, and import what serves them only then."""
        if self.config.metrics is None:
            return contextlib.nullcontext()
        from appliance.reporting.exporter import exporter

        return exporter(self.config.metrics, lambda: self._reported)

    async def _kept(self, duty: Callable[[], Awaitable[None]]) -> None:
        """Do a duty for ever: an error nobody foresaw is reported loudly and ends no duty."""
        while True:
            try:
                await duty()
            except Exception as error:
                log.exception("control")
                self.journal.note("control-error", f"control: {duty.__name__.strip('_')}: {error!r}", 1)
            await asyncio.sleep(RESTART_FIRST_S * 10)

    async def _beat(self) -> None:
        """Tell the service manager that this loop turns; it starts us anew when it does not."""
        while True:
            tell_alive()
            await asyncio.sleep(alive_every_s())

    # Boot and end.

    async def _boot(self) -> None:
        network = self.applier.network
        # While the inspector comes up: to be asked takes the kernel a moment.
        network.choice = await asyncio.to_thread(_choose_backend, self.config)
        self._before = last_sign(self.config.state), await asyncio.to_thread(network.stands)
        self.identity = load_identity(self.config.state / "identity")
        signed, document = self._last_policy()
        try:
            self.live = await self._apply(document, signed)
        except PolicyError as error:
            # What protected yesterday is refused today: guests or rule sets changed under it.
            self._refused(document.version, str(error))
            self.live = await self._apply(NO_POLICY, None)
        log.info("policy version %d is live for %d guests", self._version, len(self.inventory.guests))
        for sentence in self.live.links.missing:
            log.warning("%s", sentence)

    async def _let_pass(self) -> None:
        """Cut nobody off who is to fail open, though there are no rules: another start may bring them."""
        try:
            await asyncio.to_thread(self.applier.network.let_pass, self.inventory)
        except SystemFault as fault:
            log.error("no rules, and bridges cannot be opened without: %s", fault)
        else:
            log.error("no rules: segments with inspector_down open pass uninspected, others stay shut")

    def _last_policy(self) -> tuple[SignedPolicy | None, PolicyDocument]:
        """Return the policy that was live last; a damaged one is reported and counts as none."""
        try:
            signed = self.applier.generations.current_policy()
            if signed is None:
                return None, NO_POLICY
            if self.identity is None:
                raise PolicyError("there is a policy but no identity that it could be checked with")
            return signed, signed.verified(self.identity)
        except (ValueError, OSError) as error:
            self._refused(0, f"the last policy cannot be used: {error}")
            return None, NO_POLICY

    async def _shut_down(self, *, keep_rules: bool) -> None:
        # Rules first: with the queues gone but the rules there, a fail-closed segment would stand still.
        rules = "stay in place, as asked"
        if not keep_rules:
            try:
                await asyncio.to_thread(self.applier.network.remove, self.inventory)
                rules = "are taken away"
            except SystemFault as fault:
                rules = f"could not be taken away: {fault}"
        if self.inspector is not None:
            await self.inspector.stop()
        if self.client is not None:
            await self.client.close()
        with contextlib.suppress(OSError):
            leave_sign(self.config.state)
        with contextlib.suppress(FileNotFoundError):
            (self.config.state / "status.json").unlink()
        log.info("stopped; the rules %s", rules)

    # Policy.

    async def _apply(self, document: PolicyDocument, signed: SignedPolicy | None) -> Live:
        """Make a policy live, one at a time. Raises PolicyError, SystemFault, OSError; the live one stays."""
        async with self._switch:
            return await self._make_live(document, signed)

    async def _apply_anew(self) -> None:
        """Apply the live policy to guests and ports as they are now. Raises as _apply does."""
        async with self._switch:
            # Which one that is, is known no earlier: a newer one may have come first.
            if self.live is not None:
                await self._make_live(self.live.document, self.live.signed)

    async def _make_live(self, document: PolicyDocument, signed: SignedPolicy | None) -> Live:
        former = self._version
        self.live = await self.applier.apply(
            document, signed, self.inventory, self.inspector, self.client, self.live
        )
        if self._version != former:
            self.probation.begin(time.monotonic())
        self._changed.set()
        return self.live

    async def _take_back(self, why: str) -> None:
        """Let the policy before the live one protect again; the live one is not taken a second time."""
        bad, before = self.live, self.applier.before
        if bad is None or before is None or not before.document.rule_sets:
            return  # a policy that protects nobody is no way out
        version = bad.document.version
        try:
            if bad.signed is not None:
                await asyncio.to_thread(self.applier.generations.take_back, bad.signed)
            await self._apply(before.document, before.signed)
        except (PolicyError, SystemFault, OSError) as error:
            self._refused(version, f"{why}; the one before it cannot be live again: {error}")
            return
        self.applier.before = None  # the one that was just taken back
        self.journal.note(
            "policy-taken-back",
            f"policy version {version} was taken back, {self._version} is live again: {why}",
            1,
            version=version,
            live=self._version,
        )
        self._refused(version, f"it was taken back: {why}")

    async def _follow(self, client: ManagerClient, identity: Identity) -> None:
        """Take every policy the manager publishes. A refused one is reported and not asked for again."""
        known, pause_s = self._version, RETRY_FIRST_S
        while True:
            try:
                signed = await client.policy(after=known)
                pause_s = RETRY_FIRST_S
                self._manager_is(None)
                if signed is None:
                    continue
                document = signed.verified(identity)
            except SystemFault as fault:
                self._manager_is(str(fault))
                pause_s = await self._pause(pause_s)
                continue
            except PolicyError as error:
                self._refused(known, str(error))
                await asyncio.sleep(RETRY_MAX_S)
                continue
            if self._was_taken_back(signed):
                self._refused(document.version, "it was live before and was taken back")
                known = document.version
                continue
            try:
                await self._apply(document, signed)
            except PolicyError as error:
                self._refused(document.version, str(error))
            except (SystemFault, OSError) as fault:
                self._refused(document.version, str(fault))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, RETRY_MAX_S)
                continue
            else:
                self.error = None
                self.journal.note(
                    "policy-applied",
                    f"policy version {document.version} is live",
                    4,
                    version=document.version,
                )
            known = document.version

    def _was_taken_back(self, signed: SignedPolicy) -> bool:
        try:
            return self.applier.generations.was_taken_back(signed)
        except OSError as error:
            log.warning("%s", error)
            return False

    def _refused(self, version: int, why: str) -> None:
        text = f"policy version {version} refused: {why}" if version else why
        if text != self.error:
            self.journal.note("policy-refused", text, 2, version=version, live=self._version)
        self.error = text
        self._changed.set()

    @property
    def _version(self) -> int:
        return self.live.document.version if self.live else 0

    # The inspector.

    async def _supervise(self) -> None:
        """Keep the inspector running; each failure policy is in the kernel already while it is not."""

        def note(why: str) -> None:
            tell_ready()  # if it never came up: the failure policy is for that, not a network that stays down
            self.restarts += 1
            self.journal.note("inspector-down", f"the inspector is down: {why}", 1, restarts=self.restarts)

        await self._keep_running(self._run_inspector, note)

    async def _keep_running(self, run: Callable[[], Awaitable[str]], note: Callable[[str], None]) -> None:
        """Run a part again whenever it ends, and note why; after short lives with ever longer pauses."""
        pause_s = RESTART_FIRST_S
        while True:
            began = time.monotonic()
            note(await run())
            self._changed.set()
            if time.monotonic() - began > STEADY_AFTER_S:
                pause_s = RESTART_FIRST_S
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RESTART_MAX_S)

    async def _run_inspector(self) -> str:
        """Run it once, with the live policy; return why it ended."""
        self._up_at = None
        why, status, pid = await self._run_inspector_once()
        if status == -signal.SIGKILL and pid != self._hung:
            return why  # somebody else did that, and no policy
        now = time.monotonic()
        if blame := self.probation.ended(0.0 if self._up_at is None else now - self._up_at, now):
            await self._take_back(blame)
        return why

    async def _run_inspector_once(self) -> tuple[str, int | None, int | None]:
        """Return why it ended, its exit status and its pid, as far as it came."""
        coming, self._coming = self._coming, None
        try:
            process = await (coming or self._start_inspector())
        except (SystemFault, OSError) as fault:
            return str(fault), None, None
        pid = process.process.pid
        try:
            async with self._switch:
                if self.live is not None:
                    await process.load(self.live.engine_policy, try_first=not self.live.tried)
                    self.live = msgspec.structs.replace(self.live, tried=True)
                self.inspector, self._up_at = process, time.monotonic()
            self.journal.note("inspector-up", "the inspector is up", 4, pid=process.process.pid)
            self._note_start()
            self._changed.set()
            tell_ready()
            status = await process.wait()
        except (PolicyError, SystemFault) as error:
            self._ended()
            await process.stop()
            return str(error), None, pid
        except asyncio.CancelledError:
            self.inspector = process  # it goes on until the rules are gone
            raise
        self._ended()
        why = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
        return why, status, pid

    async def _start_inspector(self) -> InspectorProcess:
        return await InspectorProcess.start(self._inspector_settings(), self.config.state, self.config.netns)

    def _note_start(self) -> None:
        """Note, once, that guests are protected, and for how long they were not."""
        if self._started is not None:
            return
        last, rules_stood = self._before
        now = Sign.now()
        gap = absence(last, now, rules_stood=rules_stood)
        self._started = {"time_s": now.time_s, "after": str(gap), **gap.details()}
        self.journal.note("started", f"protecting: {gap}", gap.severity, **gap.details())

    def _ended(self) -> None:
        self.inspector = None
        self.accounts.run_ended()

    def _inspector_settings(self) -> InspectorSettings:
        config = self.config
        return InspectorSettings(
            socket=INSPECTOR_SOCKET,
            spool_dir=SPOOL,
            spool_max_bytes=config.spool.max_bytes,
            memory_max_bytes=config.inspector.memory_max_bytes,
            source=config.inspector.source,
            queues=config.inspector.queues,
            first_queue=config.inspector.first_queue,
            # The kernel knows one answer per queue, and queues are shared by segments: closed wins.
            fail_open=all(s.failure.queue_full == "open" for s in self.inventory.segments),
            parent_pid=os.getpid(),
            run_as=self.run_as,
            heart=self._heart[1].fileno(),
            canary=str(CANARY) if config.inspector.canary else None,
            latency_budget_ms=config.inspector.latency_budget_ms,
        )

    # The watchdog.

    async def _guard(self) -> None:
        """Keep the watchdog running; without one a hung inspector holds traffic up, and nothing else does."""

        def note(why: str) -> None:
            self.watchdog_restarts += 1
            restarts = self.watchdog_restarts
            self.journal.note("watchdog-down", f"the watchdog is down: {why}", 1, restarts=restarts)

        await self._keep_running(self._run_watchdog, note)

    async def _run_watchdog(self) -> str:
        """Run it once and note what it does; return why it ended."""
        inspector = self.inspector
        settings = WatchdogSettings(
            heart=self._heart[0].fileno(),
            parent_pid=os.getpid(),
            family=self.applier.network.choice.family,
            inspector=inspector.process.pid if inspector is not None else None,
            workers=self.config.inspector.queues,
        )
        try:
            self.watchdog = watchdog = await WatchdogProcess.start(settings, self.config.netns)
        except OSError as error:
            return str(error)
        try:
            while True:
                self._note_watchdog(await watchdog.report())
        except SystemFault as fault:
            return str(fault)
        finally:
            self.watchdog, self.failing = None, False
            await watchdog.end()
            # It may have gone after it switched; nothing may be left to a watchdog that is not there.
            await asyncio.to_thread(self.applier.network.restore)

    def _note_watchdog(self, report: Report) -> None:
        match report.did:
            case "failing":
                self.failing = True
                if report.silent_ms is not None:
                    self._hung = report.pid
                silent = "" if report.silent_ms is None else f" for {report.silent_ms} ms"
                self.journal.note(
                    "failure-policy",
                    f"the failure policy is in force: inspector {report.pid}: {report.why}{silent}",
                    1,
                    pid=report.pid,
                    worker=report.worker,
                    silent_ms=report.silent_ms,
                )
            case "restored":
                self.failing = False
                self.journal.note("inspection-restored", "the inspector decides again", 2, pid=report.pid)
            case "fault":
                self.journal.note("watchdog-fault", f"the watchdog could not switch: {report.why}", 1)
            case _:
                return
        self._changed.set()

    # Guests.

    async def _watch(self) -> None:
        """Apply the live policy anew when a guest's port came or went, or other guests are told of."""
        path = Path(self.config.guests)
        seen, changed = _stamp(path), False
        is_new = True  # links may have changed since the boot read them
        trouble: str | None = None
        with self.applier.network.link_alarm() as alarm:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(WATCH_S):
                        await self._guests_told.wait()
                told = self._guests_told.is_set()
                self._guests_told.clear()
                changed = (stamp := _stamp(path)) != seen or changed
                seen = stamp
                edition = self.follower.edition if self.follower else 0
                if not (alarm.hush() or told or is_new or changed):
                    continue
                try:
                    # which of our ports a followed guest is behind may change without a word of the helper's
                    if changed or self.follower is not None:
                        inventory = await asyncio.to_thread(read_inventory, self.config)
                        changed = changed or inventory != self.inventory
                        self.inventory = inventory
                    links = await asyncio.to_thread(self.applier.network.links, self.inventory)
                    is_new = False
                    if self.live is None:
                        continue
                    if changed or links != self.live.links:
                        await self._apply_anew()
                        said = "guests or their ports changed; policy version %d applied anew"
                        log.info(said, self._version)
                    changed = False
                    if self.follower is not None and self.inventory == self.live.inventory:
                        self.follower.took_up(edition, self.inventory)
                except PolicyError as error:
                    self._refused(self._version, str(error))
                    trouble, changed = self.error, False
                except (SystemFault, OSError) as error:  # may pass: it is tried again
                    self._refused(self._version, str(error))
                    trouble, is_new = self.error, True
                else:
                    if trouble is not None and self.error == trouble:
                        self.error = None
                        self._changed.set()
                    trouble = None

    def _heard_of_guests(self) -> None:
        """The host helper says something else of its guests, or is away, or back."""
        assert self.follower is not None
        self._guests_told.set()
        self._changed.set()
        helper, trouble = self.follower.helper, self.follower.trouble
        if trouble == self._follower_trouble:
            return
        self._follower_trouble = trouble
        if trouble is None:
            self.journal.note("helper-followed", f"the host helper at {helper} is followed", 4)
        else:
            message = f"host helper at {helper}: {trouble}; the guests it named last stay protected"
            self.journal.note("helper-away", message, 2)

    async def _stand(self) -> None:
        """Put our rules back when somebody else took them away or changed them, by alarm or at a look."""
        with self.applier.network.alarm() as alarm, _rung(alarm) as changed:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.applier.network.look_every_s):
                        await changed.wait()
                changed.clear()
                await self._put_back()

    async def _lead(self) -> None:
        """Have a bridge that was made lead its packets to us at once; `watch` then applies the policy."""
        network = self.applier.network
        with network.link_alarm() as alarm, _rung(alarm) as changed:
            while True:
                await changed.wait()
                changed.clear()
                try:
                    if await asyncio.to_thread(network.lead_new_bridges):
                        self._guests_told.set()
                except SystemFault as fault:  # `watch` tries again, and says so
                    log.warning("%s", fault)

    async def _put_back(self) -> None:
        network = self.applier.network
        async with self._switch:  # no change of our own is under way
            if self.live is None:
                return
            changes = await asyncio.to_thread(network.changes_by_others)
            if not changes:
                return
            what = "; ".join(changes)
            self.repairs += 1
            self.journal.note("rules-changed", f"somebody else changed our rules: {what}", 1, changes=changes)
            live = self.live
            # What passes without rules leaves no bit in conntrack, and no stream may wait for it: said before
            # the first packet comes again, and once more for whoever had packets seen in between.
            await self._lose_sight()
            await asyncio.to_thread(
                network.apply, live.document, live.inventory, live.links, live.needs, live.generation
            )
            await self._lose_sight()
        self.journal.note("rules-restored", "our rules are back as they were", 2, repairs=self.repairs)
        self._changed.set()

    async def _lose_sight(self) -> None:
        """Tell the inspector that packets of any connection passed it by."""
        if self.inspector is None:
            return
        try:
            await self.inspector.lose_sight()
        except SystemFault as fault:  # it has ended: the next one begins without connections
            log.warning("%s", fault)

    async def _tell_bridges(self) -> None:
        """Tell bridges anew where guests are, in case somebody had them forget it."""
        while True:
            await asyncio.sleep(TELL_BRIDGES_EVERY_S)
            async with self._switch:
                try:
                    await asyncio.to_thread(self.applier.network.tell_bridges)
                except SystemFault as fault:
                    log.warning("%s", fault)

    async def _make_room(self) -> None:
        """Let nobody find the kernel's table of connections full."""
        await self._room.keep(self.config.netns, self.journal, lambda: self.inventory)

    # Reports.

    async def _count(self) -> None:
        """Read counters and bypasses, and note what people should know of them."""
        first = True
        while True:
            try:
                document = self.live.document if self.live else NO_POLICY
                counters = await asyncio.to_thread(self.applier.network.counters, document, self.inventory)
                bypass = await asyncio.to_thread(self.applier.network.bypasses)
                if self.inspector is not None:
                    self._engine = await self.inspector.stats()
                    self.accounts.take(self._engine.get("engine", {}))
                    self._end_if_crippled(self.inspector)
                    if blame := self.probation.panicked(_panics(self._engine), time.monotonic()):
                        await self._take_back(blame)
            except SystemFault as fault:
                log.warning("%s", fault)
            else:
                for notice in () if first else notices(self.counters, counters):
                    self.journal.note(notice.notice, notice.message, notice.severity, **notice.details)
                self._note_full_queues()
                self._note_bypass(bypass)
                self.counters, first = counters, False
            await asyncio.sleep(COUNTERS_EVERY_S)

    def _end_if_crippled(self, inspector: InspectorProcess) -> None:
        """End an inspector that lost a worker: its queue would follow the failure policy for ever."""
        packets_from = self._engine.get("packets_from") or {}
        if packets_from.get("source") is not None and packets_from.get("healthy") is False:
            self.journal.note("worker-down", "a worker of the inspector ended; it is started anew", 1)
            inspector.kill()

    def _note_full_queues(self) -> None:
        """Note what queues dropped because they were full; counted anew by each inspector."""
        now = {each["queue"]: dropped_by_full(each) for each in queues_of(self._engine)}
        for queue, dropped in now.items():
            packets = dropped - self._overflow.get(queue, 0)
            if packets > 0:
                message = f"queue {queue} was full: {packets} packets were dropped uninspected"
                self.journal.note("queue-full", message, 1, queue=queue, packets=packets)
                self._changed.set()
        self._overflow = now

    def _note_bypass(self, bypass: list[dict[str, Any]]) -> None:
        before, now = ({each["guest"] for each in state} for state in (self._bypass, bypass))
        for guest in sorted(now - before):
            self.journal.note(
                "bypass-on", f"bypass: traffic of guest {guest} passes uninspected", 1, guest=guest
            )
        for guest in sorted(before - now):
            self.journal.note("bypass-off", f"bypass: guest {guest} is inspected again", 2, guest=guest)
        self._bypass = bypass
        if now != before:
            self._changed.set()

    async def _report(self) -> None:
        """Write and send the status every few seconds, and at once when something changed."""
        while True:
            self._changed.clear()
            status = self._reported = self._status()
            try:
                path = self.config.state / "status.json"
                await asyncio.to_thread(write_status, path, status, time.time(), os.getpid())
                if self._started is not None:
                    await asyncio.to_thread(leave_sign, self.config.state)
                if self.client is not None:
                    await self.client.put_status(status)
            except (SystemFault, PolicyError, OSError) as fault:
                log.debug("status: %s", fault)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._changed.wait()

    def _status(self) -> dict[str, Any]:
        delivery = self.delivery
        manager = "none" if self.config.manager is None else "not enrolled" if self.client is None else None
        return status_body(
            live_version=self._version,
            started=self._started,
            error=self.error,
            inventory=self.inventory,
            counters=self.counters,
            accounts=self.accounts,
            bypass=self._bypass,
            inspector={
                "up": self.inspector is not None,
                "pid": self.inspector.process.pid if self.inspector else None,
                "restarts": self.restarts,
                "stats": self._engine,
                "failure_policy": self.failing,
            },
            watchdog={
                "up": self.watchdog is not None,
                "pid": self.watchdog.process.pid if self.watchdog else None,
                "restarts": self.watchdog_restarts,
            },
            steering={
                "backend": self.applier.network.choice.backend.value,
                "why": self.applier.network.choice.why,
                "repairs": self.repairs,
            },
            connections=self._room.status(),
            spool={
                **self.reader.status(),
                "delivered": delivery.delivered if delivery else 0,
                "failed": self.journal.failed,
            },
            helper=self.follower.status() if self.follower else None,
            manager=manager or (delivery.error if delivery and delivery.error else "connected"),
            missing=self.live.links.missing if self.live else (),
        )

    # The manager.

    async def _talk(self) -> None:
        """Enrol if that was not done, then follow and deliver for ever."""
        # In a thread, for it may take seconds: the inspector is given its policy meanwhile.
        for name in SPEAKING if self.identity else (*SPEAKING, ENROLLING):
            await asyncio.to_thread(import_module, name)
        from appliance.reporting.delivery import Delivery

        config = self.config.manager
        assert config is not None
        with rtnetlink.reach_alarm(None) as alarm, _rung(alarm) as self._network_changed:
            if self.identity is None:
                self.identity = await self._enrol(config)
            await self._unguarded(self.identity.appliance_url)
            if self.client is None:
                self.client = ManagerClient.of(self.identity)
            self.delivery = Delivery(self.reader, self.client, self._lost)
            self._changed.set()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(self.client, self.identity))
                group.create_task(self.delivery.run())

    def _manager_is(self, away: str | None) -> None:
        """Log, once, that the manager is away and why, and that it is back."""
        if away is not None and away != self._away:
            log.warning("%s; tried again until it answers", away)
        elif away is None and self._away is not None:
            log.info("the manager answers again")
        self._away = away

    async def _pause(self, pause_s: float) -> float:
        """Wait before the manager is dialled again; return how long to wait the next time.

        An address or a route that came since the last time ends it: perhaps it was that which was missing.
        """
        try:
            async with asyncio.timeout(pause_s):
                await self._network_changed.wait()
        except TimeoutError:
            return min(pause_s * 2, RETRY_MAX_S)
        self._network_changed.clear()
        return RETRY_FIRST_S

    async def _enrol(self, config: ManagerConfig) -> Identity:
        from appliance.reporting.enrolment import enrol

        pause_s = RETRY_FIRST_S
        while True:
            if (unset := unset_clock()) is not None:
                self._refused(0, unset)
                await asyncio.sleep(RETRY_MAX_S)
                continue
            try:
                await refuse_guarded(config.url, self.inventory)
                identity = await enrol(config, self.config.state / "identity")
            except SystemFault as fault:
                self._manager_is(str(fault))
                pause_s = await self._pause(pause_s)
            except PolicyError as error:
                # Only an operator can help, by a new token or the right fingerprint; it is read again.
                self._refused(0, str(error))
                await asyncio.sleep(ENROL_AGAIN_S)
            else:
                self.error = None
                self.journal.note("enrolled", f"enrolled with the manager as {config.name}", 3)
                return identity

    async def _unguarded(self, url: str) -> None:
        """Wait until the manager is none of our guests."""
        while True:
            try:
                return await refuse_guarded(url, self.inventory)
            except PolicyError as error:
                self._refused(0, str(error))
                await asyncio.sleep(ENROL_AGAIN_S)

    def _lost(self, lane: str, first: int, count: int, why: str) -> None:
        self.journal.note(
            "events-lost",
            f"{count} events of {lane} were lost ({why})",
            1,
            lane=lane,
            first=first,
            count=count,
        )


def run(config: Config, *, keep_rules: bool) -> None:
    """Run the appliance until it is told to stop. Raises PolicyError, SystemFault, OSError at its start."""
    inventory = read_inventory(config)
    run_as = _user(config.inspector.user)
    _prepare(config.state, run_as[1])
    with _only_one(config.state):
        _let_read(config.state, run_as[1])
        store = RuleSetStore(config.state / "rule-sets")
        queues = Queues(config.inspector.first_queue, config.inspector.queues)
        network = Network(config.netns, queues)
        control = Control(
            config=config,
            inventory=inventory,
            journal=Journal(config.spool_dir, config.spool.max_bytes),
            reader=SpoolReader(config.spool_dir),
            applier=Applier(
                Generations(config.state / "live"),
                RuleSetShelf(store, config.state),
                network,
                NeedsReader(config.state),
            ),
            run_as=run_as,
        )
        asyncio.run(control.run(keep_rules=keep_rules))


def _choose_backend(config: Config) -> Choice:
    """Return the back end, asking the kernel. Raises SystemFault."""
    if config.inspector.source == "native":
        return choose_backend(config.netns, None if config.backend == "auto" else Backend(config.backend))
    choice = choose_backend(config.netns, Backend.BR_NETFILTER)
    return Choice(choice.backend, "inspector.source netfilterqueue works with no other")


def _user(name: str) -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise PolicyError(f"inspector.user: there is no user {name!r} on this machine") from None
    if entry.pw_uid == 0:
        raise PolicyError("inspector.user: not root; what parses hostile bytes must have no rights to lose")
    return entry.pw_uid, entry.pw_gid


def _prepare(state: Path, inspector_gid: int) -> None:
    """Make the state directory: policies and a spool that the inspector's group reads.

    New files and directories in them are the group's too, by setgid unless that is our own group; identity
    and audit stay root's. In the spool the inspector writes only its own lanes, which it is given when it
    gives up root.
    """
    os.umask(0o007)
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o711)
    mode = 0o750 if os.getegid() == inspector_gid else 0o2750
    for name in ("live", "rule-sets", SPOOL):
        directory = state / name
        directory.mkdir(exist_ok=True)
        os.chown(directory, 0, inspector_gid)
        directory.chmod(mode)


def _let_read(state: Path, gid: int) -> None:
    """Give the group what is kept for it: another system's has another number. Raises OSError."""
    for kept in (state / "live", state / "rule-sets"):
        for path in kept.rglob("*"):
            if path.lstat().st_gid == gid or path.is_symlink():
                continue
            os.chown(path, 0, gid, follow_symlinks=False)
            path.chmod(stat.S_IMODE(kept.stat().st_mode) if path.is_dir() else 0o640)


@contextlib.contextmanager
def _only_one(state: Path) -> Any:
    """Hold the state directory for this process alone. Raises SystemFault when another has it."""
    (state / "control.lock").touch(mode=0o600)
    with (state / "control.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemFault(f"{state}: another appliance runs with this state directory") from None
        yield


@contextlib.contextmanager
def _rung(alarm: Alarm) -> Iterator[asyncio.Event]:
    """Give an event that is set whenever the alarm rings; clear it before the look."""
    rung = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hear() -> None:
        # Left ringing it would call this at every turn of the loop, for as long as a look takes.
        alarm.hush()
        rung.set()

    loop.add_reader(alarm, hear)
    try:
        yield rung
    finally:
        loop.remove_reader(alarm)


def _panics(stats: Mapping[str, Any]) -> int:
    """Return on how many packets the inspector failed."""
    workers = queues_of(stats) or (stats.get("packets_from") or {}).get("workers") or ()
    return sum(worker.get("panics", 0) for worker in workers)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
