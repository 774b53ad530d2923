"""From a policy as the manager publishes it to rule sets on this disk, all of them or none."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from appliance.control.engine_policy import RuleSetFiles, filtered_rule_sets
from appliance.model.faults import PolicyError
from appliance.model.policy import PolicyDocument, RuleSetRef
from appliance.rulesets import CheckReport, check_files
from appliance.rulesets.store import RuleSetError, RuleSetStore


class RuleSetSource(Protocol):
    """Where a rule set that is not on disk yet comes from."""

    async def rule_set(self, digest: str) -> bytes: ...


class RuleSetShelf(msgspec.Struct):
    """The rule sets of a policy, fetched where missing and checked once.

    state: the state directory, which the paths that the inspector is given are relative to.
    """

    store: RuleSetStore
    state: Path
    _reports: dict[str, CheckReport] = msgspec.field(default_factory=dict)

    async def collect(
        self, document: PolicyDocument, source: RuleSetSource | None
    ) -> Mapping[str, RuleSetFiles]:
        """Return the policy's rule sets by name.

        source: None while there is no manager; what is on disk must do then. Raises PolicyError when a rule
        set cannot be used, SystemFault when it cannot be fetched now.
        """
        filtered = filtered_rule_sets(document)
        try:
            return {
                ref.name: await self._one(ref, source, ref.name in filtered) for ref in document.rule_sets
            }
        except RuleSetError as error:
            raise PolicyError(str(error)) from None

    def keep_only(self, *documents: PolicyDocument) -> None:
        """Delete rule sets that none of these policies uses."""
        digests = {ref.digest for document in documents for ref in document.rule_sets}
        self.store.keep_only(digests)
        for digest in set(self._reports) - digests:
            del self._reports[digest]

    async def _one(self, ref: RuleSetRef, source: RuleSetSource | None, filtered: bool) -> RuleSetFiles:
        fetched = not self.store.has(ref.digest)
        if fetched:
            if source is None:
                raise PolicyError(f"rule set {ref.name!r} ({ref.digest[:12]}) is not on this disk")
            content = await source.rule_set(ref.digest)
            await asyncio.to_thread(self.store.put, ref.digest, content)
        files = await asyncio.to_thread(self.store.files, ref.digest)
        report = self._reports.get(ref.digest)
        if report is None and (fetched or filtered):
            report = self._reports[ref.digest] = await asyncio.to_thread(check_files, files)
        if report is not None and report.refused:
            self.store.discard(ref.digest)
            del self._reports[ref.digest]
            first = report.refused[0]
            raise PolicyError(
                f"rule set {ref.name!r} version {ref.version}: {len(report.refused)} signatures do not load "
                f"here, the first in {first.file.rpartition('/')[2]} line {first.line}: {first.reason}"
            )
        paths = tuple(str(Path(path).relative_to(self.state)) for path, _ in files)
        return RuleSetFiles(ref.name, paths, report.signatures if report else ())
