"""What a host helper says, hostile until it was read here. Keys that are not named here are passed over.

Its texts are shown to people, so what is no printable character becomes a question mark.
"""

from datetime import datetime
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

MAX_LINE_BYTES = 4 * 1024 * 1024
MAX_GUESTS = 4096
MAX_VNICS = 64
MAX_ADDRESSES = 64

Sentence = Annotated[str, Meta(max_length=4096)]
Sentences = Annotated[tuple[Sentence, ...], Meta(max_length=1024)]
Name = Annotated[str, Meta(max_length=1024)]
Uuid = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
T = TypeVar("T")


class Refused(Exception):
    """The helper says no; the message is its reason."""


class Nonsense(Exception):
    """The helper says something that is no answer."""


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is asked. guest: its name or UUID. after: the last event that is known."""

    do: Literal["guests", "events", "protect", "unprotect"]
    guest: str | None = None
    dry_run: bool = False
    persistent: bool = False
    follow: bool = False
    after: int | None = None


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    """Something with texts in it."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            match getattr(self, name):
                case str() as text if not text.isprintable():
                    msgspec.structs.force_setattr(self, name, printable(text))
                case (str(), *_) as texts:
                    msgspec.structs.force_setattr(self, name, tuple(map(printable, texts)))


class HostVnic(_Said, frozen=True, kw_only=True):
    """A guest's vNIC. bridge: the one that it is on without us. obstacle: why it cannot be led anywhere."""

    mac: Annotated[str, Meta(max_length=64)]
    tap: Annotated[str, Meta(max_length=64)] | None = None
    bridge: Annotated[str, Meta(max_length=64)] | None = None
    led_through: bool = False
    held: bool = False
    obstacle: Sentence | None = None
    addresses: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=MAX_ADDRESSES)] = ()


class HostGuest(_Said, frozen=True, kw_only=True):
    """A guest. known_as: what policies call it. trouble: why it is to be protected and is not."""

    uuid: Uuid
    name: Name
    known_as: Name
    running: bool
    protected: bool
    appliance: bool = False
    trouble: Sentence | None = None
    vnics: Annotated[tuple[HostVnic, ...], Meta(max_length=MAX_VNICS)] = ()

    @property
    def is_led(self) -> bool:
        """Whether all of its vNICs that can be led through an appliance are, and one is."""
        able = [vnic for vnic in self.vnics if vnic.obstacle is None]
        return bool(able) and all(vnic.led_through and not vnic.held for vnic in able)

    @property
    def is_exposed(self) -> bool:
        """Whether it runs with no appliance before it, as nobody asked for one."""
        return self.running and not self.protected and not self.appliance


class Listing(_Said, frozen=True, kw_only=True):
    """A host's guests. trouble: why the helper knows no newer ones."""

    host_uuid: Annotated[str, Meta(max_length=64)] = ""
    guests: Annotated[tuple[HostGuest, ...], Meta(max_length=MAX_GUESTS)] = ()
    trouble: Sentence | None = None


class Happened(_Said, frozen=True, kw_only=True):
    """What became of a guest, or (uuid empty) of the hypervisor's connection."""

    number: Annotated[int, Meta(ge=0, lt=2**53)]
    time: Annotated[datetime, Meta(tz=True)]
    what: Annotated[str, Meta(max_length=64)]
    uuid: Uuid | Literal[""] = ""
    name: Name = ""


class Changed(_Said, frozen=True, kw_only=True):
    """What was done, or would be, in sentences. refused: what of it cannot be."""

    done: Sentences = ()
    would: Sentences = ()
    refused: Sentences = ()


class _Answer(msgspec.Struct, frozen=True):
    ok: bool
    report: msgspec.Raw = msgspec.Raw(b"null")
    error: Sentence = "no reason given"


def read(line: bytes, kind: type[T]) -> T:
    """Return the report in an answer. Raises Refused, Nonsense."""
    try:
        answer = msgspec.json.decode(line, type=_Answer)
        if answer.ok:
            return msgspec.json.decode(answer.report, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Nonsense(f"it says what is no answer: {error}") from None
    raise Refused(printable(answer.error))


def printable(text: str) -> str:
    """Return the text without what a terminal would take for a command."""
    return "".join(c if c.isprintable() else "?" for c in text)
