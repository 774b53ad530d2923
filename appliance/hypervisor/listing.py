"""What the host helper says of its guests, as it arrives and as it is kept: hostile until it was read here.

Only protected guests are kept, each vNIC with the appliance's port that leads to it: a card's MAC, and a VLAN
where many guests share a card. Other keys and other guests are none of the appliance's business.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from appliance.durable import replace_file
from appliance.hypervisor.links import Place
from appliance.model.faults import PolicyError

MAX_GUESTS = 4096
MAX_VNICS = 64
MAX_ADDRESSES = 64
MAX_FILE_BYTES = 8 * 1024 * 1024

Mac = Annotated[str, Meta(pattern=r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")]
Uuid = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
Address = Annotated[str, Meta(pattern=r"^[0-9a-f.:]{2,45}\Z")]
VlanId = Annotated[int, Meta(ge=1, le=4094)]


class ListedVnic(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A guest's vNIC. port, vlan: what it is behind here; addresses: what the guest announced.

    segment: ours alone, where it was when it was last seen on a bridge; of use before the bridges are there.
    """

    mac: Mac
    port: Mac | None = None
    vlan: VlanId | None = None
    addresses: Annotated[tuple[Address, ...], Meta(max_length=MAX_ADDRESSES)] = ()
    segment: str | None = None


class ListedGuest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A guest. known_as: what policies call it, for ever, however it is renamed."""

    uuid: Uuid
    known_as: Annotated[str, Meta(max_length=1024)]
    protected: bool
    vnics: Annotated[tuple[ListedVnic, ...], Meta(max_length=MAX_VNICS)] = ()


class Listing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A host's guests. edition: the list's number. trouble: why the helper knows no newer ones."""

    host_uuid: Annotated[str, Meta(max_length=64)] = ""
    guests: Annotated[tuple[ListedGuest, ...], Meta(max_length=MAX_GUESTS)]
    edition: Annotated[int, Meta(ge=0, lt=2**53)] = 0
    trouble: Annotated[str, Meta(max_length=4096)] | None = None


class _Answer(msgspec.Struct, frozen=True):
    ok: bool
    report: Listing | None = None
    error: Annotated[str, Meta(max_length=4096)] = "no reason given"


class Seen(NamedTuple):
    """Where a vNIC was seen last: the guest's UUID and its MAC."""

    uuid: str
    mac: str


def read_answer(line: bytes) -> Listing:
    """Return the list in an answer of the helper. Raises PolicyError when it refuses, or says no list."""
    try:
        answer = msgspec.json.decode(line, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PolicyError(f"it does not say a list of guests: {error}") from None
    if not answer.ok or answer.report is None:
        raise PolicyError(f"it refuses: {''.join(c if c.isprintable() else '?' for c in answer.error)}")
    return answer.report


def settled(
    listing: Listing,
    segments: Mapping[str, str],
    places: Mapping[str, Place],
    former: Listing | None,
) -> Listing:
    """Return what is to be kept: the protected guests, and in which segment each vNIC is, or was last.

    segments: their names by bridge.
    """
    was = {
        Seen(guest.uuid, vnic.mac): vnic.segment
        for guest in (former.guests if former else ())
        for vnic in guest.vnics
    }
    guests = []
    for guest in listing.guests:
        if not guest.protected:
            continue
        vnics = []
        for vnic in guest.vnics:
            place = places.get(vnic.port) if vnic.port else None
            here = segments.get(place.bridge) if place and place.bridge else None
            segment = here or was.get(Seen(guest.uuid, vnic.mac))
            vnics.append(msgspec.structs.replace(vnic, segment=segment))
        guests.append(msgspec.structs.replace(guest, vnics=tuple(vnics)))
    return Listing(host_uuid=listing.host_uuid, guests=tuple(guests))


def read_kept(path: Path) -> Listing | None:
    """Return the list that was kept last, None before the first. Raises PolicyError, OSError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        return msgspec.json.decode(content, type=Listing)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PolicyError(
            f"{path}: {error}; move it away, and the host helper's guests are known again once it answers"
        ) from None


def keep(path: Path, listing: Listing) -> None:
    """Keep the list. Raises OSError."""
    replace_file(path, msgspec.json.encode(listing), mode=0o600)
