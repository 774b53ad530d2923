"""Appliances: what they should run, what they run, and the defaults of their guests."""

from fastapi import APIRouter, Response

from appliance.model.policy import GuestPolicy
from manager_api.auth import Admin, Managed, Operator, Viewer
from manager_api.manager import appliance_status
from manager_api.operations import appliances as operation
from manager_api.operations import guests
from manager_api.routes.answers import ApplianceAnswer, PolicyAnswer, problems
from manager_api.routes.bodies import ApplianceName, DefaultsBody, Limit
from manager_api.routes.etag import IfMatch, tag, unchanged_since
from manager_api.store import appliances, policies
from manager_api.store.models import Appliance
from manager_api.store.settings_json import defaults_of

router = APIRouter(prefix="/appliances", tags=["appliances"], responses=problems(401, 403, 404))


@router.get("", summary="All appliances")
def everything(manager: Managed, _who: Viewer) -> list[ApplianceAnswer]:
    """By name, revoked ones too."""
    with manager.database.reading() as session:
        return [_answer(row) for row in appliances.everything(session)]


@router.get("/{appliance}", summary="One appliance")
def one(appliance: ApplianceName, manager: Managed, _who: Viewer) -> ApplianceAnswer:
    """`wanted_version` is what it should run, `live_version` what it said it runs."""
    with manager.database.reading() as session:
        return _answer(guests.find_appliance(session, appliance))


@router.delete("/{appliance}", status_code=204, summary="Revoke an appliance")
def revoke(appliance: ApplianceName, manager: Managed, who: Admin) -> None:
    """Its certificates are refused from now on; what it reported stays."""
    operation.revoke(manager, who.actor, appliance)


@router.get("/{appliance}/defaults", summary="An appliance's defaults")
def get_defaults(appliance: ApplianceName, manager: Managed, _who: Viewer, response: Response) -> GuestPolicy:
    """What a guest runs that has nothing of its own."""
    with manager.database.reading() as session:
        found = defaults_of(guests.find_appliance(session, appliance))
    tag(response, found)
    return found


@router.put(
    "/{appliance}/defaults",
    summary="Set an appliance's defaults",
    responses=problems(412, 422),
)
def put_defaults(
    appliance: ApplianceName, body: DefaultsBody, manager: Managed, who: Operator, response: Response,
    if_match: IfMatch = None,
) -> GuestPolicy:  # fmt: skip
    """Replaces them whole; every guest that follows them changes at once."""
    wanted = body.to(GuestPolicy)
    found = guests.set_defaults(manager, who.actor, appliance, wanted, unchanged_since(if_match))
    tag(response, found)
    return found


@router.get("/{appliance}/policies", summary="An appliance's policy versions")
def policy_versions(
    appliance: ApplianceName, manager: Managed, _who: Viewer, limit: Limit = 50
) -> list[PolicyAnswer]:
    """Newest first, with what caused each."""
    with manager.database.reading() as session:
        found = guests.find_appliance(session, appliance)
        return [PolicyAnswer.of(row) for row in policies.history(session, found.id, limit)]


def _answer(row: Appliance) -> ApplianceAnswer:
    status = appliance_status(row)
    return ApplianceAnswer(
        id=row.id, name=row.name, enrolled_at=row.enrolled_at, revoked_at=row.revoked_at,
        last_seen_at=row.last_seen_at, wanted_version=row.wanted_version, live_version=row.live_version,
        error=row.error, in_step=row.live_version == row.wanted_version and row.error is None,
        inspector=status.get("inspector"), spool=status.get("spool"), bypass=status.get("bypass") or [],
    )  # fmt: skip
