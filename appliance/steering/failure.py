"""The failure policy for an inspector that is there and does not answer: in the kernel, one switch away.

A hung inspector keeps its queues, so the kernel would let packets wait for it for ever. The chain `queued`,
through which goes whatever is marked for a queue, holds what each segment's policy says; it does nothing
while the set `hung` is empty. To switch is to put one element into that set: no rule is made when something
is wrong, and a policy that is applied meanwhile leaves the switch as it is.
"""

import json
from collections.abc import Iterator

from appliance.firewall import nft
from appliance.firewall.kernel import run_batch
from appliance.firewall.nft import ACCEPT, TABLE, Chain, Family, Set
from appliance.firewall.rules import MARK
from appliance.model.guest import GuestInventory
from appliance.model.marks import QUEUED
from appliance.netns import list_objects
from appliance.steering.dialect import Dialect


def failure_sets(inventory: GuestInventory) -> Iterator[Set]:
    """Yield the switch, and the bridges that pass traffic while nothing inspects it."""
    open_bridges = [s.bridge for s in inventory.segments if s.failure.inspector_down == "open"]
    yield Set("hung", "mark", learned=True)
    yield Set("open_bridges", "ifname", tuple(open_bridges))


def failure_chain(dialect: Dialect, queued: str, passed: str, blocked: str) -> Chain:
    """Return the chain `queued`; its packets go to the chain `passed` or `blocked` while the switch is on."""
    return Chain(
        queued,
        (
            # The set holds the bit QUEUED itself or nothing.
            (nft.unequal(nft.masked(MARK, QUEUED), "@hung"), ACCEPT),
            (nft.match(dialect.bridge, "@open_bridges"), nft.goto(passed)),
            (nft.goto(blocked),),
        ),
    )


def switch_to_failure_policy(netns: str | None, family: Family, *, on: bool) -> None:
    """Let the failure policy decide in the inspector's place, or the inspector again. Raises SystemFault.

    family: where the chains are, the dialect's.
    """
    where = {"family": family, "table": TABLE, "name": "hung"}
    switch = {"add": {"element": {**where, "elem": [QUEUED]}}} if on else {"flush": {"set": where}}
    run_batch(netns, json.dumps({"nftables": [switch]}))


def failure_policy_decides(netns: str | None, family: Family) -> bool | None:
    """Return whether the switch is on; None where our table is not there. Raises SystemFault."""
    for entry in list_objects(netns, "set", family, TABLE, "hung"):
        if "set" in entry:
            return bool(entry["set"].get("elem"))
    return None
