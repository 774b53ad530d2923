"""How everything stands now: appliances and guests with what they reported."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from appliance.model.policy import GuestPolicy, PolicyDocument
from manager_api.domain.coverage import Shield, bypassed_guests, shield_of
from manager_api.domain.policy import effective
from manager_api.manager import appliance_status
from manager_api.operations.weigh import counts
from manager_api.store import appliances, policies
from manager_api.store.models import Appliance, Guest
from manager_api.store.settings_json import defaults_of

SILENT_AFTER = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class GuestState:
    """A guest, what it should run (policy), and what stands before it.

    evaluated, can_block: signatures in what it runs. bypass_ends_s: Unix time; None: until taken back.
    """

    guest: Guest
    appliance: Appliance
    policy: GuestPolicy
    shield: Shield
    evaluated: int
    can_block: int
    bypass_ends_s: float | None = None


def is_reporting(appliance: Appliance, now: datetime) -> bool:
    """Whether the appliance was heard of lately."""
    seen = appliance.last_seen_at
    return appliance.revoked_at is None and seen is not None and now - seen <= SILENT_AFTER


def inspector_is_up(status: Mapping[str, Any]) -> bool:
    """Whether the appliance did not say that its inspector is down."""
    inspector = status.get("inspector")
    return not (isinstance(inspector, dict) and inspector.get("up") is False)


def guest_states(session: Session, of: Iterable[Appliance], now: datetime) -> list[GuestState]:
    """Return the state of every guest of the appliances, by appliance and name.

    What stands before a guest is told by the policy that its appliance runs, not by the one it should run.
    """
    states = []
    for appliance in of:
        guests = appliances.guests_of(session, appliance.id)
        status = appliance_status(appliance)
        bypassed = bypassed_guests(status, [g.name for g in guests], time.time())
        running = _running(session, appliance)
        reporting = is_reporting(appliance, now) and running is not None
        digests = {} if running is None else {ref.name: ref.digest for ref in running.rule_sets}
        defaults, settings = defaults_of(appliance), policies.guests_settings(session, appliance.id)
        for guest in guests:
            runs = GuestPolicy() if running is None else running.guests.get(guest.name, running.defaults)
            evaluated, can_block = counts(session, runs.assignments, digests)
            shield = shield_of(
                reporting=reporting,
                bypassed=guest.name in bypassed,
                inspector_up=inspector_is_up(status),
                evaluated=evaluated,
                can_block=can_block,
            )
            wanted = effective(defaults, settings[guest.name])
            ends = bypassed.get(guest.name)
            states.append(GuestState(guest, appliance, wanted, shield, evaluated, can_block, ends))
    return states


def _running(session: Session, appliance: Appliance) -> PolicyDocument | None:
    """Return the policy that the appliance said it runs; None if it said none, or one that is forgotten."""
    row = policies.find(session, appliance.id, appliance.live_version or 0)
    return None if row is None else _decoded(row.document)


@lru_cache(maxsize=64)
def _decoded(document: str) -> PolicyDocument:
    return msgspec.json.decode(document, type=PolicyDocument)
