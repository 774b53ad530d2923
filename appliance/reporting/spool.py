"""The reading side of the spool (ARCHITECTURE.md, "The spool").

Writers append lines and may at any moment cut a torn last line, begin a new segment file or remove an old
one. The reader therefore lists a lane before it reads: when a later segment was listed, the earlier one was
complete by then. A number that is not there although a later one is was evicted; the reader reports such a
gap before it goes on, so that a loss is announced and never silent.

The inspector, which parses hostile bytes, writes lanes of its own, and whoever reads them may be root: what
is not a plain file of one name is not read, and no line or file is taken for shorter than it is.
"""

import contextlib
import logging
import os
import re
import stat
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import msgspec

from appliance.durable import replace_file

log = logging.getLogger("sekisho")

LANE = re.compile(r"(?P<writer>[A-Za-z0-9._-]{1,48})-(?P<severity>[1-4])")
SEGMENT = re.compile(r"[0-9]{20}\.eve")
EPOCH = re.compile(r"[0-9A-Fa-f-]{1,64}")
MAX_EVENTS = 500
MAX_BYTES = 1024 * 1024
MAX_LINE_BYTES = 256 * 1024
# Writers' own bound is 4 MiB and one line.
MAX_SEGMENT_BYTES = 16 * 1024 * 1024
MAX_RECORDED_SEGMENTS = 16


class Batch(msgspec.Struct, frozen=True):
    """Records first, first+1, … of a lane, each one JSON object as written."""

    epoch: str
    lane: str
    first: int
    events: tuple[bytes, ...]

    @property
    def next(self) -> int:
        """The number after the last record."""
        return self.first + len(self.events)

    def body(self) -> bytes:
        """Return the JSON body that `POST /appliance/events` takes."""
        head = msgspec.json.encode({"epoch": self.epoch, "lane": self.lane, "first": self.first})
        return head[:-1] + b',"events":[' + b",".join(self.events) + b"]}"


class Gap(msgspec.Struct, frozen=True):
    """Records first … next-1 of a lane, which were evicted before they were delivered."""

    epoch: str
    lane: str
    first: int
    next: int

    @property
    def count(self) -> int:
        """How many were lost."""
        return self.next - self.first


class _Cursor(msgspec.Struct):
    epoch: str | None = None
    lanes: dict[str, int] = {}
    lost: int = 0


class _Place(msgspec.Struct):
    """Where in a segment a record begins, so that a lane is not read from its start for each batch."""

    segment: int
    number: int
    offset: int


