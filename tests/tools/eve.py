"""Compare EVE records of two engines: the keys that one alone writes, and the values that differ."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]
# Numbers that each run makes up, and the packet at which an engine gets round to speaking.
INCIDENTAL = frozenset({"flow_id", "parent_id", "timestamp", "pcap_cnt", "pkt_src", "flow.start", "flow.end"})


def records(eve: Path) -> list[Record]:
    """Return the records of an eve.json; none where there is no such file."""
    if not eve.exists():
        return []
    return [json.loads(line) for line in eve.read_text(errors="replace").splitlines()]


def leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield (dotted key, value) of every leaf; members of a list share the key `name[]`."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, f"{name}[]")
    else:
        yield name, value


def flat(record: Record) -> dict[str, list[object]]:
    """Return the values behind each dotted key."""
    found: dict[str, list[object]] = defaultdict(list)
    for key, value in leaves(record):
        found[key].append(value)
    return found


def identity(record: Record) -> tuple[object, ...]:
    """Return what tells which records of two engines are about the same thing."""
    kind = record["event_type"]
    ends = tuple(record.get(key) for key in ("src_ip", "src_port", "dest_ip", "dest_port", "proto"))
    inner = record.get(kind)
    about: tuple[object, ...] = ()
    if kind in ("alert", "drop"):
        about = (record.get("alert", {}).get("signature_id"), record.get("pcap_cnt"))
    elif kind == "anomaly" and isinstance(inner, Mapping):
        about = (inner.get("event"), record.get("pcap_cnt") if inner.get("type") == "decode" else None)
    elif kind == "fileinfo" and isinstance(inner, Mapping):
        about = (inner.get("filename"), inner.get("tx_id"))
    elif kind == "dns" and isinstance(inner, Mapping):
        about = (inner.get("type"), inner.get("id"), inner.get("rrname"))
    return (kind, *ends, *about)


def differences(ours: Iterable[Record], theirs: Iterable[Record]) -> Counter[tuple[str, str, str]]:
    """Count (event type, key, how) over the records that both have.

    how: `missing` (we lack the key), `extra` (we alone have it), `differs` (another value). Records that one
    engine alone writes count as (type, "", "missing" or "extra").
    """
    pairs: dict[tuple[object, ...], tuple[list[Record], list[Record]]] = defaultdict(lambda: ([], []))
    for side, several in enumerate((ours, theirs)):
        for record in several:
            if record["event_type"] != "stats":
                pairs[identity(record)][side].append(record)
    found: Counter[tuple[str, str, str]] = Counter()
    for (kind, *_), (mine, other) in pairs.items():
        for left, right in zip(mine, other, strict=False):
            found.update((str(kind), key, how) for key, how in unlike(flat(left), flat(right)))
        more = len(mine) - len(other)
        if more:
            found[str(kind), "", "extra" if more > 0 else "missing"] += abs(more)
    return found


def unlike(mine: Mapping[str, object], other: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield (key, how) for every key of two flat records that differs."""
    for key in sorted(mine.keys() | other.keys()):
        if key in INCIDENTAL:
            continue
        if key not in mine:
            yield key, "missing"
        elif key not in other:
            yield key, "extra"
        elif mine[key] != other[key]:
            yield key, "differs"
