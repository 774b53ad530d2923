"""The attacks, once in each mode, and what is to be said of them."""

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from appliance.lab.demo.orchestration import APPLIANCE, RULE_SET, DemoSettings
from appliance.lab.demo.rest import Manager
from appliance.lab.sending import AttackResult, attack

MODES = ("off", "detect", "prevent")
HOSTILE = ("exploit", "obfuscated")
LIVE_TIMEOUT_S = 30.0
ALERTS_TIMEOUT_S = 15.0
SIDS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Round:
    """All requests in one mode; alerts: the sids that fired, by the client's port."""

    mode: str
    results: tuple[AttackResult, ...]
    alerts: dict[int, frozenset[int]]
    live_after_s: float

    def problems(self) -> Iterator[str]:
        """Yield what is not as this mode promises."""
        for result in self.results:
            hostile = result.kind in HOSTILE
            name = f"{result.cve} {result.kind} {result.request!r} in mode {self.mode}"
            if hostile and self.mode == "prevent":
                if result.recorded:
                    yield f"{name}: reached the service"
            elif not result.recorded:
                yield f"{name}: did not reach the service"
            if hostile and self.mode != "off" and not self.alerts.get(result.port):
                yield f"{name}: raised no alert"


def play(settings: DemoSettings, manager: Manager, mode: str) -> Round:
    """Switch to the mode, wait until it is live, and send everything. Raises SystemFault, PolicyError."""
    began = time.monotonic()
    manager.assign_to_all(APPLIANCE, RULE_SET, mode)
    manager.wait_until_in_step(APPLIANCE, LIVE_TIMEOUT_S)
    live_after_s = time.monotonic() - began
    since = datetime.now(UTC)
    results = tuple(attack(settings.lab))
    wanted = {r.port for r in results if r.kind in HOSTILE} if mode != "off" else set()
    return Round(mode, results, _alerts(manager, since, wanted), live_after_s)


def _alerts(manager: Manager, since: datetime, wanted: set[int]) -> dict[int, frozenset[int]]:
    """Return the sids by client port, once every wanted port has one or time is up."""
    deadline = time.monotonic() + ALERTS_TIMEOUT_S
    while True:
        found: dict[int, set[int]] = defaultdict(set)
        for eve in manager.alerts(APPLIANCE, since):
            for end in ("src_port", "dest_port"):
                found[eve.get(end, 0)].add(eve["alert"]["signature_id"])
        if wanted <= found.keys() or time.monotonic() > deadline:
            return {port: frozenset(sids) for port, sids in found.items()}
        time.sleep(0.2)


HEADINGS = ("CVE", *(f"attacks, {mode}" for mode in MODES), "harmless", "stopped by signature", "median")


def rows(rounds: Sequence[Round]) -> Iterator[tuple[str, ...]]:
    """Yield a row per CVE, under HEADINGS.

    Attacks are exploits and obfuscated ones, harmless are near misses and ordinary requests, of which is
    told how many passed in every mode. Signatures and time are the last round's.
    """
    attacks: dict[str, list[int]] = defaultdict(list)
    harmless: dict[str, list[int]] = defaultdict(list)
    for index, result in enumerate(rounds[0].results):
        (attacks if result.kind in HOSTILE else harmless)[result.cve].append(index)
    last = rounds[-1]
    for cve, indices in attacks.items():
        stopped = [last.results[index] for index in indices if not last.results[index].recorded]
        sids = sorted({sid for result in stopped for sid in last.alerts.get(result.port, ())})
        took_ms = statistics.median(last.results[index].took_s for index in indices) * 1000
        passed = sum(all(played.results[index].recorded for played in rounds) for index in harmless[cve])
        yield (
            cve,
            *(_cell(played, indices) for played in rounds),
            f"{passed} of {len(harmless[cve])} passed",
            _few(sids),
            f"{took_ms:.0f} ms",
        )


def _few(sids: Sequence[int]) -> str:
    shown = ", ".join(map(str, sids[:SIDS_SHOWN])) or "-"
    return shown if len(sids) <= SIDS_SHOWN else f"{shown} and {len(sids) - SIDS_SHOWN} more"


def _cell(played: Round, indices: Sequence[int]) -> str:
    results = [played.results[index] for index in indices]
    passed = sum(result.recorded for result in results)
    alerted = sum(bool(played.alerts.get(result.port)) for result in results)
    text = f"{passed} passed" if passed == len(results) else f"{len(results) - passed} stopped"
    if 0 < passed < len(results):
        text += f", {passed} passed"
    return text + (f", {alerted} alerted" if alerted and passed else "")