class SpoolReader(msgspec.Struct):
    """Reads what was not delivered yet, most severe lanes first; `advance` makes delivery durable."""

    root: Path
    _cursor: _Cursor = msgspec.field(default_factory=_Cursor)
    _places: dict[str, _Place] = msgspec.field(default_factory=dict)
    _told: set[str] = msgspec.field(default_factory=set)

    def __post_init__(self) -> None:
        """Read the cursor; a torn or foreign one counts as none: events go twice rather than never."""
        try:
            self._cursor = msgspec.json.decode(self._cursor_path.read_bytes(), type=_Cursor)
        except (OSError, msgspec.MsgspecError):
            self._cursor = _Cursor()

    def next(self, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES) -> Batch | Gap | None:
        """Return what comes next, or None when all is delivered. Raises OSError."""
        epoch = self._epoch()
        if epoch is None:
            return None
        if epoch != self._cursor.epoch:
            self._cursor = _Cursor(epoch, {}, self._cursor.lost)
            self._places.clear()
        for lane in self._lanes():
            found = self._next_of(epoch, lane, max_events, max_bytes)
            if found is not None:
                return found
        return None

    def advance(self, done: Batch | Gap) -> None:
        """Remember durably that this is dealt with, and delete segments that hold nothing else.

        Raises OSError.
        """
        if done.epoch != self._cursor.epoch:
            return
        self._cursor.lanes[done.lane] = done.next
        if isinstance(done, Gap):
            self._cursor.lost += done.count
        replace_file(self._cursor_path, msgspec.json.encode(self._cursor), mode=0o600)
        self._delete_delivered(done.lane, done.next)

    def status(self) -> Mapping[str, int]:
        """Return bytes on disk, bytes of them that wait, and events lost to eviction so far."""
        total = waiting = 0
        for lane in self._lanes():
            next_number = self._cursor.lanes.get(lane, 0)
            segments = self._segments(lane)
            current = bisect_right(segments, next_number) - 1
            for index, first in enumerate(segments):
                size = _size(self._path(lane, first))
                total += size
                if index > current:
                    waiting += size
                elif index == current:
                    waiting += max(0, size - self._offset_of(lane, first, next_number))
        return {"bytes": total, "waiting_bytes": waiting, "lost": self._cursor.lost}

    @property
    def _cursor_path(self) -> Path:
        return self.root / "cursor.json"

    def _epoch(self) -> str | None:
        try:
            text = (self.root / "epoch").read_text("ascii", errors="replace").strip()
        except FileNotFoundError:
            return None
        return text if EPOCH.fullmatch(text) else None

    def _lanes(self) -> list[str]:
        try:
            with os.scandir(self.root) as entries:
                names = [each.name for each in entries if LANE.fullmatch(each.name) and each.is_dir()]
        except FileNotFoundError:
            return []
        return sorted(names, key=lambda name: (name[-1], name))

    def _segments(self, lane: str) -> list[int]:
        """Return the first numbers of a lane's segments, in order."""
        try:
            with os.scandir(self.root / lane) as entries:
                names = [each.name for each in entries]
        except FileNotFoundError:
            return []
        return sorted(int(name[:20]) for name in names if SEGMENT.fullmatch(name))

    def _path(self, lane: str, first: int) -> Path:
        return self.root / lane / f"{first:020d}.eve"

    def _next_of(self, epoch: str, lane: str, max_events: int, max_bytes: int) -> Batch | Gap | None:
        number = self._cursor.lanes.get(lane, 0)
        segments = self._segments(lane)
        if not segments:
            return None
        index = bisect_right(segments, number) - 1
        if index < 0:
            return Gap(epoch, lane, number, segments[0])
        events = self._read(lane, segments[index], number, max_events, max_bytes)
        if events:
            return Batch(epoch, lane, number, events)
        if index + 1 < len(segments):
            return Gap(epoch, lane, number, segments[index + 1])
        return None

    def _read(self, lane: str, first: int, number: int, max_events: int, max_bytes: int) -> tuple[bytes, ...]:
        """Return records from `number` on out of the segment that begins with `first`."""
        place = self._places.get(lane)
        if place is None or place.segment != first or place.number > number:
            place = _Place(first, first, 0)
        elif place.number == number and place.offset == _size(self._path(lane, first)):
            return ()  # nothing new, which is so at most looks
        events: list[bytes] = []
        taken = 0
        try:
            with _open_plain(self._path(lane, first)) as file:
                file.seek(place.offset)
                for line in _whole_lines(file.readline, MAX_SEGMENT_BYTES - place.offset):
                    if place.number < number:
                        place = _Place(first, place.number + 1, place.offset + len(line))
                        continue
                    if len(events) == max_events or (events and taken + len(line) > max_bytes):
                        break
                    events.append(_event(line))
                    taken += len(events[-1])
        except FileNotFoundError:  # evicted between listing and opening; the next look reports the gap
            return ()
        except _NotPlain as error:
            if str(error) not in self._told:
                log.error("spool: %s", error)
                self._told.add(str(error))
            return ()
        self._places[lane] = place
        return tuple(events)

    def _offset_of(self, lane: str, first: int, number: int) -> int:
        place = self._places.get(lane)
        return place.offset if place and place.segment == first and place.number <= number else 0

    def _delete_delivered(self, lane: str, number: int) -> None:
        segments = self._segments(lane)
        for first, following in pairwise(segments):
            if following <= number:
                with contextlib.suppress(IsADirectoryError):
                    self._path(lane, first).unlink(missing_ok=True)


def recorded(root: Path) -> Iterator[bytes]:
    """Yield every record that is still on disk, delivered or not, lane by lane, each as written.

    At most the newest 64 MiB of a lane. Raises OSError.
    """
    lanes = sorted(path for path in root.glob("*-[1-4]") if path.is_dir() and LANE.fullmatch(path.name))
    for lane in lanes:
        segments = sorted(path for path in lane.glob("*.eve") if SEGMENT.fullmatch(path.name))
        for segment in segments[-MAX_RECORDED_SEGMENTS:]:
            with contextlib.suppress(FileNotFoundError, _NotPlain), _open_plain(segment) as file:
                yield from _whole_lines(file.readline, MAX_SEGMENT_BYTES)


class _NotPlain(Exception):
    """What lies in a lane under a segment's name is not what a writer makes."""


def _open_plain(path: Path) -> BinaryIO:
    """Open a segment. Raises _NotPlain for a link, a second name, a pipe, a device; FileNotFoundError."""
    try:
        # Not blocking: opening a pipe that nobody writes would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _NotPlain(f"{path} is not read: {error.strerror}") from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        raise _NotPlain(f"{path} is not read: no plain file of one name")
    return os.fdopen(descriptor, "rb")


def _whole_lines(readline: Callable[[int], bytes], budget: int) -> Iterator[bytes]:
    """Yield whole lines from at most so many bytes."""
    while budget > 0 and (line := readline(budget)).endswith(b"\n"):
        budget -= len(line)
        yield line


def _event(line: bytes) -> bytes:
    """Return the record; one that is no JSON object is replaced, so that numbers keep their place."""
    line = line.rstrip(b"\r\n")
    try:
        if len(line) <= MAX_LINE_BYTES and isinstance(msgspec.json.decode(line), dict):
            return line
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    start = line[:200].decode("ascii", errors="replace")
    return msgspec.json.encode(
        {
            "event_type": "engine",
            "engine": {"message": "a record of the spool could not be read"},
            "sekisho": {"notice": "unreadable", "bytes": len(line), "start": start},
        }
    )


def _size(path: Path) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0
