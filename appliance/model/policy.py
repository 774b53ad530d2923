"""The policy document: what the manager publishes and the appliance runs."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Literal

POLICY_FORMAT = 1


class Mode(Enum):
    """How an assignment treats its signatures (not to be confused with a signature's action)."""

    OFF = "off"
    DETECT = "detect"
    AS_WRITTEN = "as-written"
    PREVENT = "prevent"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which signatures of a rule set: all of them, those listed, or those a filter matches.

    filter: `cve:* and severity<=1`; grammar in appliance.rulesets.selection.
    """

    sids: tuple[int, ...] | None = None
    filter: str | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """Binds a selection of a rule set to a guest with a mode."""

    rule_set: str
    mode: Mode
    select: Selection = Selection()


@dataclass(frozen=True, slots=True)
class Override:
    """One signature treated otherwise for one guest, optionally for one peer and until a date."""

    sid: int
    mode: Mode
    gid: int = 1
    peer: str | None = None
    until: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FirewallRule:
    """One firewall rule of a guest; lower priority numbers are looked at first.

    action: allow; deny; bypass (allowed, never inspected); log (log and go on).
    direction: as the guest sees it; a connection's replies are always let through.
    peer: `any`, an address, a network, or `guest:NAME`. ports: `any`, `80`, `80,443`, `1000-2000`
    (the destination's ports).
    """

    action: Literal["allow", "deny", "bypass", "log"]
    direction: Literal["in", "out"]
    priority: int = 100
    protocol: Literal["any", "tcp", "udp", "icmp"] = "any"
    peer: str = "any"
    ports: str = "any"
    name: str = ""


@dataclass(frozen=True, slots=True)
class Firewall:
    """A guest's stateful firewall."""

    rules: tuple[FirewallRule, ...] = ()
    default_in: Literal["allow", "deny"] = "allow"
    default_out: Literal["allow", "deny"] = "allow"


@dataclass(frozen=True, slots=True)
class AddressPair:
    """A MAC and IP that a guest may speak with beside its own (VRRP, virtual IPs); ip may be a network."""

    mac: str
    ip: str


@dataclass(frozen=True, slots=True)
class Guard:
    """The L2 guard of a guest: it cannot speak with another's MAC or IP.

    mode: unless it is off the guest also gets no frames for addresses that its bridge does not know.
    frames: what becomes of frames that nothing here can look into, whoever sent them: VLAN ID 0 and
    double tags, PPPoE, SNAP and every other EtherType but ARP, IPv4 and IPv6. It is not part of mode:
    a receiver may take the packet inside for an ordinary one, so a shield that let them pass is none.
    """

    mode: Literal["off", "log", "enforce"] = "log"
    allowed: tuple[AddressPair, ...] = ()
    frames: Literal["drop", "pass"] = "drop"


@dataclass(frozen=True, slots=True)
class GuestPolicy:
    """Everything that is decided for one guest."""

    assignments: tuple[Assignment, ...] = ()
    overrides: tuple[Override, ...] = ()
    firewall: Firewall = Firewall()
    guard: Guard = Guard()
    on_drop: Literal["reset", "silent"] = "reset"


@dataclass(frozen=True, slots=True)
class RuleSetRef:
    """One version of a rule set; digest is the sha256 (hex) of its canonical JSON content."""

    name: str
    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class RuleFile:
    """One file of a rule set."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class RuleSetContent:
    """A rule set's files, fetched once by digest."""

    name: str
    files: tuple[RuleFile, ...]


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """The whole policy of one appliance; a guest without an entry runs `defaults`."""

    version: int
    rule_sets: tuple[RuleSetRef, ...] = ()
    defaults: GuestPolicy = GuestPolicy()
    guests: dict[str, GuestPolicy] = field(default_factory=dict)
    format: int = POLICY_FORMAT
