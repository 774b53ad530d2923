"""Our tables in the kernel: read what is there, and put a batch through `nft`."""

import json
from typing import Any

from appliance.firewall.nft import TABLE, TableState
from appliance.model.faults import SystemFault
from appliance.netns import run_in

FAMILIES = ("bridge", "inet")


def run_batch(netns: str | None, batch: str) -> None:
    """Hand a JSON batch to the kernel; it takes all of it or nothing. Raises SystemFault."""
    run_in(netns, ["nft", "-j", "-f", "-"], batch)


def list_objects(netns: str | None, *what: str) -> list[dict[str, Any]]:
    """Return what `nft -j list …` says, empty if there is no such thing. Raises SystemFault otherwise."""
    try:
        answer = run_in(netns, ["nft", "-j", "list", *what])
    except SystemFault as fault:
        if "No such file or directory" in str(fault):
            return []
        raise
    try:
        objects: list[dict[str, Any]] = json.loads(answer)["nftables"] if answer.strip() else []
    except (ValueError, KeyError) as error:
        raise SystemFault(f"nft list {' '.join(what)}: unreadable answer") from error
    return objects


def read_tables(netns: str | None) -> dict[str, TableState]:
    """Return the names that our tables hold now, by family."""
    present = {
        entry["table"]["family"]
        for entry in list_objects(netns, "tables")
        if "table" in entry and entry["table"]["name"] == TABLE
    }
    return {family: _read_table(netns, family) for family in FAMILIES if family in present}


def _read_table(netns: str | None, family: str) -> TableState:
    objects = list_objects(netns, "table", family, TABLE)

    def names(kind: str) -> frozenset[str]:
        return frozenset(entry[kind]["name"] for entry in objects if kind in entry)

    return TableState(names("chain"), names("set"), names("map"), names("counter"))
