"""Our tables in the kernel: read what is there, and put a batch through `nft`.

What is asked every second (counters, whether anything changed, whether a set is empty) is asked over netlink;
source: include/uapi/linux/netfilter/nf_tables.h.
"""

import struct
from collections.abc import Iterator, Sequence

from appliance import netlink
from appliance.firewall.nft import REMEMBERING, TABLE, Family, TableState
from appliance.model.faults import SystemFault
from appliance.netns import list_objects, run_in

FAMILIES: tuple[Family, ...] = ("bridge", "inet")
NFPROTO: dict[Family, int] = {"inet": 1, "bridge": 7}
NFNLGRP_NFTABLES = 7
NFTABLES = 10 << 8
GETTABLE, GETSETELEM, GETGEN, GETOBJ = (NFTABLES | number for number in (1, 13, 16, 19))
TABLE_NAME = 1
GEN_ID = 1
ELEM_LIST_TABLE, ELEM_LIST_SET, ELEM_LIST_ELEMENTS = 1, 2, 3
OBJ_TABLE, OBJ_NAME, OBJ_TYPE, OBJ_DATA = 1, 2, 3, 4
OBJECT_COUNTER = (1).to_bytes(4, "big")
COUNTER_BYTES, COUNTER_PACKETS = 1, 2
NFGENMSG = struct.Struct(">BBH")


def run_batch(netns: str | None, batch: str) -> int | None:
    """Hand a JSON batch to the kernel; it takes all of it or nothing. Raises SystemFault.

    Returns the generation that it made; None if somebody else changed something at the same moment.
    """
    before = generation(netns)
    run_in(netns, ["nft", "-j", "-f", "-"], batch)
    after = generation(netns)
    return after if after == before + 1 else None


def read_tables(netns: str | None) -> dict[str, TableState]:
    """Return the names that our tables hold now, by family."""
    return {family: _read_table(netns, family) for family in families(netns)}


def families(netns: str | None) -> tuple[Family, ...]:
    """Return where a table of ours is. Raises SystemFault."""
    said = netlink.ask(netns, netlink.NETFILTER, GETTABLE, NFGENMSG.pack(0, 0, 0), flags=netlink.DUMP)
    present = {
        each[0] for each in said if netlink.attributes(each[NFGENMSG.size :])[TABLE_NAME] == _text(TABLE)
    }
    return tuple(family for family in FAMILIES if NFPROTO[family] in present)


def _read_table(netns: str | None, family: str) -> TableState:
    objects = list_objects(netns, "table", family, TABLE)

    def names(kind: str) -> frozenset[str]:
        return frozenset(entry[kind]["name"] for entry in objects if kind in entry)

    sets = [entry["set"] for entry in objects if "set" in entry]
    intervals = {each["name"]: each.get("elem", ()) for each in sets if "interval" in each.get("flags", ())}
    remembered = {each["name"]: each.get("elem", ()) for each in sets if each["name"] in REMEMBERING}
    return TableState(names("chain"), names("set"), names("map"), names("counter"), intervals, remembered)


def alarm(netns: str | None) -> netlink.Alarm:
    """Return what says that somebody, perhaps we, changed the namespace's nftables."""
    return netlink.Alarm(netns, netlink.NETFILTER, NFNLGRP_NFTABLES)


def generation(netns: str | None) -> int:
    """Return the number of nftables' rules in the namespace: every change has another. Raises SystemFault."""
    for said in _ask(netns, GETGEN, 0):
        return int.from_bytes(said[GEN_ID], "big")
    raise SystemFault("nftables: the kernel does not know the generation")


def read_counters(netns: str | None, family: Family) -> Iterator[tuple[str, int, int]]:
    """Yield name, packets and bytes of our table's counters. Raises SystemFault."""
    wanted = ((OBJ_TABLE, _text(TABLE)), (OBJ_TYPE, OBJECT_COUNTER))
    for counter in _ask(netns, GETOBJ, NFPROTO[family], wanted):
        counted = netlink.attributes(counter[OBJ_DATA])
        packets, count = (int.from_bytes(counted[key], "big") for key in (COUNTER_PACKETS, COUNTER_BYTES))
        yield bytes(counter[OBJ_NAME][:-1]).decode(), packets, count


def is_empty(netns: str | None, family: Family, name: str) -> bool:
    """Say whether a set of ours has no element; one that is not there has none. Raises SystemFault."""
    wanted = ((ELEM_LIST_TABLE, _text(TABLE)), (ELEM_LIST_SET, _text(name)))
    return not any(said.get(ELEM_LIST_ELEMENTS) for said in _ask(netns, GETSETELEM, NFPROTO[family], wanted))


def _ask(
    netns: str | None, kind: int, family: int, wanted: Sequence[tuple[int, bytes]] = ()
) -> Iterator[dict[int, memoryview]]:
    """Yield the attributes of each thing that is as wanted. Raises SystemFault."""
    body = NFGENMSG.pack(family, 0, 0) + b"".join(netlink.attribute(*each) for each in wanted)
    flags = 0 if kind == GETGEN else netlink.DUMP
    for said in netlink.ask(netns, netlink.NETFILTER, kind, body, flags=flags):
        yield netlink.attributes(said[NFGENMSG.size :])


def _text(name: str) -> bytes:
    return name.encode() + b"\0"
