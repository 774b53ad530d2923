"""What is set for a guest.

A guest's full name is /appliances/APPLIANCE/guests/GUEST, since two appliances may have guests of one name;
/guests/GUEST is short for it where only one has. Both lead to the same code.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel

from appliance.model.policy import (
    Assignment,
    Firewall,
    Guard,
    GuestPolicy,
    Override,
)
from manager_api.auth import Managed, Operator, Viewer
from manager_api.manager import now
from manager_api.operations import guests as operation
from manager_api.operations.overview import guest_states
from manager_api.operations.weigh import counts, live_digests
from manager_api.routes.answers import GuestAnswer, OverrideAnswer, problems
from manager_api.routes.bodies import (
    ApplianceName,
    ApplianceQuery,
    AssignmentsBody,
    FirewallBody,
    GuardBody,
    GuestName,
    OnDropBody,
    OverrideBody,
)
from manager_api.routes.etag import IfMatch, tag, unchanged_since
from manager_api.store import appliances

_RESPONSES = problems(401, 403, 404, 409)
_CHANGES = problems(412, 422)


def _whose(request: Request) -> str | None:
    """Return the appliance that the path names, if it does."""
    return request.path_params.get("appliance")


Whose = Annotated[str | None, Depends(_whose)]


class AssignmentsAnswer(BaseModel):
    """What is assigned, and how much of it can block."""

    assignments: list[Assignment]
    inherited: bool
    signatures_evaluated: int
    signatures_can_block: int


router = APIRouter(tags=["guests"], responses=_RESPONSES)


@router.get("/assignments", summary="A guest's assignments")
def get_assignments(
    guest: GuestName, whose: Whose, manager: Managed, _who: Viewer, response: Response
) -> AssignmentsAnswer:
    """Those in force; `inherited` says that they are the appliance's defaults."""
    return _assignments(manager, whose, guest, response)


@router.put("/assignments", summary="Assign rule sets to a guest", responses=_CHANGES)
def put_assignments(
    guest: GuestName,
    body: AssignmentsBody,
    whose: Whose,
    manager: Managed,
    who: Operator,
    response: Response,
    if_match: IfMatch = None,
) -> AssignmentsAnswer:
    """Replaces the whole list; null follows the appliance's defaults again."""
    wanted = None if body.assignments is None else tuple(a.to(Assignment) for a in body.assignments)
    operation.assign(manager, who.actor, whose, guest, wanted, unchanged_since(if_match))
    return _assignments(manager, whose, guest, response)


@router.get("/policy", summary="All that a guest should run")
def get_policy(guest: GuestName, whose: Whose, manager: Managed, _who: Viewer) -> GuestPolicy:
    """Its own settings over the appliance's defaults."""
    return _policy(manager, whose, guest)


@router.get("/firewall", summary="A guest's firewall")
def get_firewall(
    guest: GuestName, whose: Whose, manager: Managed, _who: Viewer, response: Response
) -> Firewall:
    """The one in force."""
    found = _policy(manager, whose, guest).firewall
    tag(response, found)
    return found


@router.put("/firewall", summary="Set a guest's firewall", responses=_CHANGES)
def put_firewall(
    guest: GuestName, body: FirewallBody, whose: Whose, manager: Managed, who: Operator, response: Response,
    if_match: IfMatch = None,
) -> Firewall:  # fmt: skip
    """Replaces it whole."""
    set_to = operation.set_firewall(
        manager, who.actor, whose, guest, body.to(Firewall), unchanged_since(if_match)
    ).firewall
    tag(response, set_to)
    return set_to


@router.delete("/firewall", status_code=204, summary="Let a guest's firewall follow the defaults")
def delete_firewall(
    guest: GuestName, whose: Whose, manager: Managed, who: Operator, if_match: IfMatch = None
) -> None:
    """The appliance's defaults are in force again."""
    operation.set_firewall(manager, who.actor, whose, guest, None, unchanged_since(if_match))


@router.get("/guard", summary="A guest's L2 guard")
def get_guard(guest: GuestName, whose: Whose, manager: Managed, _who: Viewer, response: Response) -> Guard:
    """The one in force."""
    found = _policy(manager, whose, guest).guard
    tag(response, found)
    return found


