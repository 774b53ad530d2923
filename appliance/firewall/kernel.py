"""Our tables in the kernel: read what is there, and put a batch through `nft`."""

from appliance.firewall.generation import generation
from appliance.firewall.nft import TABLE, TableState
from appliance.netns import list_objects, run_in

FAMILIES = ("bridge", "inet")


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
