"""The watchdog: `python -m appliance.watchdog SETTINGS`, SETTINGS being WatchdogSettings as JSON.

Started by control in the bridge's network namespace, as a process of its own: it must decide while the
inspector hangs, and while control is busy, hung or stopped.

    starting  not all workers have been heard: the kernel does what it does without listener
    watching  every worker says every 100 ms that it lives
    failing   one was silent too long, or the process ended: the failure policy decides instead of the queue,
              then the process is killed, and control starts another; watching again once its workers all live

First the switch, then the kill: to close a queue costs the packets in it, and a process can be beyond
killing. Nothing waits for the watchdog: workers speak to a socket that may be full or closed, and when it
starts, as when it ended, the switch is off.

The switch goes with the table it is in, when somebody takes our rules away (`nft flush ruleset`); control
puts the table back with the switch off. So as long as the failure policy decides, whatever changes nftables
has us look whether it is on.
"""

import contextlib
import os
import select
import signal
import socket
import struct
import sys
import time

import msgspec

from appliance import netlink
from appliance.firewall import kernel
from appliance.firewall.nft import Family
from appliance.model.faults import SystemFault
from appliance.process import die_with_parent
from appliance.steering.failure import failure_policy_decides, switch_to_failure_policy

SILENT_MAX_S = 0.7
"""A worker is given up after this long; with the look-round and the switch that stays within a second."""
STARTING_MAX_S = 3.0
"""The same for one that has not begun yet: rights are given up and threads started, on a busy machine."""
ROUND_S = 0.1
"""As often as workers speak; the end of the process is seen at once."""
LATE_S = 0.1
"""A round that took this much longer than it should says that the machine is busy, not the worker."""
ALIVE_EVERY_S = 1.0
PAUSE_AFTER_FAULT_S = 0.2
MAX_HEARD = 1_000
"""In one round: who speaks parses hostile bytes, and must not be able to talk us to death."""
CREDENTIALS = struct.Struct("3i")


class WatchdogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """heart: descriptor that workers are heard on. family: where the switch is, `inet` or `bridge`.

    inspector, workers: the one that runs already, if any.
    """

    heart: int
    parent_pid: int
    family: Family
    inspector: int | None = None
    workers: int = 0


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What it tells control, one JSON object a line.

    alive: nothing new. failing: the failure policy decides. restored: the inspector does again. fault: the
    kernel refused. worker: None when the process ended. silent_ms: how long it had been.
    """

    did: str
    pid: int | None = None
    worker: int | None = None
    silent_ms: int | None = None
    why: str | None = None


class Worker(msgspec.Struct):
    """When it was heard last (monotonic seconds), and how often."""

    heard_s: float
    beats: int = 0

    @property
    def has_begun(self) -> bool:
        """Whether it was heard itself: the first sign is the announcement, before the queues are bound."""
        return self.beats > 1


class Inspector(msgspec.Struct):
    """The process whose workers are heard; a later one takes its place."""

    pid: int
    pidfd: int
    count: int = 0
    killed: bool = False
    workers: dict[int, Worker] = msgspec.field(default_factory=dict)

    def hear(self, worker: int, count: int, now_s: float) -> None:
        """Take a sign of life; with count 0 it is the worker's farewell."""
        if count == 0:
            self.workers.pop(worker, None)
            return
        self.count = count
        heard = self.workers.setdefault(worker, Worker(now_s))
        heard.heard_s = now_s
        heard.beats += 1

    def lives(self) -> bool:
        """Whether every worker has begun."""
        return 0 < self.count == sum(worker.has_begun for worker in self.workers.values())

    def silent(self, now_s: float) -> tuple[int, float] | None:
        """Return the worker that was silent too long, and for how long (seconds), if any."""
        for number, worker in self.workers.items():
            silent_s = now_s - worker.heard_s
            if silent_s > (SILENT_MAX_S if worker.has_begun else STARTING_MAX_S):
                return number, silent_s
        return None

    def excuse(self, late_s: float, now_s: float) -> None:
        """Do not count a time in which we did not run either; who was heard after it is owed nothing."""
        for worker in self.workers.values():
            worker.heard_s = min(worker.heard_s + late_s, now_s)

    def ended(self) -> bool:
        """Whether the process is gone."""
        return bool(select.select([self.pidfd], [], [], 0)[0])

    def kill(self) -> None:
        """End it at once; it may take its time, or be beyond it."""
        self.killed = True
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)


