"""Policy parts as the JSON text that columns hold; msgspec checks every type on the way back."""

from typing import TypeVar

import msgspec

from appliance.model.policy import Assignment, Firewall, Guard, GuestPolicy, Mode, Override
from manager_api.domain.policy import GuestSettings
from manager_api.store.models import Appliance, Guest, OverrideRow

T = TypeVar("T")


def dump(value: object) -> str:
    """Return a policy part as JSON text."""
    return msgspec.json.encode(value, order="sorted").decode()


def load(text: str | None, kind: type[T]) -> T | None:
    """Return a stored policy part, or None where none is stored."""
    return None if text is None else msgspec.json.decode(text, type=kind)


def defaults_of(appliance: Appliance) -> GuestPolicy:
    """Return the appliance's defaults."""
    return msgspec.json.decode(appliance.defaults, type=GuestPolicy)


def settings_of(guest: Guest, overrides: list[OverrideRow]) -> GuestSettings:
    """Return what is set for the guest itself."""
    return GuestSettings(
        assignments=load(guest.assignments, tuple[Assignment, ...]),
        firewall=load(guest.firewall, Firewall),
        guard=load(guest.guard, Guard),
        on_drop=guest.on_drop,
        overrides=tuple(override_of(row) for row in overrides),
    )


def override_of(row: OverrideRow) -> Override:
    """Return the stored override as the model's."""
    return Override(
        sid=row.sid,
        mode=Mode(row.mode),
        gid=row.gid,
        peer=row.peer or None,
        until=row.until,
        reason=row.reason,
    )
