"""The event list's filters, as the form's fields; what is left empty asks for nothing."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy.orm import Session

from manager_api.operations.guests import find_appliance
from manager_api.routes.bodies import NAME, PRINTABLE
from manager_api.store import events


class FilterForm(BaseModel):
    """The fields of the form."""

    appliance: Annotated[str, Field(max_length=64, pattern=NAME)] | None = None
    guest: Annotated[str, Field(max_length=128, pattern=PRINTABLE)] | None = None
    sid: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    severity: Annotated[int, Field(ge=1, le=4)] | None = None
    event_type: Annotated[str, Field(max_length=64, pattern=PRINTABLE)] | None = None
    blocked: bool | None = None
    cve: Annotated[str, Field(max_length=64, pattern=PRINTABLE)] | None = None
    text: Annotated[str, Field(max_length=128, pattern=PRINTABLE)] | None = None
    src_ip: Annotated[str, Field(max_length=64, pattern=PRINTABLE)] | None = None
    dest_ip: Annotated[str, Field(max_length=64, pattern=PRINTABLE)] | None = None
    before: Annotated[int, Field(ge=1, lt=2**62)] | None = None
    model_config = ConfigDict(extra="ignore")

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value


Filters = Annotated[FilterForm, Query()]


def wanted_of(session: Session, filters: FilterForm) -> events.Filter:
    """Return the store's filter. Raises Problem 404 for an appliance that is not there."""
    values = filters.model_dump(exclude={"appliance", "before"})
    owner = None if filters.appliance is None else find_appliance(session, filters.appliance).id
    return events.Filter(appliance_id=owner, **values)


def query_of(filters: FilterForm) -> str:
    """Return the filters as a query string."""
    return urlencode(filters.model_dump(exclude={"before"}, exclude_none=True))
