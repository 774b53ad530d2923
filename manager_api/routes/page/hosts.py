"""The page of KVM hosts: who runs there unprotected, and the forms that change it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Form, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy.orm import Session

from manager_api import web
from manager_api.auth import Managed, Role, Visitor, require
from manager_api.hosts.answers import Changed, HostGuest
from manager_api.hosts.link import HostAddress, HostState
from manager_api.manager import Manager, now
from manager_api.operations import hosts as operation
from manager_api.operations.overview import GuestState, guest_states
from manager_api.routes.bodies import ADDRESS, NAME, PRINTABLE, HostName
from manager_api.routes.page.session import Person, Sender
from manager_api.store import appliances, hosts
from manager_api.store.models import Host

router = APIRouter()
MAX_SHOWN = 200
"""Guests of a host."""
Uuid = Annotated[str, Path(min_length=1, max_length=64, pattern=PRINTABLE)]


@dataclass(frozen=True, slots=True)
class Shown:
    """A host as the page shows it. policies: what stands before its guests, by UUID, where one is known."""

    row: Host
    state: HostState
    policies: Mapping[str, GuestState]

    @property
    def guests(self) -> list[HostGuest]:
        """Those that somebody has to look at first; no more than a page holds."""
        listed = self.state.listing.guests if self.state.listing else ()
        return sorted(listed, key=lambda g: (g.trouble is None, not g.is_exposed, g.name))[:MAX_SHOWN]

    @property
    def not_shown(self) -> int:
        """How many more there are."""
        return max(len(self.state.listing.guests) - MAX_SHOWN, 0) if self.state.listing else 0


@dataclass(frozen=True, slots=True)
class Said:
    """What a helper answered. action: where a dry run's confirmation goes."""

    verb: str
    guest: str
    host: str
    dry_run: bool
    action: str
    changed: Changed

    @property
    def title(self) -> str:
        """The heading over it."""
        what = f"{self.verb} {self.guest} on {self.host}"
        return f"{what}?" if self.dry_run else f"{what}: done"


@router.get("/hosts")
def host_list(request: Request, manager: Managed, person: Person) -> Response:
    """Every host, its guests, and which of them are led through an appliance."""
    return _page(request, manager, person)


@router.get("/live/hosts")
def live(manager: Managed, person: Person) -> HTMLResponse:
    """The page's changing part."""
    return HTMLResponse(web.fragment("parts/hosts.html", person, hosts=_shown(manager)))


@router.post("/hosts")
def register(
    manager: Managed,
    sender: Sender,
    name: Annotated[str, Form(min_length=1, max_length=64, pattern=NAME)],
    address: Annotated[str, Form(min_length=1, max_length=255, pattern=ADDRESS)],
    port: Annotated[int, Form(ge=1, le=65_535)] = 8445,
) -> Response:
    """Follow a host's helper from now on."""
    require(sender.principal, Role.ADMIN)
    operation.register(manager, sender.principal.actor, name, HostAddress(address, port), only_new=True)
    return RedirectResponse("/hosts", 303)


@router.post("/hosts/{host}/delete")
def delete(manager: Managed, sender: Sender, host: HostName) -> Response:
    """Follow it no longer."""
    require(sender.principal, Role.ADMIN)
    operation.remove(manager, sender.principal.actor, host)
    return RedirectResponse("/hosts", 303)


@router.get("/hosts/{_host}/{_uuid}/{_what}")
def again(_person: Person) -> Response:
    """Lead whoever opens the address of an answer anew to the list."""
    return RedirectResponse("/hosts", 303)


@router.post("/hosts/{host}/{uuid}/{what}")
async def protection(
    request: Request,
    manager: Managed,
    sender: Sender,
    host: HostName,
    uuid: Uuid,
    what: Literal["protect", "unprotect"],
    dry_run: Annotated[bool, Form()] = False,
) -> Response:
    """Have a guest led through the appliance, or no longer; first only say what that would change."""
    changed = await operation.protection(
        manager, sender.principal.actor, host, uuid, what, dry_run=dry_run, persistent=False
    )
    name = _name_of(manager.hosts.state(host), uuid)
    action = f"/hosts/{host}/{quote(uuid, safe='')}/{what}"
    said = Said(what.capitalize(), name, host, dry_run, action, changed)
    return await run_in_threadpool(_page, request, manager, sender, said)


def _page(request: Request, manager: Manager, person: Visitor, said: Said | None = None) -> Response:
    return web.render("hosts.html", request, person, hosts=_shown(manager), said=said)


def _shown(manager: Manager) -> list[Shown]:
    with manager.database.reading() as session:
        rows = hosts.everything(session)
        by_mac = _by_mac(session) if rows else {}
    shown = []
    for row in rows:
        state = manager.hosts.state(row.name)
        listed = state.listing.guests if state.listing else ()
        policies = {guest.uuid: found for guest in listed if (found := _policy(guest, by_mac)) is not None}
        shown.append(Shown(row, state, policies))
    return shown


def _by_mac(session: Session) -> dict[str, list[GuestState]]:
    """Return what stands before each guest that an appliance reports, by its vNICs' MACs."""
    found: dict[str, list[GuestState]] = {}
    for state in guest_states(session, appliances.active(session), now()):
        for vnic in json.loads(state.guest.vnics):
            if isinstance(vnic, dict) and isinstance(mac := vnic.get("mac"), str):
                found.setdefault(mac, []).append(state)
    return found


def _policy(guest: HostGuest, by_mac: Mapping[str, list[GuestState]]) -> GuestState | None:
    """Return the state that is this guest's: of its name and with a MAC of its.

    Neither alone says who it is. A guest with vNICs on two segments is NAME and NAME@SEGMENT.
    """
    for vnic in guest.vnics if guest.protected else ():
        for state in by_mac.get(vnic.mac, ()):
            if state.guest.name == guest.known_as or state.guest.name.startswith(f"{guest.known_as}@"):
                return state
    return None


def _name_of(state: HostState, uuid: str) -> str:
    listed = state.listing.guests if state.listing else ()
    return next((guest.name for guest in listed if guest.uuid == uuid), uuid)
