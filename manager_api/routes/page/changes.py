"""What the page's forms do; the operations are those of the API."""

from dataclasses import replace
from datetime import timedelta
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form, Path, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import FormData

from appliance.model.policy import Assignment, Mode, Override
from manager_api.auth import Managed
from manager_api.domain.secrets import parse_duration
from manager_api.manager import now
from manager_api.operations import access, guests
from manager_api.problems import Problem
from manager_api.routes.bodies import PRINTABLE, ApplianceName, GuestName
from manager_api.routes.etag import unchanged_since
from manager_api.routes.page.session import Sender
from manager_api.routes.page.views import appliances_page

router = APIRouter()
Text = Annotated[str, Form(max_length=500, pattern=PRINTABLE)]
Sid = Annotated[int, Form(ge=1, lt=2**32)]
TOKEN_LIFETIMES = {"15m", "1h", "8h", "1d"}
MAX_OVERRIDE = timedelta(days=3_650)


@router.post("/guests/{appliance}/{guest}/overrides")
def override(
    manager: Managed, sender: Sender, appliance: ApplianceName, guest: GuestName, sid: Sid,
    mode: Annotated[Mode, Form()], gid: Annotated[int, Form(ge=0, lt=2**32)] = 1,
    peer: Annotated[str, Form(max_length=64, pattern=PRINTABLE)] = "", lasts: Text = "", reason: Text = "",
) -> Response:  # fmt: skip
    """Treat one signature otherwise for one guest; lasts: a duration, empty until it is taken back."""
    until = now() + _duration(lasts) if lasts else None
    wanted = Override(sid=sid, mode=mode, gid=gid, peer=peer or None, until=until, reason=reason)
    guests.override(manager, sender.principal.actor, appliance, guest, wanted)
    return _back(appliance, guest, "overrides")


@router.post("/guests/{appliance}/{guest}/overrides/{override}/delete")
def remove_override(
    manager: Managed, sender: Sender, appliance: ApplianceName, guest: GuestName,
    override: Annotated[int, Path(ge=1, lt=2**62)],
) -> Response:  # fmt: skip
    """Take an override back."""
    guests.remove_override(manager, sender.principal.actor, appliance, guest, override)
    return _back(appliance, guest, "overrides")


async def _form(request: Request) -> FormData:
    return await request.form()


@router.post("/guests/{appliance}/{guest}/assignments")
def assign(
    form: Annotated[FormData, Depends(_form)],
    manager: Managed,
    sender: Sender,
    appliance: ApplianceName,
    guest: GuestName,
) -> Response:
    """Change the modes of what is assigned, add a rule set, or follow the defaults again."""
    actor = sender.principal.actor
    unchanged = unchanged_since(str(form.get("etag", "")) or None)
    if form.get("follow") == "defaults":
        guests.assign(manager, actor, appliance, guest, None, unchanged)
        return _back(appliance, guest, "assignments")
    with manager.database.reading() as session:
        row, owner = guests.find_guest(session, appliance, guest)
        current = guests.effective_policy(session, row, owner).assignments
    modes = [str(value) for value in form.getlist("mode")]
    if len(modes) != len(current):
        raise Problem(412, "The assignments have changed", "Go back, reload the page and decide anew.")
    wanted = [
        replace(assignment, mode=_mode(mode))
        for assignment, mode in zip(current, modes, strict=True)
        if mode != "remove"
    ]
    if added := str(form.get("add", "")):
        wanted.append(Assignment(added, _mode(str(form.get("add_mode", "")))))
    guests.assign(manager, actor, appliance, guest, tuple(wanted), unchanged)
    return _back(appliance, guest, "assignments")


@router.post("/tokens")
def make_token(
    request: Request, manager: Managed, sender: Sender,
    lifetime: Annotated[str, Form(max_length=8)] = "1h",
    appliance: Annotated[str, Form(max_length=64, pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$")] = "",
) -> Response:  # fmt: skip
    """Make an enrolment token and show it, this once."""
    if lifetime not in TOKEN_LIFETIMES:
        raise Problem(422, "The token cannot be made", f"{lifetime!r} is none of the lifetimes offered.")
    duration = parse_duration(lifetime)
    _, secret = access.make_token(manager, sender.principal.actor, duration, appliance or None)
    return appliances_page(request, manager, sender, secret)


@router.post("/tokens/{token}/delete")
def delete_token(manager: Managed, sender: Sender, token: Annotated[int, Path(ge=1, lt=2**62)]) -> Response:
    """Forget a token."""
    access.delete_token(manager, sender.principal.actor, token)
    return RedirectResponse("/appliances", 303)


def _back(appliance: str, guest: str, part: str) -> Response:
    return RedirectResponse(f"/guests/{appliance}/{quote(guest, safe='')}#{part}", 303)


def _mode(text: str) -> Mode:
    try:
        return Mode(text)
    except ValueError:
        modes = ", ".join(mode.value for mode in Mode)
        raise Problem(422, "The mode is not known", f"{text[:40]!r} is none of {modes}.") from None


def _duration(text: str) -> timedelta:
    try:
        return min(parse_duration(text), MAX_OVERRIDE)
    except ValueError as error:
        raise Problem(422, "The override cannot be used", f"lasts: {error}.") from None
