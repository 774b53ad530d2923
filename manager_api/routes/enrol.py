"""Enrolment: an appliance without a certificate compares our authority and brings a one-time token."""

import math

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from manager_api.auth import Managed, client_address
from manager_api.operations import enrolment
from manager_api.problems import Problem
from manager_api.routes.answers import problems
from manager_api.routes.bodies import EnrolBody
from manager_api.tls import server_names

router = APIRouter(tags=["enrolment"], responses=problems(403, 409, 422))


class EnrolAnswer(BaseModel):
    """What a new appliance works with from now on; all PEM but the id and the URL."""

    appliance_id: str
    certificate: str
    ca: str
    policy_key: str
    appliance_url: str


@router.get(
    "/ca",
    summary="The certificate authority",
    response_class=PlainTextResponse,
)
def certificate_authority(manager: Managed) -> str:
    """The certificate, PEM, for whoever was told its fingerprint and compares that before trusting it."""
    return manager.authority.pem


@router.post("/enrol", status_code=201, summary="Enrol an appliance")
def enrol(body: EnrolBody, request: Request, manager: Managed) -> EnrolAnswer:
    """Takes a one-time token for a client certificate; the token is used up only if all went well."""
    address = client_address(request)
    if wait := manager.enrolments.wait_s(address):
        raise Problem(
            429,
            "Too many enrolments",
            f"Too many attempts came from {address}. Wait {math.ceil(wait)} seconds.",
            headers={"Retry-After": str(math.ceil(wait))},
        )
    manager.enrolments.count(address)
    enrolled = enrolment.enrol(manager, body.token, body.name, body.csr, address)
    manager.enrolments.forget(address)
    return EnrolAnswer(
        appliance_id=enrolled.appliance_id,
        certificate=enrolled.certificate,
        ca=manager.authority.pem,
        policy_key=manager.policy_public_key,
        appliance_url=_appliance_url(request, manager),
    )


def _appliance_url(request: Request, manager: Managed) -> str:
    """Return the other port's address under the name that was dialled, if our certificate holds that."""
    names = server_names(manager.settings)
    dialled = request.url.hostname
    host = dialled if dialled in names else names[0]
    return f"https://{f'[{host}]' if ':' in host else host}:{manager.settings.appliance_port}"
