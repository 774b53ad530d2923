"""Captures put one after the other."""

from pathlib import Path

from bench import captures


def test_merged_captures_keep_their_frames_and_their_own_pace(tmp_path: Path) -> None:
    out = tmp_path / "merged.pcap"
    first = [(5_000_000, b"a" * 60), (5_000_250, b"b" * 60)]
    second = [(77, b"c" * 60)]
    assert captures.merge([first, second], 2, out) == 6
    read = captures.frames(out)
    assert read is not None
    assert [frame[:1] for _, frame in read] == [b"a", b"b", b"c"] * 2
    starts = [time_us for time_us, _ in read]
    assert starts[1] - starts[0] == 250
    assert starts[2] - starts[1] == captures.GAP_US
    assert starts == sorted(starts)


def test_only_large_captures_are_chosen(tmp_path: Path) -> None:
    (tmp_path / "b.pcap").write_bytes(b"x" * 100)
    (tmp_path / "a.pcapng").write_bytes(b"x" * 100)
    (tmp_path / "small.pcap").write_bytes(b"x" * 99)
    assert [path.name for path in captures.large(tmp_path, 100)] == ["a.pcapng", "b.pcap"]
