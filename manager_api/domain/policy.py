"""From an operator's settings to the signed document that an appliance runs."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.model.policy import (
    Assignment,
    Firewall,
    Guard,
    GuestPolicy,
    Mode,
    Override,
    PolicyDocument,
    RuleSetRef,
)


@dataclass(frozen=True, slots=True)
class GuestSettings:
    """What is set for one guest; None follows the appliance's defaults, now and when they change."""

    assignments: tuple[Assignment, ...] | None = None
    firewall: Firewall | None = None
    guard: Guard | None = None
    on_drop: str | None = None
    overrides: tuple[Override, ...] = field(default=())

    @property
    def inherits_all(self) -> bool:
        """Whether the guest runs the defaults unchanged."""
        return not self.overrides and all(
            part is None for part in (self.assignments, self.firewall, self.guard, self.on_drop)
        )


@dataclass(frozen=True, slots=True)
class SignedPolicy:
    """A policy document as it is sent: the digest is of the document's bytes, the signature of the digest."""

    document: str
    digest: str
    signature: str


def effective(defaults: GuestPolicy, settings: GuestSettings) -> GuestPolicy:
    """Return what a guest runs: its own settings where it has them, the defaults where not."""
    return GuestPolicy(
        assignments=defaults.assignments if settings.assignments is None else settings.assignments,
        overrides=(*defaults.overrides, *settings.overrides),
        firewall=settings.firewall or defaults.firewall,
        guard=settings.guard or defaults.guard,
        on_drop="silent" if (settings.on_drop or defaults.on_drop) == "silent" else "reset",
    )


def first_defaults(rule_sets: Sequence[str]) -> GuestPolicy:
    """Return a new appliance's defaults: every rule set there is, in detect mode.

    A newly protected guest is watched before anything of its traffic is dropped.
    """
    return GuestPolicy(assignments=tuple(Assignment(name, Mode.DETECT) for name in rule_sets))


def referenced(defaults: GuestPolicy, guests: Mapping[str, GuestSettings]) -> list[str]:
    """Return the names of the rule sets that the policy needs, sorted."""
    policies = [defaults, *(effective(defaults, settings) for settings in guests.values())]
    return sorted({a.rule_set for policy in policies for a in policy.assignments})


def build(
    version: int,
    defaults: GuestPolicy,
    guests: Mapping[str, GuestSettings],
    rule_sets: Mapping[str, RuleSetRef],
) -> PolicyDocument:
    """Return the whole document; it names only rule sets that are referenced and exist.

    A guest that runs the defaults unchanged has no entry. An assignment to a rule set that is not there
    is left out: an appliance refuses a document it cannot load whole.
    """
    own = {
        name: _without_missing(effective(defaults, settings), rule_sets)
        for name, settings in sorted(guests.items())
        if not settings.inherits_all
    }
    needed = [rule_sets[name] for name in referenced(defaults, guests) if name in rule_sets]
    return PolicyDocument(version, tuple(needed), _without_missing(defaults, rule_sets), own)


def _without_missing(policy: GuestPolicy, rule_sets: Mapping[str, RuleSetRef]) -> GuestPolicy:
    present = tuple(a for a in policy.assignments if a.rule_set in rule_sets)
    return replace(policy, assignments=present)


def encode(document: PolicyDocument) -> str:
    """Return the document as canonical JSON: keys sorted, no spaces, UTF-8."""
    return msgspec.json.encode(document, order="sorted").decode()


def sign(document: str, key: Ed25519PrivateKey) -> SignedPolicy:
    """Return the document with its SHA-256 (hex) and the base64 signature over the digest's ASCII."""
    digest = hashlib.sha256(document.encode()).hexdigest()
    return SignedPolicy(document, digest, base64.b64encode(key.sign(digest.encode())).decode())
