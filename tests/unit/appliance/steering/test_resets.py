"""Frames of resets are what another implementation takes for them; what they do is tests/netns's."""

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from appliance.steering import resets

MACS = bytes.fromhex("02000000000a"), bytes.fromhex("02000000000b")
KEYS = {IP: ("10.0.0.1", 1234, "10.0.0.2", 80), IPv6: ("fd00::1", 1234, "fd00::2", 80)}


@pytest.mark.parametrize("version", KEYS)
def test_a_frame_that_is_made_has_right_checksums_and_says_what_it_was_told(version: type[Packet]) -> None:
    key = KEYS[version]
    frame = resets._frame(*MACS, key, 0xFFFF1234, resets.RST)
    read = Ether(frame)
    assert (read.src, read.dst) == ("02:00:00:00:00:0a", "02:00:00:00:00:0b")
    assert (read[version].src, read.sport, read[version].dst, read.dport) == key
    assert (read.seq, int(read[TCP].flags)) == (0xFFFF1234, resets.RST)
    again = Ether(frame)
    for layer in (again[version], again[TCP]):
        if hasattr(layer, "chksum"):
            del layer.chksum
    assert bytes(again) == frame


@pytest.mark.parametrize("version", KEYS)
@pytest.mark.parametrize(("flags", "payload", "after"), [("A", b"", 0), ("PA", b"four", 4), ("FA", b"", 1)])
def test_a_segment_says_the_number_after_it_padded_or_not(
    version: type[Packet], flags: str, payload: bytes, after: int
) -> None:
    source, sport, destination, dport = KEYS[version]
    network = version(src=source, dst=destination)
    segment = TCP(sport=sport, dport=dport, seq=(1 << 32) - 1, ack=77, flags=flags, options=[("NOP", None)])
    frame = bytes(Ether(dst="02:00:00:00:00:0b") / network / segment / Raw(payload))
    for padded in (frame, frame.ljust(90, b"\0")):
        read = resets._segment(padded)
        assert read is not None and read.tells
        assert (read.key, read.to_mac, read.ack) == (KEYS[version], MACS[1], 77)
        assert read.next_seq == ((1 << 32) - 1 + after) % (1 << 32)


@pytest.mark.parametrize("frame", [b"", b"\0" * 14, MACS[0] + MACS[1] + b"\x08\x00E" + b"\0" * 8 + b"\x06\0"])
def test_what_is_no_segment_or_is_cut_short_is_none(frame: bytes) -> None:
    assert resets._segment(frame) is None
