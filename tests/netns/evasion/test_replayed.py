"""The capture of each evasion, taken without an inspector, inspected offline: what the guest read decides."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance import lab
from tests.netns.evasion import fragments, openings, segments
from tests.netns.evasion.evasion import Evasion
from tests.netns.evasion.rig import EXPLOIT, HARMLESS, RULES, Guest, Wire, text, wire, write_capture
from tests.tools.engine import engine, replay

MORE = os.environ.get("SEKISHO_EVASIONS") == "all"
EVASIONS = [*segments.EVASIONS, *openings.EVASIONS, *fragments.EVASIONS]
if MORE:
    EVASIONS += [*segments.more(), *fragments.more()]
SHOWN_ALONE = {1}
"""What may fire on a segment that the stream did not take: Suricata, too, shows it by itself."""
TEXTS = {"real": (EXPLOIT, HARMLESS), "decoy": (HARMLESS, EXPLOIT)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """received: by the guest's socket. seen: the sids that fired offline; seen_inline: those with `--ips`.

    withheld: with `--ips` a packet would have been dropped.
    """

    received: bytes
    seen: set[int]
    seen_inline: set[int]
    withheld: bool


@pytest.fixture(scope="module")
def outcomes(
    running_lab: lab.LabSettings, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Outcome]:
    """Play all of them, one after the other, then inspect all captures."""
    engine()
    directory = tmp_path_factory.mktemp("captures")
    received = {}
    captures: dict[tuple[str, str], Path] = {}
    with wire(running_lab) as attacker:
        for evasion in EVASIONS:
            for exploit_in, (real, decoy) in TEXTS.items():
                key = (evasion.name, exploit_in)
                captures[key] = directory / f"{len(captures)}.pcap"
                received[key] = play(attacker, evasion, text(real), text(decoy), captures[key])
    offline, inline = (inspect(directory, list(captures.values()), ips=ips) for ips in (False, True))
    return {
        key: Outcome(
            received[key], alerts_in(offline[at]), alerts_in(inline[at]), is_told(inline[at], "drop")
        )
        for key, at in captures.items()
    }


def play(attacker: Wire, evasion: Evasion, real: bytes, decoy: bytes, capture: Path) -> bytes:
    since = len(attacker.frames)
    port = evasion.run(attacker, real, decoy)
    attacker.settle()
    write_capture(capture, attacker.frames[since:])
    return attacker.received(port)


Events = list[dict[str, Any]]


def inspect(directory: Path, captures: list[Path], *, ips: bool) -> dict[Path, Events]:
    """Return the events of each capture."""
    rules = directory / "evasion.rules"
    rules.write_text(RULES)
    events = {capture: capture.with_suffix(f".{'ips' if ips else 'ids'}.json") for capture in captures}
    errors = replay([rules], list(events.items()), ips=ips, any_nets=True, prevent=ips)
    assert not any(errors), errors
    return {capture: list(map(json.loads, eve.read_text().splitlines())) for capture, eve in events.items()}


def alerts_in(events: Events) -> set[int]:
    return {event["alert"]["signature_id"] for event in events if event["event_type"] == "alert"}


def is_told(events: Events, kind: str) -> bool:
    return any(event["event_type"] == kind for event in events)


def cases() -> Iterator[object]:
    for evasion in EVASIONS:
        for exploit_in in TEXTS:
            yield pytest.param(evasion, exploit_in, id=f"{evasion.name}: exploit in the {exploit_in} text")


@pytest.mark.parametrize(("evasion", "exploit_in"), list(cases()))
def test_guest_receives_what_the_table_says(
    outcomes: dict[tuple[str, str], Outcome], evasion: Evasion, exploit_in: str
) -> None:
    received = outcomes[evasion.name, exploit_in].received
    real, decoy = map(text, TEXTS[exploit_in])
    got = Guest.REAL if received == real else Guest.DECOY if received == decoy else Guest.NEITHER
    assert evasion.guest in (got, Guest.ANY), received


@pytest.mark.parametrize(("evasion", "exploit_in"), list(cases()))
def test_an_alert_is_raised_where_the_guest_received_the_exploit(
    outcomes: dict[tuple[str, str], Outcome], evasion: Evasion, exploit_in: str
) -> None:
    outcome = outcomes[evasion.name, exploit_in]
    arrived = EXPLOIT in outcome.received
    as_it_is = outcome.seen == evasion.sids if arrived else outcome.seen <= SHOWN_ALONE
    if evasion.blind and not as_it_is:
        pytest.skip(f"not decided offline: {evasion.blind}")
    assert as_it_is, outcome.seen


@pytest.mark.parametrize(("evasion", "exploit_in"), list(cases()))
def test_with_ips_what_the_guest_received_was_seen_or_would_have_been_withheld(
    outcomes: dict[tuple[str, str], Outcome], evasion: Evasion, exploit_in: str
) -> None:
    outcome = outcomes[evasion.name, exploit_in]
    missed = EXPLOIT in outcome.received and not outcome.seen_inline and not outcome.withheld
    if evasion.blind and missed:
        pytest.skip(f"not decided offline: {evasion.blind}")
    assert not missed