@router.put("/guard", summary="Set a guest's L2 guard", responses=_CHANGES)
def put_guard(
    guest: GuestName, body: GuardBody, whose: Whose, manager: Managed, who: Operator, response: Response,
    if_match: IfMatch = None,
) -> Guard:  # fmt: skip
    """Replaces it whole."""
    set_to = operation.set_guard(
        manager, who.actor, whose, guest, body.to(Guard), unchanged_since(if_match)
    ).guard
    tag(response, set_to)
    return set_to


@router.delete("/guard", status_code=204, summary="Let a guest's L2 guard follow the defaults")
def delete_guard(
    guest: GuestName, whose: Whose, manager: Managed, who: Operator, if_match: IfMatch = None
) -> None:
    """The appliance's defaults are in force again."""
    operation.set_guard(manager, who.actor, whose, guest, None, unchanged_since(if_match))


@router.put("/on-drop", summary="Set what a drop does to a guest's connections", responses=_CHANGES)
def put_on_drop(
    guest: GuestName,
    body: OnDropBody,
    whose: Whose,
    manager: Managed,
    who: Operator,
    if_match: IfMatch = None,
) -> GuestPolicy:
    """reset ends both sides of a TCP connection; silent lets them wait."""
    return operation.set_on_drop(manager, who.actor, whose, guest, body.on_drop, unchanged_since(if_match))


@router.get("/overrides", summary="A guest's overrides")
def get_overrides(guest: GuestName, whose: Whose, manager: Managed, _who: Viewer) -> list[OverrideAnswer]:
    """Oldest first; those whose time is over are gone."""
    with manager.database.reading() as session:
        found, _ = operation.find_guest(session, whose, guest)
        return [OverrideAnswer.of(row) for row in appliances.overrides_of(session, found.id)]


@router.post(
    "/overrides",
    status_code=201,
    summary="Treat one signature otherwise for a guest",
    responses=problems(422, replaced="replaced the one of the same signature and peer"),
)
def post_override(
    guest: GuestName, body: OverrideBody, whose: Whose, manager: Managed, who: Operator, response: Response
) -> OverrideAnswer:
    """In force on the appliance as soon as it has fetched the policy, which it does at once."""
    row, created = operation.override(manager, who.actor, whose, guest, body.to(Override))
    response.status_code = 201 if created else 200
    return OverrideAnswer.of(row)


@router.delete("/overrides/{override}", status_code=204, summary="Take an override back")
def delete_override(
    guest: GuestName,
    override: Annotated[int, Path(ge=1, lt=2**63)],
    whose: Whose,
    manager: Managed,
    who: Operator,
) -> None:
    """The signature is treated as assigned again."""
    operation.remove_override(manager, who.actor, whose, guest, override)


lists = APIRouter(tags=["guests"], responses=problems(401, 403, 404))


@lists.get("/guests", summary="All guests")
def all_guests(manager: Managed, _who: Viewer, appliance: ApplianceQuery = None) -> list[GuestAnswer]:
    """By appliance and name, with what stands before each and how much of its traffic was not inspected."""
    return _states(manager, appliance)


@lists.get("/appliances/{appliance}/guests", summary="An appliance's guests")
def guests_of(appliance: ApplianceName, manager: Managed, _who: Viewer) -> list[GuestAnswer]:
    """By name."""
    return _states(manager, appliance)


def _policy(manager: Managed, whose: str | None, name: str) -> GuestPolicy:
    with manager.database.reading() as session:
        return operation.effective_policy(session, *operation.find_guest(session, whose, name))


def _assignments(manager: Managed, whose: str | None, name: str, response: Response) -> AssignmentsAnswer:
    with manager.database.reading() as session:
        guest, owner = operation.find_guest(session, whose, name)
        assignments = operation.effective_policy(session, guest, owner).assignments
        evaluated, can_block = counts(session, assignments, live_digests(session))
        tag(response, assignments)
        return AssignmentsAnswer(
            assignments=list(assignments), inherited=guest.assignments is None,
            signatures_evaluated=evaluated, signatures_can_block=can_block,
        )  # fmt: skip


def _states(manager: Managed, appliance: str | None) -> list[GuestAnswer]:
    with manager.database.reading() as session:
        if appliance is None:
            of = appliances.active(session)
        else:
            of = [operation.find_appliance(session, appliance)]
        return [
            GuestAnswer.of(s.guest, s.appliance.name, s.shield, s.evaluated, s.can_block)
            for s in guest_states(session, of, now())
        ]
