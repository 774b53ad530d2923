"""What appliances ask and report, on the port that requires their certificate."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field, StringConstraints

from manager_api.auth import AppliancePeer, Managed
from manager_api.bulletin import policy_topic
from manager_api.manager import Manager
from manager_api.operations import enrolment, reports
from manager_api.problems import Problem
from manager_api.routes.answers import problems
from manager_api.routes.bodies import Body, RenewBody, StatusBody
from manager_api.store import events, policies, rule_sets

router = APIRouter(prefix="/appliance", tags=["appliance"], responses=problems(403))
# Another manager on the same database may have made the change: look again this often.
LOOK_AGAIN_S = 1.0


class SignedPolicyAnswer(BaseModel):
    """A policy; `document` is the PolicyDocument as a JSON string."""

    document: str
    digest: str = Field(description="SHA-256 of the document, hex.")
    signature: str = Field(description="Ed25519 over the digest's ASCII, base64.")


class EventsBody(Body):
    """Events first, first+1, … of a lane of the spool that epoch names."""

    epoch: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9-]+$")]
    lane: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
    first: Annotated[int, Field(ge=0, lt=2**62)]
    events: list[dict[str, Any]]


class StoredAnswer(BaseModel):
    """How many events were new, and how many were there already."""

    stored: int
    duplicate: int


class RenewAnswer(BaseModel):
    """A new certificate, PEM, and the authority's."""

    certificate: str
    ca: str


@router.get(
    "/policy",
    summary="The policy to run",
    response_model=SignedPolicyAnswer,
    responses={204: {"description": "none other than `after` within `wait` seconds"}},
)
async def policy(
    request: Request,
    manager: Managed,
    peer: AppliancePeer,
    after: Annotated[int, Query(ge=0, lt=2**31, description="The version that is known; 0: none.")] = 0,
    wait: Annotated[float, Query(ge=0, le=3_600, description="Seconds to wait for another version.")] = 0,
) -> Response:
    """Answers at once if the wanted version is not `after`, else as soon as there is one (a long poll)."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + min(wait, manager.settings.limits.poll_max_s)
    with manager.bulletin.waiting(policy_topic(peer.id)) as changed:
        while True:
            changed.clear()
            found = await run_in_threadpool(_wanted, manager, peer.id, after)
            if found is not None:
                return Response(found.model_dump_json(), media_type="application/json")
            remaining = deadline - loop.time()
            if remaining <= 0 or manager.bulletin.closing or await request.is_disconnected():
                return Response(status_code=204)
            try:
                await asyncio.wait_for(changed.wait(), min(remaining, LOOK_AGAIN_S))
            except TimeoutError:
                continue


@router.get(
    "/rule-sets/{digest}",
    summary="A rule set's content",
    responses=problems(404),
)
def rule_set(
    digest: Annotated[str, Path(pattern="^[0-9a-f]{64}$")], manager: Managed, _peer: AppliancePeer
) -> Response:
    """RuleSetContent as JSON bytes whose SHA-256 is the digest; never changes under it."""
    with manager.database.reading() as session:
        content = rule_sets.content(session, digest)
    if content is None:
        raise Problem(404, "No such rule set", f"There is none of digest {digest}. Get the policy again.")
    return Response(content, media_type="application/json", headers={"ETag": f'"{digest}"'})


@router.put("/status", status_code=204, summary="Report the status")
def status(body: StatusBody, manager: Managed, peer: AppliancePeer) -> None:
    """Replaces what was reported before; guests that are new begin with the appliance's defaults."""
    reports.take_status(manager, peer.id, body.model_dump())


@router.post("/events", summary="Deliver events", responses=problems(413, 422))
def post_events(body: EventsBody, manager: Managed, peer: AppliancePeer) -> StoredAnswer:
    """Stores each event once, however often sent: (appliance, epoch, lane, number) names it."""
    most = manager.settings.limits.events_per_batch
    if len(body.events) > most:
        raise Problem(413, "Too many events", f"{len(body.events)} at once; at most {most} are taken.")
    batch = events.Batch(peer.id, body.epoch, body.lane, body.first)
    stored = reports.take_events(manager, batch, body.events)
    return StoredAnswer(stored=stored, duplicate=len(body.events) - stored)


@router.post("/renew", summary="Renew the certificate", responses=problems(422))
def renew(body: RenewBody, manager: Managed, peer: AppliancePeer) -> RenewAnswer:
    """The certificate in use stays valid until it ends."""
    certificate = enrolment.renew(manager, peer.id, peer.name, body.csr)
    return RenewAnswer(certificate=certificate, ca=manager.authority.pem)


def _wanted(manager: Manager, appliance_id: str, after: int) -> SignedPolicyAnswer | None:
    with manager.database.reading() as session:
        row = policies.wanted(session, appliance_id, after)
        if row is None:
            return None
        return SignedPolicyAnswer(document=row.document, digest=row.digest, signature=row.signature)
