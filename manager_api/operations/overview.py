"""How everything stands now: appliances and guests with what they reported."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from manager_api.domain.coverage import Shield, bypassed_guests, shield_of
from manager_api.manager import appliance_status
from manager_api.operations.guests import counts, effective_policy
from manager_api.store import appliances
from manager_api.store.models import Appliance, Guest

SILENT_AFTER = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class GuestState:
    """A guest, and what stands before it. bypass_ends_s: Unix time, None if it does not end by itself."""

    guest: Guest
    appliance: Appliance
    shield: Shield
    evaluated: int
    can_block: int
    bypass_ends_s: float | None = None


def is_reporting(appliance: Appliance, now: datetime) -> bool:
    """Whether the appliance was heard of lately."""
    seen = appliance.last_seen_at
    return appliance.revoked_at is None and seen is not None and now - seen <= SILENT_AFTER


def guest_states(session: Session, of: Iterable[Appliance], now: datetime) -> list[GuestState]:
    """Return the state of every guest of the appliances, by appliance and name."""
    states = []
    for appliance in of:
        guests = appliances.guests_of(session, appliance.id)
        bypassed = bypassed_guests(appliance_status(appliance), [g.name for g in guests], time.time())
        reporting = is_reporting(appliance, now) and appliance.live_version is not None
        for guest in guests:
            policy = effective_policy(session, guest, appliance)
            evaluated, can_block = counts(session, policy.assignments)
            shield = shield_of(
                reporting=reporting, bypassed=guest.name in bypassed, evaluated=evaluated, can_block=can_block
            )
            states.append(
                GuestState(guest, appliance, shield, evaluated, can_block, bypassed.get(guest.name))
            )
    return states
