"""The spool's reader beside a writer that rotates, tears lines and evicts."""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.reporting.spool import Batch, Gap, SpoolReader, recorded


class Writer:
    """What ARCHITECTURE.md says of a lane, in a few lines: segments of `per_segment` records."""

    def __init__(self, root: Path, lane: str = "inspector-1", per_segment: int = 3) -> None:
        self.lane, self.per_segment, self.number = root / lane, per_segment, 0
        self.lane.mkdir(parents=True, exist_ok=True)
        (root / "epoch").write_text("7e0e2f1c-0000-4000-8000-000000000000\n")
        self.path: Path | None = None

    def append(self, count: int = 1) -> None:
        for _ in range(count):
            if self.path is None or self.number % self.per_segment == 0:
                self.path = self.lane / f"{self.number:020d}.eve"
            with self.path.open("a") as file:
                file.write(json.dumps({"n": self.number}) + "\n")
            self.number += 1

    def segments(self) -> list[Path]:
        return sorted(self.lane.glob("*.eve"))


def drain(reader: SpoolReader, max_events: int = 2) -> Iterator[Batch | Gap]:
    while (found := reader.next(max_events=max_events)) is not None:
        yield found
        reader.advance(found)


def numbers(found: Iterator[Batch | Gap]) -> list[int]:
    delivered: list[int] = []
    for item in found:
        if isinstance(item, Batch):
            got = [json.loads(event)["n"] for event in item.events]
            assert got == list(range(item.first, item.next))
            delivered += got
    return delivered


def test_every_record_comes_once_in_order_and_delivered_segments_go(tmp_path: Path) -> None:
    writer, reader = Writer(tmp_path), SpoolReader(tmp_path)
    writer.append(10)
    assert numbers(drain(reader)) == list(range(10))
    assert len(writer.segments()) == 1, "the newest segment stays: the writer holds it open"
    assert reader.next() is None
    writer.append(3)
    assert numbers(drain(reader)) == [10, 11, 12]


def test_no_spool_yet_is_nothing_to_deliver(tmp_path: Path) -> None:
    assert SpoolReader(tmp_path / "none").next() is None


def test_a_new_reader_goes_on_where_the_last_was_durable(tmp_path: Path) -> None:
    writer, reader = Writer(tmp_path), SpoolReader(tmp_path)
    writer.append(7)
    first = reader.next(max_events=2)
    assert isinstance(first, Batch)
    reader.advance(first)
    not_advanced = reader.next(max_events=2)
    assert SpoolReader(tmp_path).next(max_events=2) == not_advanced
    assert numbers(drain(SpoolReader(tmp_path))) == [2, 3, 4, 5, 6]


def test_severe_lanes_come_first(tmp_path: Path) -> None:
    for lane in ("inspector-4", "control-2", "inspector-1"):
        Writer(tmp_path, lane).append()
    lanes = [found.lane for found in drain(SpoolReader(tmp_path))]
    assert lanes == ["inspector-1", "control-2", "inspector-4"]


@pytest.mark.parametrize("cut", range(1, 9))
def test_torn_last_line_waits_until_it_is_whole(tmp_path: Path, cut: int) -> None:
    writer, reader = Writer(tmp_path), SpoolReader(tmp_path)
    writer.append(2)
    assert writer.path is not None
    whole = writer.path.read_bytes()
    writer.path.write_bytes(whole[:-cut])
    assert numbers(drain(reader)) == [0]
    writer.path.write_bytes(whole)
    assert numbers(drain(reader)) == [1]


def test_eviction_is_one_gap_and_is_counted(tmp_path: Path) -> None:
    writer, reader = Writer(tmp_path), SpoolReader(tmp_path)
    writer.append(11)
    for segment in writer.segments()[:2]:
        segment.unlink()
    found = list(drain(reader))
    assert [(f.first, f.count) for f in found if isinstance(f, Gap)] == [(0, 6)]
    assert numbers(iter(found)) == [6, 7, 8, 9, 10]
    assert SpoolReader(tmp_path).status()["lost"] == 6


def test_eviction_between_delivered_segments_is_a_gap(tmp_path: Path) -> None:
    writer, reader = Writer(tmp_path), SpoolReader(tmp_path)
    writer.append(9)
    writer.segments()[1].unlink()
    found = list(drain(reader))
    assert [(f.first, f.next) for f in found if isinstance(f, Gap)] == [(3, 6)]
    assert numbers(iter(found)) == [0, 1, 2, 6, 7, 8]


