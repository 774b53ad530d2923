"""What answers about KVM hosts carry."""

from datetime import datetime
from typing import Any, Self

import msgspec
from pydantic import BaseModel, Field

from manager_api.hosts.answers import Changed, Happened, HostGuest
from manager_api.hosts.link import HostState
from manager_api.store.models import Host


class HostListAnswer(BaseModel):
    """A KVM host: where its helper listens, whether it is heard, and how many of its guests are protected."""

    name: str
    address: str
    port: int
    added_at: datetime
    added_by: str
    host_uuid: str | None = None
    heard_at: datetime | None = Field(description="When its helper said its list of guests last.")
    trouble: str | None = Field(description="Why that list may be old; null while the helper is heard.")
    events_trouble: str | None = Field(default=None, description="Why its helper tells no events.")
    running: int = Field(description="Guests that run, appliances not counted.")
    protected: int = Field(description="Guests that shall be protected, running or not.")
    led_through: int = Field(description="Running guests whose traffic is led through an appliance.")

    @classmethod
    def of(cls, row: Host, state: HostState, **more: Any) -> Self:
        """Return the row and what is known of the host as an answer."""
        listing = state.listing
        guests = [guest for guest in listing.guests if not guest.appliance] if listing else []
        return cls(
            name=row.name, address=row.address, port=row.port, added_at=row.added_at, added_by=row.added_by,
            host_uuid=listing.host_uuid if listing else None, heard_at=state.heard_at, trouble=state.trouble,
            events_trouble=state.events_trouble,
            running=sum(guest.running for guest in guests),
            protected=sum(guest.protected for guest in guests),
            led_through=sum(guest.running and guest.is_led for guest in guests), **more,
        )  # fmt: skip


class HostVnicAnswer(BaseModel):
    """A guest's vNIC on its host; bridge is the one that it is on without an appliance."""

    mac: str
    tap: str | None
    bridge: str | None
    led_through: bool
    held: bool = Field(description="Nothing of it passes before the appliance knows it.")
    obstacle: str | None = Field(description="Why it cannot be led through an appliance.")
    addresses: list[str] = Field(description="What the guest announced in the last hour.")


class HostGuestAnswer(BaseModel):
    """A guest as its host's helper names it."""

    uuid: str
    name: str
    known_as: str = Field(description="What policies call it, however it is renamed.")
    running: bool
    protected: bool = Field(description="Whether it shall be.")
    led_through: bool = Field(description="Whether all vNICs that can be are.")
    appliance: bool
    trouble: str | None = Field(description="Why it is to be protected and is not.")
    vnics: list[HostVnicAnswer]

    @classmethod
    def of(cls, guest: HostGuest) -> "HostGuestAnswer":
        """Return the guest as an answer."""
        return cls(**msgspec.to_builtins(guest), led_through=guest.is_led)


class HostAnswer(HostListAnswer):
    """A KVM host and its guests."""

    guests: list[HostGuestAnswer]

    @classmethod
    def of(cls, row: Host, state: HostState, **more: Any) -> Self:
        """Return the row and all that is known of the host as an answer."""
        guests = state.listing.guests if state.listing else ()
        return super().of(row, state, guests=[HostGuestAnswer.of(guest) for guest in guests], **more)


class HappenedAnswer(BaseModel):
    """What became of a guest, or (without a guest) of the hypervisor's connection."""

    at: datetime
    what: str = Field(examples=["started", "migrated-in", "vnics-changed"])
    uuid: str | None
    name: str | None

    @classmethod
    def of(cls, event: Happened) -> "HappenedAnswer":
        """Return the event as an answer."""
        return cls(at=event.time, what=event.what, uuid=event.uuid or None, name=event.name or None)


class ProtectionAnswer(BaseModel):
    """What was done, or would be, in sentences; what of it cannot be is refused by name."""

    done: list[str]
    would: list[str]
    refused: list[str]

    @classmethod
    def of(cls, changed: Changed) -> "ProtectionAnswer":
        """Return what the helper says as an answer."""
        return cls(done=list(changed.done), would=list(changed.would), refused=list(changed.refused))
