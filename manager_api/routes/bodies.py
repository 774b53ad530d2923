"""What requests carry. Every text is bounded and free of control characters; unknown keys are refused."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from appliance.model.policy import Mode

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
FILE_NAME = r"^([A-Za-z0-9][A-Za-z0-9._-]*/)?[A-Za-z0-9][A-Za-z0-9._-]*$"
ADDRESS = r"^[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9.])?$|^::[A-Za-z0-9:.]*$"
PRINTABLE = r"^[^\x00-\x1f\x7f]*$"

Name = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=NAME)]
GuestText = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=PRINTABLE)]
Text = Annotated[str, StringConstraints(max_length=500, pattern=PRINTABLE)]
Sid = Annotated[int, Field(ge=1, lt=2**32)]


def _aware(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


Time = Annotated[datetime, AfterValidator(_aware)]

RuleSetName = Annotated[
    str,
    Path(min_length=1, max_length=64, pattern=NAME, description="The rule set's name.", examples=["shipped"]),
]
ApplianceName = Annotated[
    str,
    Path(
        min_length=1, max_length=64, pattern=NAME, description="The appliance's name or id.", examples=["lab"]
    ),
]
HostName = Annotated[
    str,
    Path(min_length=1, max_length=64, pattern=NAME, description="The KVM host's name.", examples=["kvm7"]),
]
ApplianceQuery = Annotated[
    str | None,
    Query(min_length=1, max_length=64, pattern=NAME, description="The appliance's name or id."),
]
GuestName = Annotated[
    str,
    Path(min_length=1, max_length=128, pattern=PRINTABLE, description="The guest's name.", examples=["web"]),
]
Limit = Annotated[int, Query(ge=1, le=1_000, description="At most so many.")]

T = TypeVar("T")


class Body(BaseModel):
    """A request's body."""

    model_config = ConfigDict(extra="forbid", use_enum_values=False)

    def to(self, kind: type[T]) -> T:
        """Return the body as the model's dataclass of the same shape."""
        return msgspec.convert(self.model_dump(mode="json"), kind)


class EnrolBody(Body):
    """What an appliance sends to become known."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    name: Name
    csr: Annotated[str, StringConstraints(max_length=16_384)] = Field(
        description="PEM; its key is ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or more."
    )
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"token": "ske_…", "name": "lab", "csr": "-----BEGIN CERTIFICATE REQUEST-----\n…"},
            ]
        },
    )


class HostBody(Body):
    """Where a KVM host's helper listens; the address is one of those in its certificate."""

    address: Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=ADDRESS)]
    port: Annotated[int, Field(ge=1, le=65_535)] = 8445
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"address": "kvm7.example", "port": 8445}]}
    )


class ProtectionBody(Body):
    """How a guest is to be protected, or no longer."""

    dry_run: bool = Field(
        default=False, description="Only say what would change, and what it would cut into."
    )
    persistent: bool = Field(default=False, description="In the guest's stored definition, too.")


class RenewBody(Body):
    """What an appliance sends before its certificate ends."""

    csr: Annotated[str, StringConstraints(max_length=16_384)]


class SelectionBody(Body):
    """Which signatures: all, those listed, those the filter takes; with both, what both take."""

    sids: Annotated[list[Sid], Field(max_length=100_000)] | None = None
    filter: Annotated[str, StringConstraints(max_length=2_000)] | None = Field(
        default=None, examples=["cve:* and severity<=1"]
    )


class AssignmentBody(Body):
    """Binds a selection of a rule set with a mode."""

    rule_set: Name
    mode: Mode
    select: SelectionBody = SelectionBody()


class AssignmentsBody(Body):
    """The whole list; of several assignments of one signature the last one counts. null: as the defaults."""

    assignments: Annotated[list[AssignmentBody], Field(max_length=200)] | None
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "assignments": [
                        {"rule_set": "shipped", "mode": "prevent"},
                        {"rule_set": "et-open", "mode": "detect", "select": {"filter": "cve:*"}},
                    ]
                }
            ]
        },
    )


class FirewallRuleBody(Body):
    """One firewall rule; lower priority numbers are looked at first."""

    action: Literal["allow", "deny", "bypass", "log"]
    direction: Literal["in", "out"]
    priority: Annotated[int, Field(ge=0, le=65_535)] = 100
    protocol: Literal["any", "tcp", "udp", "icmp"] = "any"
    peer: Annotated[str, StringConstraints(max_length=200, pattern=PRINTABLE)] = Field(
        "any",
        description="any, an address, a network, or guest:NAME",
        examples=["guest:client", "10.0.0.0/8"],
    )
    ports: Annotated[str, StringConstraints(max_length=500, pattern=PRINTABLE)] = Field(
        "any", description="The destination's ports.", examples=["80,443", "1000-2000"]
    )
    name: Text = ""