class Watchdog(msgspec.Struct):
    """One run. Every step is called with the time, monotonic seconds.

    failing: the failure policy is to decide, whatever became of the switch.
    """

    heart: socket.socket
    family: Family
    inspector: Inspector | None = None
    failing: bool = False
    _told_s: float = 0.0

    def run(self) -> None:
        """Watch for ever. Raises SystemFault when the kernel tells nobody of its rules' changes."""
        self._switch(on=False)
        with kernel.alarm(None) as alarm:
            self._watch(alarm)

    def _watch(self, alarm: netlink.Alarm) -> None:
        before_s = time.monotonic()
        while True:
            awaited = [self._waits_for(), alarm.fileno()]
            changed = alarm.fileno() in select.select(awaited, [], [], ROUND_S)[0]
            now_s = time.monotonic()
            late_s = now_s - before_s - ROUND_S
            if changed:
                alarm.hush()  # before the look: what comes after it rings again
                self.put_back()
            self.listen(now_s)
            if self.inspector is not None:
                if late_s > LATE_S:
                    self.inspector.excuse(late_s, now_s)
                self.judge(now_s)
            if now_s - self._told_s >= ALIVE_EVERY_S:
                self._tell(Report("alive"))
                self._told_s = now_s
            before_s = now_s

    def _waits_for(self) -> int:
        """Return the descriptor worth waking up for: while all is well the end alone, and no sign of life."""
        if self.inspector is None or self.failing or not self.inspector.lives():
            return self.heart.fileno()
        return self.inspector.pidfd

    def listen(self, now_s: float) -> None:
        """Take the signs of life that have arrived."""
        for pid, worker, count in _heard(self.heart):
            if self.inspector is None or self.inspector.pid != pid:
                self.watch(pid)
            if self.inspector is not None and self.inspector.pid == pid:
                self.inspector.hear(worker, count, now_s)

    def watch(self, pid: int) -> None:
        """Watch this process from now on; one that ended meanwhile is not worth it."""
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            if self.inspector is not None:
                os.close(self.inspector.pidfd)
            self.inspector = Inspector(pid, descriptor)

    def judge(self, now_s: float) -> None:
        """Decide on the inspector that is watched."""
        inspector = self.inspector
        assert inspector is not None
        if inspector.ended():
            # Workers that said farewell ended as they were told to.
            if self.failing:
                self.put_back()
            elif inspector.workers:
                self._fail(Report("failing", inspector.pid, why="it ended"))
            os.close(inspector.pidfd)
            self.inspector = None
        elif inspector.killed:
            return
        elif (silent := inspector.silent(now_s)) is not None:
            number, silent_s = silent
            report = Report("failing", inspector.pid, number, round(silent_s * 1000), "a worker hangs")
            self._fail(report)
            # Whatever became of the switch: without listener the kernel knows what to do.
            inspector.kill()
        elif self.failing and inspector.lives() and self._switch(on=False):
            self.failing = False
            self._tell(Report("restored", inspector.pid))

    def put_back(self) -> None:
        """Switch again if the failure policy is to decide and the switch went with its table."""
        if not self.failing:
            return
        try:
            decides = failure_policy_decides(None, self.family)
        except SystemFault as fault:
            self._tell(Report("fault", why=str(fault)))
            return
        if decides is False:  # without the table there is nothing to switch until it is back, which rings
            self._switch(on=True)

    def _fail(self, report: Report) -> None:
        self.failing = True
        self._switch(on=True)
        self._tell(report)

    def _switch(self, *, on: bool) -> bool:
        try:
            switch_to_failure_policy(None, self.family, on=on)
        except SystemFault as fault:
            self._tell(Report("fault", why=str(fault)))
            time.sleep(PAUSE_AFTER_FAULT_S)
            return False
        return True

    def _tell(self, report: Report) -> None:
        # Control may be hung itself, and its pipe full.
        with contextlib.suppress(OSError):
            os.write(sys.stdout.fileno(), msgspec.json.encode(report) + b"\n")


def _heard(heart: socket.socket) -> list[tuple[int, int, int]]:
    """Return (pid, worker, count of workers) of what arrived; the pid is the kernel's word."""
    heard = []
    with contextlib.suppress(BlockingIOError):
        for _ in range(MAX_HEARD):
            message, ancillary, _, _ = heart.recvmsg(16, socket.CMSG_SPACE(CREDENTIALS.size))
            pid = _sender(ancillary)
            if len(message) == 2 and pid:
                heard.append((pid, message[0], message[1]))
    return heard


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and len(data) >= CREDENTIALS.size:
            pid: int = CREDENTIALS.unpack_from(data)[0]
            return pid
    return 0


def main(arguments: list[str]) -> None:
    """Run the watchdog until control ends it or ends."""
    settings = msgspec.json.decode(arguments[0], type=WatchdogSettings)
    die_with_parent(settings.parent_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_blocking(sys.stdout.fileno(), False)
    heart = socket.socket(fileno=settings.heart)
    heart.setblocking(False)
    _heard(heart)  # what was said while nobody listened is old
    watchdog = Watchdog(heart, settings.family)
    if settings.inspector is not None:
        _expect(watchdog, settings.inspector, settings.workers)
    watchdog.run()


def _expect(watchdog: Watchdog, pid: int, workers: int) -> None:
    """Watch one that runs already: it may hang since before we began, and never be heard."""
    watchdog.watch(pid)
    if watchdog.inspector is not None:
        for worker in (*range(workers), *range(workers)):
            watchdog.inspector.hear(worker, workers, time.monotonic())


if __name__ == "__main__":
    main(sys.argv[1:])
