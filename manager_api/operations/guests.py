"""What is decided for a guest, or for all of an appliance's guests that have no decision of their own."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from appliance.model.policy import Assignment, Firewall, Guard, GuestPolicy, Override
from appliance.rulesets import SelectionError
from manager_api.domain import firewall as firewall_rules
from manager_api.domain import rule_sets as domain
from manager_api.domain.policy import effective
from manager_api.manager import Change, Manager, now
from manager_api.problems import Problem, not_found
from manager_api.store import appliances, rule_sets
from manager_api.store.models import Appliance, Guest, OverrideRow
from manager_api.store.settings_json import defaults_of, dump, settings_of

MAX_OVERRIDES = 1_000
MAX_UNKNOWN_LISTED = 20
Unchanged = Callable[[Any], None]


def find_guest(session: Session, appliance: str | None, name: str) -> tuple[Guest, Appliance]:
    """Return the guest, of the appliance if one is named. Raises Problem 404, or 409 if several have it."""
    if appliance is not None:
        owner = find_appliance(session, appliance)
        guest = appliances.guest(session, owner.id, name)
        if guest is None:
            raise not_found(
                "guest", name, f"GET /api/v1/appliances/{owner.name}/guests lists what was reported."
            )
        return guest, owner
    found = appliances.guests_named(session, name)
    if not found:
        raise not_found("guest", name, "GET /api/v1/guests lists what the appliances reported.")
    if len(found) > 1:
        owners = ", ".join(owner.name for _, owner in found)
        raise Problem(
            409, "The guest's name is not unique",
            f"{name!r} is a guest of {owners}. Use /api/v1/appliances/APPLIANCE/guests/{name}/… instead.",
        )  # fmt: skip
    return found[0]


def find_appliance(session: Session, id_or_name: str) -> Appliance:
    """Return the appliance of that id or name. Raises Problem 404."""
    found = appliances.find(session, id_or_name)
    if found is None:
        raise not_found("appliance", id_or_name, "GET /api/v1/appliances lists those enrolled.")
    return found


def effective_policy(session: Session, guest: Guest, owner: Appliance) -> GuestPolicy:
    """Return what the guest should run."""
    return effective(defaults_of(owner), settings_of(guest, appliances.overrides_of(session, guest.id)))


def set_defaults(
    manager: Manager, actor: str, appliance: str, defaults: GuestPolicy, unchanged: Unchanged
) -> GuestPolicy:
    """Set what guests of the appliance run that have nothing of their own. Raises Problem 404, 412, 422."""
    with manager.changing(actor) as change:
        owner = find_appliance(change.session, appliance)
        unchanged(defaults_of(owner))
        _check_assignments(change.session, defaults.assignments)
        _check_firewall(change.session, owner.id, defaults.firewall)
        _check_guard(defaults.guard)
        owner.defaults = dump(defaults)
        change.note("appliance.defaults", owner.name, defaults=owner.defaults)
        change.publish(owner, f"defaults of {owner.name}")
        return defaults


def assign(
    manager: Manager, actor: str, appliance: str | None, name: str,
    assignments: tuple[Assignment, ...] | None, unchanged: Unchanged,
) -> GuestPolicy:  # fmt: skip
    """Set the guest's assignments; None follows the defaults again. Raises Problem 404, 409, 412, 422."""

    def set_it(change: Change, guest: Guest) -> None:
        _check_assignments(change.session, assignments or ())
        guest.assignments = None if assignments is None else dump(assignments)

    return _set_part(manager, actor, appliance, name, "assignments", set_it, unchanged)


def set_firewall(
    manager: Manager,
    actor: str,
    appliance: str | None,
    name: str,
    firewall: Firewall | None,
    unchanged: Unchanged,
) -> GuestPolicy:
    """Set the guest's firewall; None follows the defaults again. Raises Problem 404, 409, 412, 422."""

    def set_it(change: Change, guest: Guest) -> None:
        if firewall is not None:
            _check_firewall(change.session, guest.appliance_id, firewall)
        guest.firewall = None if firewall is None else dump(firewall)

    return _set_part(manager, actor, appliance, name, "firewall", set_it, unchanged)


def set_guard(
    manager: Manager, actor: str, appliance: str | None, name: str, guard: Guard | None, unchanged: Unchanged
) -> GuestPolicy:
    """Set the guest's L2 guard; None follows the defaults again. Raises Problem 404, 409, 412, 422."""

    def set_it(_change: Change, guest: Guest) -> None:
        if guard is not None:
            _check_guard(guard)
        guest.guard = None if guard is None else dump(guard)

    return _set_part(manager, actor, appliance, name, "guard", set_it, unchanged)


def set_on_drop(
    manager: Manager, actor: str, appliance: str | None, name: str, on_drop: str | None, unchanged: Unchanged
) -> GuestPolicy:
    """Set what a drop on TCP does for the guest. Raises Problem 404, 409, 412."""

    def set_it(_change: Change, guest: Guest) -> None:
        guest.on_drop = on_drop

    return _set_part(manager, actor, appliance, name, "on_drop", set_it, unchanged)