def test_record_that_is_no_object_keeps_its_number(tmp_path: Path) -> None:
    writer, reader = Writer(tmp_path), SpoolReader(tmp_path)
    writer.append(1)
    assert writer.path is not None
    with writer.path.open("ab") as file:
        file.write(b"\xff nonsense\n[1]\n")
    found = reader.next()
    assert isinstance(found, Batch)
    kinds = [json.loads(event).get("sekisho", {}).get("notice") for event in found.events]
    assert kinds == [None, "unreadable", "unreadable"]
    assert json.loads(found.body())["first"] == 0


def test_a_new_epoch_begins_anew(tmp_path: Path) -> None:
    writer, reader = Writer(tmp_path), SpoolReader(tmp_path)
    writer.append(5)
    assert numbers(drain(reader)) == list(range(5))
    for segment in writer.segments():
        segment.unlink()
    again = Writer(tmp_path)
    (tmp_path / "epoch").write_text("11111111-0000-4000-8000-000000000000")
    again.append(2)
    assert numbers(drain(reader)) == [0, 1]


@pytest.mark.parametrize("cursor", [b"", b"{", b'{"epoch": 7}', b"\xff", b'{"lanes": {"inspector-1": "x"}}'])
def test_broken_cursor_delivers_again_rather_than_never(tmp_path: Path, cursor: bytes) -> None:
    Writer(tmp_path).append(3)
    (tmp_path / "cursor.json").write_bytes(cursor)
    assert numbers(drain(SpoolReader(tmp_path))) == [0, 1, 2]


def test_batch_is_bounded_in_bytes(tmp_path: Path) -> None:
    writer = Writer(tmp_path, per_segment=100)
    writer.append(100)
    found = SpoolReader(tmp_path).next(max_bytes=50)
    assert isinstance(found, Batch)
    assert 1 <= len(found.events) <= 6


@pytest.mark.parametrize("planted", ["symbolic link", "second name", "pipe", "directory", "endless line"])
def test_what_a_compromised_writer_plants_is_not_read(tmp_path: Path, planted: str) -> None:
    spool = tmp_path / "spool"
    writer, reader = Writer(spool), SpoolReader(spool)
    writer.append(3)
    secret = tmp_path / "secret"
    secret.write_text('{"secret": true}\n')
    path = writer.lane / f"{3:020d}.eve"
    match planted:
        case "symbolic link":
            path.symlink_to(secret)
        case "second name":
            path.hardlink_to(secret)
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "endless line":
            with path.open("wb") as endless:
                endless.truncate(1 << 40)
    assert numbers(drain(reader)) == [0, 1, 2]
    writer.path, writer.number = None, 6
    writer.append(3)
    found = list(drain(reader))
    assert [(f.first, f.next) for f in found if isinstance(f, Gap)] == [(3, 6)]
    assert numbers(iter(found)) == [6, 7, 8]


@given(st.lists(st.sampled_from(["append", "evict", "read", "restart"]), max_size=40), st.integers(0, 99))
def test_every_number_is_delivered_once_or_reported_lost(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], seed: int
) -> None:
    root = tmp_path_factory.mktemp("spool")
    writer, reader, chance = Writer(root), SpoolReader(root), random.Random(seed)
    accounted: list[int] = []

    def take(found: Batch | Gap | None) -> None:
        if found is not None:
            accounted.extend(range(found.first, found.next))
            reader.advance(found)

    for step in [*steps, "append"]:
        match step:
            case "append":
                writer.append(chance.randint(1, 5))
            case "evict" if len(writer.segments()) > 1:
                chance.choice(writer.segments()[:-1]).unlink()
            case "read":
                take(reader.next(max_events=chance.randint(1, 4)))
            case "restart":
                reader = SpoolReader(root)
    while (found := reader.next()) is not None:
        take(found)
    assert accounted == list(range(writer.number))


def test_what_was_delivered_can_be_read_as_long_as_it_is_there(tmp_path: Path) -> None:
    lane = tmp_path / "inspector-1"
    lane.mkdir()
    (lane / f"{0:020d}.eve").write_bytes(b'{"n":0}\n{"n":1}\n')
    (lane / f"{2:020d}.eve").write_bytes(b'{"n":2}\n{"torn"')
    (lane / "other.eve").write_bytes(b"no segment\n")
    (tmp_path / "outside").write_bytes(b'{"secret":1}\n')
    (lane / f"{9:020d}.eve").symlink_to(tmp_path / "outside")
    assert list(recorded(tmp_path)) == [b'{"n":0}\n', b'{"n":1}\n', b'{"n":2}\n']
