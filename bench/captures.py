"""Makes one long capture out of many."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# scapy reads the formats; a separate program that the product never imports.
from scapy.utils import RawPcapNgReader, RawPcapReader

ETHERNET = 1
# Between two captures the clock jumps further than any flow's timeout of either engine.
GAP_US = 3600 * 10**6
MAX_FRAME = 65535

Frame = tuple[int, bytes]


def large(folder: Path, min_bytes: int) -> list[Path]:
    """Return the captures of at least `min_bytes` below `folder`, by name."""
    found = (path for path in folder.rglob("*.pcap*") if path.is_file())
    return sorted(path for path in found if path.stat().st_size >= min_bytes)


def frames(capture: Path) -> list[Frame] | None:
    """Return (time in µs, frame) of each packet; None where there are other frames than Ethernet's."""
    read: list[Frame] = []
    with RawPcapReader(str(capture)) as reader:
        for frame, meta in reader:
            link, time_us = _link_and_time(reader, meta)
            if link != ETHERNET:
                return None
            read.append((time_us, frame[:MAX_FRAME]))
    return read


def _link_and_time(reader: RawPcapReader, meta: Any) -> tuple[int, int]:
    if isinstance(reader, RawPcapNgReader):
        return meta.linktype, ((meta.tshigh << 32) + meta.tslow) * 10**6 // meta.tsresol
    return reader.linktype, meta.sec * 10**6 + (meta.usec // 1000 if reader.nano else meta.usec)


def merge(captures: list[list[Frame]], times: int, out: Path) -> int:
    """Write `captures` one after the other, all of that `times` times over; return the number of packets.

    Nothing but the clock is changed: each capture begins GAP_US after the one before it, so that its
    connections are new ones although their addresses were seen before.
    """
    count = 0
    clock = 10**9 * 10**6
    with out.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, MAX_FRAME, ETHERNET))
        for packets in captures * times:
            newest = clock
            for time_us, frame in _shifted(packets, clock):
                newest = max(newest, time_us)
                file.write(struct.pack("<IIII", *divmod(time_us, 10**6), len(frame), len(frame)) + frame)
                count += 1
            clock = newest + GAP_US
    return count


def _shifted(packets: list[Frame], clock: int) -> Iterator[Frame]:
    first = min((time_us for time_us, _ in packets), default=0)
    return ((clock + time_us - first, frame) for time_us, frame in packets)
