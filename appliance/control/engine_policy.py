"""The manager's policy for this appliance's guests, as the engine reads it (ARCHITECTURE.md)."""

import ipaddress
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from appliance.model.faults import PolicyError
from appliance.model.guest import Guest, GuestInventory
from appliance.model.links import Links
from appliance.model.policy import Assignment, GuestPolicy, Override, PolicyDocument
from appliance.rulesets import SelectionError, Signature, select

ENGINE_FORMAT = 1


class RuleSetFiles(msgspec.Struct, frozen=True):
    """One rule set as it lies on disk. signatures are needed only where a filter selects among them."""

    name: str
    paths: tuple[str, ...]
    signatures: Sequence[Signature] = ()


def render_engine_policy(
    document: PolicyDocument,
    inventory: GuestInventory,
    links: Links,
    rule_sets: Mapping[str, RuleSetFiles],
    generation: int,
) -> dict[str, Any]:
    """Return engine.json as a value. Raises PolicyError for a rule set or filter that does not exist.

    A port whose guest is off has no interface number and is left out; the appliance renders again when
    the guest's interface appears.
    """
    return {
        "format": ENGINE_FORMAT,
        "version": document.version,
        "generation": generation,
        "rule_sets": [{"name": r.name, "files": list(r.paths)} for r in rule_sets.values()],
        "variables": {"addresses": {}, "ports": {}},
        "ports": [
            {"tap": port.tap, "ifindex": port.ifindex, "number": port.number, "guest": port.guest}
            for port in links.ports
            if port.ifindex
        ],
        "guests": [_guest(guest, inventory, document, rule_sets) for guest in inventory.guests],
        "segments": [
            {"name": s.name, "failure": msgspec.structs.asdict(s.failure)} for s in inventory.segments
        ],
    }


def policy_of(document: PolicyDocument, guest: str) -> GuestPolicy:
    """Return what is decided for the guest: its own entry or the defaults."""
    return document.guests.get(guest, document.defaults)


def filtered_rule_sets(document: PolicyDocument) -> set[str]:
    """Return the names of the rule sets whose signatures have to be known, because a filter selects."""
    policies = (document.defaults, *document.guests.values())
    return {a.rule_set for policy in policies for a in policy.assignments if a.select.filter is not None}


def _guest(
    guest: Guest,
    inventory: GuestInventory,
    document: PolicyDocument,
    rule_sets: Mapping[str, RuleSetFiles],
) -> dict[str, Any]:
    policy = policy_of(document, guest.name)
    segment = next(s for s in inventory.segments if s.name == guest.segment)
    return {
        "name": guest.name,
        "segment": guest.segment,
        "zone": segment.zone,
        "addresses": [address for vnic in guest.vnics for address in vnic.addresses],
        "on_drop": policy.on_drop,
        "assignments": [_assignment(guest.name, a, rule_sets) for a in policy.assignments],
        "overrides": [_override(guest.name, override) for override in policy.overrides],
    }


def _assignment(guest: str, assignment: Assignment, rule_sets: Mapping[str, RuleSetFiles]) -> dict[str, Any]:
    rule_set = rule_sets.get(assignment.rule_set)
    if rule_set is None:
        raise PolicyError(
            f"guest {guest}: the rule set {assignment.rule_set!r} is assigned but not part of the policy"
        )
    try:
        sids = select(assignment.select, rule_set.signatures)
    except SelectionError as error:
        raise PolicyError(f"guest {guest}: rule set {assignment.rule_set!r}: {error}") from None
    return {
        "rule_set": assignment.rule_set,
        "mode": assignment.mode.value,
        "sids": None if sids is None else list(sids),
    }


def _override(guest: str, override: Override) -> dict[str, Any]:
    if override.peer is not None:
        try:
            ipaddress.ip_network(override.peer, strict=False)
        except ValueError:
            raise PolicyError(
                f"guest {guest}: override of sid {override.sid}: the peer {override.peer!r} is no network"
            ) from None
    return {
        "gid": override.gid,
        "sid": override.sid,
        "mode": override.mode.value,
        "peer": override.peer,
        "until_s": None if override.until is None else math.ceil(override.until.timestamp()),
    }