class FirewallBody(Body):
    """A guest's stateful firewall, whole."""

    rules: Annotated[list[FirewallRuleBody], Field(max_length=500)] = []
    default_in: Literal["allow", "deny"] = "allow"
    default_out: Literal["allow", "deny"] = "allow"


class AddressPairBody(Body):
    """A MAC and IP that the guest may speak with beside its own."""

    mac: Annotated[str, StringConstraints(max_length=17)]
    ip: Annotated[str, StringConstraints(max_length=64, pattern=PRINTABLE)]


class GuardBody(Body):
    """A guest's L2 guard, whole."""

    mode: Literal["off", "log", "enforce"] = "log"
    frames: Literal["drop", "pass"] = Field(
        default="drop", description="What becomes of frames that nothing here can look into."
    )
    allowed: Annotated[list[AddressPairBody], Field(max_length=256)] = []


class OnDropBody(Body):
    """What a drop on a TCP connection does: reset both ends, or silence. null: as the defaults."""

    on_drop: Literal["reset", "silent"] | None


class DefaultsBody(Body):
    """What guests of an appliance run that have nothing of their own."""

    assignments: Annotated[list[AssignmentBody], Field(max_length=200)] = []
    firewall: FirewallBody = FirewallBody()
    guard: GuardBody = GuardBody()
    on_drop: Literal["reset", "silent"] = "reset"


class OverrideBody(Body):
    """One signature treated otherwise for one guest."""

    sid: Sid
    mode: Mode
    gid: Annotated[int, Field(ge=0, lt=2**32)] = 1
    peer: Annotated[str, StringConstraints(max_length=64, pattern=PRINTABLE)] | None = Field(
        None, description="An address or network; null: any."
    )
    until: Time | None = Field(default=None, description="RFC 3339; null: until taken back.")
    reason: Text = ""
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"sid": 9000001, "mode": "off", "until": "2027-01-31T08:00:00Z", "reason": "ticket 4711"},
            ]
        },
    )


class RuleFileBody(Body):
    """One file of a rule set."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=FILE_NAME)] = Field(
        description="Rules are in files called *.rules; threshold.config holds suppressions and thresholds; "
        "any other file is data that a rule names, such as datasets/NAME.",
        examples=["local.rules"],
    )
    text: str


class RuleSetBody(Body):
    """A rule set, whole."""

    files: Annotated[list[RuleFileBody], Field(min_length=1, max_length=1_000)]


class VnicBody(BaseModel):
    """A vNIC as reported."""

    name: Annotated[str, Field(max_length=128)] = ""
    mac: Annotated[str, Field(max_length=32)] = ""
    addresses: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=64)] = []
    model_config = ConfigDict(extra="allow")


class GuestStatusBody(BaseModel):
    """A guest as reported; bytes are counted since the appliance began to count."""

    name: GuestText
    segment: Annotated[str, StringConstraints(max_length=128, pattern=PRINTABLE)] | None = None
    vnics: Annotated[list[VnicBody | GuestText], Field(max_length=64)] = []
    bytes: Annotated[int, Field(ge=0, lt=2**63)] = 0
    uninspected: Annotated[
        dict[Annotated[str, Field(max_length=64)], Annotated[int, Field(ge=0, lt=2**63)]],
        Field(max_length=64),
    ] = {}
    model_config = ConfigDict(extra="ignore")


class BypassBody(BaseModel):
    """An emergency bypass that is on; guest null: of all guests; until_s: Unix time it ends at."""

    guest: GuestText | None = None
    until_s: Annotated[float, Field(ge=0, lt=1e11)] | None = None
    model_config = ConfigDict(extra="ignore")


class StatusBody(BaseModel):
    """What an appliance reports of itself. Keys that this manager does not know are ignored."""

    live_version: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    error: Annotated[str, Field(max_length=4_000)] | None = None
    guests: Annotated[list[GuestStatusBody], Field(max_length=2_000)] = []
    bypass: Annotated[list[BypassBody], Field(max_length=2_000)] = []
    missing: Annotated[list[Annotated[str, Field(max_length=1_000)]], Field(max_length=100)] = []
    inspector: dict[str, Any] | None = None
    spool: dict[str, Any] | None = None
    model_config = ConfigDict(extra="ignore")


class TokenBody(Body):
    """An enrolment token to be made."""

    for_s: Annotated[int, Field(ge=1, le=7 * 86_400)] = Field(3_600, description="Seconds it is valid.")
    appliance: Name | None = Field(default=None, description="Enrols this name only, new or again.")


class KeyBody(Body):
    """An API key to be made."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=PRINTABLE)]
    role: Literal["viewer", "operator", "admin"] = "viewer"
