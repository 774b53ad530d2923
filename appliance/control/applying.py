"""Makes a policy live: rule sets, inspector, kernel, in an order that never leaves half of one.

    collect the rule sets → write the generation → the inspector compiles, tries and swaps, and tells what it
    looks at → the kernel's rules switch in one transaction → `current` names the generation

A refusal before the inspector swapped leaves everything as it was. If the kernel refuses after that, the
inspector is given the former generation back.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from appliance.control.engine_policy import render_engine_policy
from appliance.control.generations import Generations
from appliance.control.network import Network
from appliance.control.policies import RuleSetShelf, RuleSetSource
from appliance.model.faults import PolicyError, SystemFault
from appliance.model.guest import GuestInventory
from appliance.model.links import Links
from appliance.model.needs import Needs, needs_from
from appliance.model.policy import PolicyDocument
from appliance.reporting.client import SignedPolicy
from appliance.rulesets import NeedsReader


class Loader(Protocol):
    """The inspector, when it runs."""

    async def load(self, path: Path, *, try_first: bool) -> dict[str, Any]: ...


class Live(msgspec.Struct, frozen=True):
    """A policy that is live, with its guests and ports.

    signed: None before a manager gave one. tried: an inspector tried it, now or when it went live first.
    """

    document: PolicyDocument
    signed: SignedPolicy | None
    inventory: GuestInventory
    links: Links
    needs: Mapping[str, Needs]
    engine_policy: Path
    generation: int
    tried: bool


class Applier(msgspec.Struct):
    """Knows the parts that a policy passes through.

    before: the last live policy of another version; its rule sets stay on the disk.
    """

    generations: Generations
    shelf: RuleSetShelf
    network: Network
    needs: NeedsReader
    before: Live | None = None
    _last: int = 0

    async def apply(
        self,
        document: PolicyDocument,
        signed: SignedPolicy | None,
        inventory: GuestInventory,
        inspector: Loader | None,
        source: RuleSetSource | None,
        former: Live | None,
    ) -> Live:
        """Make the policy live and return it. Raises PolicyError, SystemFault, OSError; former stays live.

        inspector: None while it is down; it loads the live generation when it comes back.
        """
        links = await asyncio.to_thread(self.network.links, inventory)
        rule_sets = await self.shelf.collect(document, source)
        # Never a number twice, not even a refused one's: the engine tells policies apart by it.
        generation = self._last = max(self.generations.next_number(), self._last + 1)
        engine_policy = render_engine_policy(document, inventory, links, rule_sets, generation)
        path = await asyncio.to_thread(self.generations.write, generation, signed, engine_policy)
        try:
            needs = await self._load(inspector, path, engine_policy)
            try:
                await asyncio.to_thread(self.network.apply, document, inventory, links, needs, generation)
            except (PolicyError, SystemFault):
                await self._give_back(inspector, former)
                raise
        except (PolicyError, SystemFault):
            self.generations.discard(generation)
            raise
        await asyncio.to_thread(self.generations.make_current, generation)
        if former is not None and former.document.version != document.version:
            self.before = former
        kept = (document,) if self.before is None else (document, self.before.document)
        await asyncio.to_thread(self.shelf.keep_only, *kept)
        # What was live when control started was tried when it went live.
        tried = inspector is not None or former is None
        return Live(document, signed, inventory, links, needs, path, generation, tried)

    async def _load(
        self, inspector: Loader | None, path: Path, engine_policy: Mapping[str, Any]
    ) -> Mapping[str, Needs]:
        """Have the inspector load it; return what must be looked at, read here while there is none."""
        if inspector is None:
            return await asyncio.to_thread(self.needs.read, engine_policy)
        report = await inspector.load(path, try_first=True)
        try:
            return needs_from(report.get("needs"))
        except ValueError as error:
            raise SystemFault(f"inspector: load: {error}") from None

    async def _give_back(self, inspector: Loader | None, former: Live | None) -> None:
        if inspector is None or former is None:
            return
        with contextlib.suppress(SystemFault):  # it died: it loads the live generation when it is back
            await inspector.load(former.engine_policy, try_first=False)
