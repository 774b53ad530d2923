"""KVM hosts: the guests that their helpers name, protected or not, and changing that."""

from typing import Any, Literal

from fastapi import APIRouter, Depends, Request, Response

from manager_api.auth import Admin, Managed, Operator, Viewer
from manager_api.hosts.link import HostAddress
from manager_api.manager import Manager
from manager_api.operations import hosts as operation
from manager_api.problems import Problem
from manager_api.routes.answers import problems
from manager_api.routes.bodies import GuestName, HostBody, HostName, Limit, ProtectionBody
from manager_api.routes.host_answers import HappenedAnswer, HostAnswer, HostListAnswer, ProtectionAnswer
from manager_api.store import hosts

router = APIRouter(prefix="/hosts", tags=["hosts"], responses=problems(401, 403))
_CHANGES = problems(404, 409, 422, 502, 503)


def _no_query(request: Request) -> None:
    """Refuse what stands in the address: `?dry_run=true` there, passed over, would be the change itself."""
    if request.query_params:
        raise Problem(
            422,
            "The address carries settings",
            'They belong into the body: {"dry_run": true, "persistent": false}.',
        )


_CHANGE: dict[str, Any] = {"responses": _CHANGES, "dependencies": [Depends(_no_query)]}


@router.get("", summary="All KVM hosts")
def everything(manager: Managed, _who: Viewer) -> list[HostListAnswer]:
    """By name, with how many of their guests run, are protected, and are led through an appliance."""
    with manager.database.reading() as session:
        return [HostListAnswer.of(row, manager.hosts.state(row.name)) for row in hosts.everything(session)]


@router.get("/{host}", summary="One KVM host and its guests", responses=problems(404))
def one(host: HostName, manager: Managed, _who: Viewer) -> HostAnswer:
    """What its helper said last; `trouble` says why that may be old, `heard_at` how old."""
    with manager.database.reading() as session:
        row = operation.find(session, host)
    return HostAnswer.of(row, manager.hosts.state(host))


@router.put(
    "/{host}",
    summary="Register a KVM host",
    responses=problems(409, 422, replaced="It was registered; its address is this one now.")
    | {201: {"description": "It was not registered before."}},
)
def put(host: HostName, body: HostBody, manager: Managed, who: Admin, response: Response) -> HostListAnswer:
    """Its helper is dialled from now on, and says who its guests are.

    It needs a certificate of this manager's (`sekisho-manager host-certificate`), valid for the address, and
    has to list `sekisho-manager` under `listen.clients`.
    """
    at = HostAddress(body.address, body.port)
    row, is_new = operation.register(manager, who.actor, host, at)
    response.status_code = 201 if is_new else 200
    return HostListAnswer.of(row, manager.hosts.state(host, at))


@router.delete("/{host}", status_code=204, summary="Forget a KVM host", responses=problems(404))
def delete(host: HostName, manager: Managed, who: Admin) -> None:
    """Its guests stay as they are, protected or not."""
    operation.remove(manager, who.actor, host)


@router.get("/{host}/events", summary="What happened to a host's guests", responses=problems(404))
def events(host: HostName, manager: Managed, _who: Viewer, limit: Limit = 100) -> list[HappenedAnswer]:
    """Newest first. The last thousand are known, as long as the helper and this manager run."""
    with manager.database.reading() as session:
        operation.find(session, host)
    told = manager.hosts.state(host).events
    return [HappenedAnswer.of(event) for event in told[: -limit - 1 : -1]]


@router.post(
    "/{host}/guests/{guest}/protect",
    summary="Protect a guest",
    responses=_CHANGES,
    dependencies=[Depends(_no_query)],
)
async def protect(
    host: HostName, guest: GuestName, manager: Managed, who: Operator, body: ProtectionBody | None = None
) -> ProtectionAnswer:
    """Have a guest's traffic (its name or UUID) led through the host's appliance, now and whenever it runs.

    Its connections go on. If its frames go into the appliance and do not come out, it is connected as it was,
    and the answer is 409. Of a guest that says nothing meanwhile `done` says that this was not seen.
    """
    return await _change(manager, who.actor, host, guest, "protect", body)


@router.post(
    "/{host}/guests/{guest}/unprotect",
    summary="Protect a guest no longer",
    responses=_CHANGES,
    dependencies=[Depends(_no_query)],
)
async def unprotect(
    host: HostName, guest: GuestName, manager: Managed, who: Operator, body: ProtectionBody | None = None
) -> ProtectionAnswer:
    """Connect the guest as if there were no appliance."""
    return await _change(manager, who.actor, host, guest, "unprotect", body)


async def _change(
    manager: Manager,
    actor: str,
    host: str,
    guest: str,
    what: Literal["protect", "unprotect"],
    body: ProtectionBody | None,
) -> ProtectionAnswer:
    how = body or ProtectionBody()
    changed = await operation.protection(
        manager, actor, host, guest, what, dry_run=how.dry_run, persistent=how.persistent
    )
    return ProtectionAnswer.of(changed)