def override(
    manager: Manager, actor: str, appliance: str | None, name: str, wanted: Override
) -> tuple[OverrideRow, bool]:
    """Treat one signature otherwise for the guest; return the override and whether it is a new one.

    An override of the same signature and peer is replaced. Raises Problem 404, 409, 422.
    """
    with manager.changing(actor) as change:
        guest, owner = find_guest(change.session, appliance, name)
        _check_override(change.session, wanted, change.at)
        present = appliances.overrides_of(change.session, guest.id)
        key = (wanted.gid, wanted.sid, wanted.peer or "")
        row = next((o for o in present if (o.gid, o.sid, o.peer) == key), None)
        created = row is None
        if row is None:
            if len(present) >= MAX_OVERRIDES:
                raise Problem(
                    422, "Too many overrides",
                    f"Guest {name!r} has {len(present)}. Delete some, or assign a selection instead.",
                )  # fmt: skip
            row = OverrideRow(guest_id=guest.id, gid=wanted.gid, sid=wanted.sid, peer=wanted.peer or "")
            change.session.add(row)
        row.mode, row.until, row.reason = wanted.mode.value, wanted.until, wanted.reason
        row.created_at, row.created_by = change.at, actor
        change.session.flush()
        change.note("guest.override", f"{owner.name}/{guest.name}", override=dump(wanted))
        change.publish(owner, f"override of sid {wanted.sid} for {guest.name}")
        return row, created


def remove_override(manager: Manager, actor: str, appliance: str | None, name: str, override_id: int) -> None:
    """Take an override back. Raises Problem 404, 409."""
    with manager.changing(actor) as change:
        guest, owner = find_guest(change.session, appliance, name)
        row = change.session.get(OverrideRow, override_id)
        if row is None or row.guest_id != guest.id:
            raise not_found("override", override_id, f"GET /api/v1/guests/{name}/overrides lists them.")
        change.session.delete(row)
        change.note(
            "guest.override.delete", f"{owner.name}/{guest.name}", sid=row.sid, gid=row.gid, peer=row.peer
        )
        change.publish(owner, f"override of sid {row.sid} for {guest.name} taken back")


def expire_overrides(manager: Manager) -> int:
    """Remove the overrides whose time is over; return how many."""
    with manager.database.reading() as session:
        if not appliances.any_expired_override(session, now()):
            return 0
    with manager.changing("manager") as change:
        expired = appliances.drop_expired_overrides(change.session, change.at)
        for row, guest in expired:
            change.note("guest.override.expire", guest.name, sid=row.sid, gid=row.gid, peer=row.peer)
        for appliance_id in sorted({guest.appliance_id for _, guest in expired}):
            change.publish(find_appliance(change.session, appliance_id), "an override's time is over")
        return len(expired)


def _set_part(
    manager: Manager, actor: str, appliance: str | None, name: str, part: str,
    set_it: Callable[[Change, Guest], None], unchanged: Unchanged,
) -> GuestPolicy:  # fmt: skip
    with manager.changing(actor) as change:
        guest, owner = find_guest(change.session, appliance, name)
        unchanged(getattr(effective_policy(change.session, guest, owner), part))
        set_it(change, guest)
        change.note(f"guest.{part}", f"{owner.name}/{guest.name}", value=getattr(guest, part))
        change.publish(owner, f"{part} of {guest.name}")
        return effective_policy(change.session, guest, owner)


def _check_assignments(session: Session, assignments: Sequence[Assignment]) -> None:
    for number, assignment in enumerate(assignments, 1):
        title, at = "The assignments cannot be used", f"Assignment {number}"
        live = rule_sets.live(session, assignment.rule_set)
        if live is None:
            raise Problem(
                422,
                title,
                f"{at}: there is no rule set {assignment.rule_set!r}. PUT it to /api/v1/rule-sets first.",
            )
        signatures = rule_sets.signatures(session, live.digest)
        unknown = sorted(set(assignment.select.sids or ()) - {s.sid for s in signatures})
        if unknown:
            listed = ", ".join(map(str, unknown[:MAX_UNKNOWN_LISTED]))
            raise Problem(
                422, title,
                f"{at}: {assignment.rule_set!r} version {live.version} has no signature {listed}. "
                "Remove them from the selection.",
                unknown_sids=unknown[:1_000],
            )  # fmt: skip
        try:
            domain.selected(assignment.select, signatures)
        except SelectionError as error:
            raise Problem(422, title, f"{at}: {error}") from error


def _check_firewall(session: Session, appliance_id: str, firewall: Firewall) -> None:
    names = {guest.name for guest in appliances.guests_of(session, appliance_id)}
    if found := firewall_rules.problems_of_rules(firewall.rules, names):
        raise Problem(
            422,
            "The firewall cannot be used",
            f"{'; '.join(found[:10])}. Nothing was changed.",
            problems=found,
        )


def _check_guard(guard: Guard) -> None:
    if found := firewall_rules.problems_of_pairs(guard.allowed):
        raise Problem(
            422, "The guard cannot be used", f"{'; '.join(found[:10])}. Nothing was changed.", problems=found
        )


def _check_override(session: Session, wanted: Override, at: datetime) -> None:
    title = "The override cannot be used"
    if wanted.until is not None and wanted.until <= at:
        raise Problem(422, title, f"until: {wanted.until.isoformat()} is over. Choose a later time, or none.")
    if wanted.peer is not None and not firewall_rules.is_address_or_network(wanted.peer):
        raise Problem(422, title, f"peer: {wanted.peer!r} is neither an address nor a network.")
    known = any(
        (s.gid, s.sid) == (wanted.gid, wanted.sid)
        for version in rule_sets.all_live(session)
        for s in rule_sets.signatures(session, version.digest)
    )
    if not known:
        raise Problem(
            422, title, f"sid: no live rule set has signature {wanted.gid}:{wanted.sid}. Check gid and sid."
        )
