"""KVM hosts: which there are, how they stand, and what their helpers are asked to do."""

import asyncio
from collections.abc import Iterator
from typing import Literal

from sqlalchemy.orm import Session

from manager_api.bulletin import HOSTS_TOPIC
from manager_api.hosts.answers import Changed, HostGuest, Nonsense, Refused, Request
from manager_api.hosts.dialling import Unreached
from manager_api.hosts.link import HostAddress, HostState
from manager_api.hosts.links import Busy
from manager_api.manager import Manager
from manager_api.problems import Problem, not_found
from manager_api.store import hosts
from manager_api.store.models import Host


async def follow(manager: Manager) -> None:
    """Follow every registered host until cancelled."""

    def wanted() -> dict[str, HostAddress]:
        with manager.database.reading() as session:
            return {row.name: HostAddress(row.address, row.port) for row in hosts.everything(session)}

    with manager.bulletin.waiting(HOSTS_TOPIC) as changed:
        await manager.hosts.run(wanted, changed)


def find(session: Session, name: str) -> Host:
    """Return the host of that name. Raises Problem 404."""
    found = hosts.find(session, name)
    if found is None:
        raise not_found("host", name, "GET /api/v1/hosts lists them; PUT /api/v1/hosts/NAME registers one.")
    return found


def register(
    manager: Manager, actor: str, name: str, at: HostAddress, *, only_new: bool = False
) -> tuple[Host, bool]:
    """Follow a host from now on, or the one of that name at another address. Raises Problem 409."""
    with manager.changing(actor) as change:
        known = hosts.find(change.session, name)
        if known is not None and only_new:
            raise Problem(
                409, "The name is taken",
                f"Host {name} is registered at {known.address} port {known.port}. Forget that one first.",
            )  # fmt: skip
        if known is None and hosts.is_full(change.session):
            raise Problem(
                409, "Too many hosts", f"{hosts.MAX_HOSTS} are registered; remove those that are gone first."
            )
        row, is_new = hosts.put(change.session, name, at.address, at.port, change.at, actor)
        change.note("host.register", name, address=at.address, port=at.port)
        change.topics.append(HOSTS_TOPIC)
        return row, is_new


def remove(manager: Manager, actor: str, name: str) -> None:
    """Follow the host no longer; its guests stay as they are. Raises Problem 404."""
    with manager.changing(actor) as change:
        change.session.delete(find(change.session, name))
        change.note("host.remove", name)
        change.topics.append(HOSTS_TOPIC)


async def protection(
    manager: Manager,
    actor: str,
    host: str,
    guest: str,
    what: Literal["protect", "unprotect"],
    *,
    dry_run: bool,
    persistent: bool,
) -> Changed:
    """Have the host's helper protect a guest (by name or UUID), or no longer; return what it did.

    It is written down before it is asked for, and once more if it was not done. Raises Problem 404, 409 (the
    helper refuses), 502 (it is not heard), 503 (it is asked for too much).
    """
    request = Request(do=what, guest=guest, dry_run=dry_run, persistent=persistent)

    def begin() -> None:
        with manager.changing(actor) as change:
            find(change.session, host)
            if not dry_run:
                change.note(f"host.{what}", f"{host}/{guest}", persistent=persistent)

    def fail(reason: str) -> None:
        if not dry_run:
            with manager.changing(actor) as change:
                change.note(f"host.{what}-failed", f"{host}/{guest}", reason=reason)

    await asyncio.to_thread(begin)
    try:
        changed = await manager.hosts.ask(host, request)
    except (Busy, Refused, Unreached, Nonsense) as error:
        await asyncio.to_thread(fail, str(error))
        raise _problem(host, guest, error, dry_run=dry_run) from None
    except BaseException as error:  # we end, or the client is not waited for any more
        fail(f"what became of it is not known: {type(error).__name__}")
        raise
    if not changed.done and not dry_run:
        why = "; ".join(changed.refused) or "its helper did not say that anything was done"
        await asyncio.to_thread(fail, why)
        raise Problem(409, f"The helper of {host} refuses", why)
    return changed


def _problem(host: str, guest: str, error: Exception, *, dry_run: bool) -> Problem:
    match error:
        case Refused():
            return Problem(409, f"The helper of {host} refuses", str(error))
        case Busy():
            return Problem(
                503, f"The helper of {host} is busy", f"{error}; nothing was changed. Try again in a minute.",
                headers={"Retry-After": "60"},
            )  # fmt: skip
    unsure = "" if dry_run else f" Whether guest {guest} was changed is seen in its list once it is heard."
    return Problem(
        502, f"The helper of {host} did not answer",
        f"{error}.{unsure} On the host: `systemctl status sekisho-host`, `sekisho-host guest list`.",
    )  # fmt: skip


def alarms(name: str, state: HostState) -> Iterator[str]:
    """Yield what somebody has to look at on a host."""
    if state.trouble is not None:
        since = "" if state.heard_at is None else f" since {state.heard_at:%Y-%m-%d %H:%M:%S} UTC"
        yield f"host {name}: its helper is not heard{since}: {state.trouble}"
    for guest in state.listing.guests if state.listing else ():
        if guest.trouble is not None:
            yield f"host {name}: {guest.name} is to be protected and is not: {guest.trouble}"


def exposed_on(state: HostState) -> list[HostGuest]:
    """Return the running guests that nobody asked to protect."""
    return [guest for guest in state.listing.guests if guest.is_exposed] if state.listing else []
