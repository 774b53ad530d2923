"""Asks everything that remembers drops: events, the kernel's sets, conntrack, the operators' audit."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from appliance.explain.causes import Cause, Explanation, bypass_remedy, engine_cause, signature_remedy
from appliance.explain.events import Told, Verdict, read_events
from appliance.firewall.denied import BY_FAILURE_POLICY, Denied, read_denied
from appliance.firewall.learned import offences
from appliance.firewall.rules import DIRECTIONS, counter_name, default_counter_name, rule_number
from appliance.model.flow import End, FlowFilter
from appliance.model.guest import Guest, GuestInventory, Segment
from appliance.model.policy import FirewallRule, GuestPolicy, PolicyDocument
from appliance.reporting.spool import recorded
from appliance.steering import bypassed
from appliance.steering.connections import Connection, connections
from appliance.steering.unled import unled_dropped


@dataclass(frozen=True, slots=True)
class Sources:
    """Where to look. document: the live policy; netns: the bridge's."""

    spool: Path
    audit: Path
    inventory: GuestInventory
    document: PolicyDocument
    netns: str | None

    def guest_at(self, *ends: End) -> Guest | None:
        """Return the guest that has the first of these addresses that a guest has."""
        for end in ends:
            for guest in self.inventory.guests:
                if any(end.address in vnic.shown_addresses for vnic in guest.vnics):
                    return guest
        return None

    def segment_of(self, guest: Guest | None) -> Segment | None:
        """Return the guest's segment."""
        return next((s for s in self.inventory.segments if guest and s.name == guest.segment), None)

    def policy_of(self, guest: str) -> GuestPolicy:
        """Return what the live policy says for the guest."""
        return self.document.guests.get(guest, self.document.defaults)


def explain(sources: Sources, flow: FlowFilter, now_s: float) -> Explanation:
    """Return what dropped packets of the flow, the newest first. now_s: Unix time.

    Raises SystemFault, OSError.
    """
    told = read_events(recorded(sources.spool), flow)
    if flow.flow_id is not None and told.verdicts:
        # The kernel knows no flow_id; from here on it is those ends that are looked for.
        flow = FlowFilter((told.verdicts[0].source, told.verdicts[0].destination))
    causes = [*_by_verdicts(sources, told.verdicts)]
    found: list[Connection] = []
    if flow.flow_id is None:
        causes += _by_rules(sources, flow, now_s)
        causes += _by_guard(sources, flow, now_s)
        zones = tuple(segment.zone for segment in sources.inventory.segments)
        near = connections(zones, sources.netns, address=flow.ends[0].address)
        found = [connection for connection in near if flow.fits(connection.originator, connection.responder)]
        causes += _by_reset(sources, found)
    if not causes:
        causes += _perhaps(sources, told, flow)
    ordered = tuple(sorted(causes, key=lambda cause: cause.when_s or 0.0, reverse=True))
    if any(cause.is_sure for cause in causes):
        found = [connection for connection in found if connection.is_dropped]
    return Explanation(ordered, tuple(_notes(sources, told, flow, found)), told.since_s)


def _by_verdicts(sources: Sources, verdicts: list[Verdict]) -> Iterator[Cause]:
    """A drop has a record a flow, and its signature an alert: one cause for each flow and signature."""
    found: dict[tuple[object, ...], Cause] = {}
    for verdict in verdicts:
        if not verdict.is_drop:
            continue
        sid = verdict.signature.signature_id if verdict.signature else None
        key = (verdict.flow_id or verdict.flow, verdict.reason if sid is None else sid)
        if (before := found.get(key)) is not None:
            found[key] = replace(before, when_s=max(before.when_s or 0.0, verdict.when_s))
        else:
            found[key] = _cause_of(sources, verdict)
    # What follows the first drop of a connection is told by that one.
    first = {key[0] for key in found if key[1] != "flow drop"}
    yield from (cause for key, cause in found.items() if key[1] != "flow drop" or key[0] not in first)


def _cause_of(sources: Sources, verdict: Verdict) -> Cause:
    guest = sources.guest_at(verdict.destination, verdict.source)
    name = verdict.guest or (guest.name if guest else None)
    if (signature := verdict.signature) is None:
        by, detail, remedy = engine_cause(verdict.reason, name, guest.segment if guest else None)
    else:
        vnics = guest.vnics if guest else ()
        here = {end.address for vnic in vnics for end in map(End, vnic.shown_addresses)}
        peer = verdict.source if verdict.source.address not in here else verdict.destination
        by = f"signature {signature.gid}:{signature.signature_id}:{signature.rev} “{signature.signature}”"
        detail = f"for guest {name}" + (f" in mode {verdict.mode}" if verdict.mode else "") if name else ""
        if verdict.reason not in ("rules", ""):
            detail += f" ({verdict.reason})"
        remedy = signature_remedy(signature.signature_id, signature.gid, name, peer.address)
    return Cause(by, detail, remedy, verdict.flow, verdict.when_s)


def _by_rules(sources: Sources, flow: FlowFilter, now_s: float) -> Iterator[Cause]:
    rules = dict(_rules(sources))
    for denied in read_denied(sources.netns):
        source = End(denied.source, denied.source_port)
        destination = End(denied.destination, denied.destination_port)
        if not flow.fits(source, destination):
            continue
        by, detail, remedy = _denier(sources, denied, rules, source, destination)
        ends = f"{source} -> {destination} {denied.protocol}"
        if denied.protocol not in ("tcp", "udp"):
            ends = f"{source.address} -> {destination.address} {denied.protocol}"
        yield Cause(by, detail, remedy, ends, now_s - denied.ago_s)


def _denier(
    sources: Sources,
    denied: Denied,
    rules: Mapping[int, tuple[str, str, FirewallRule | None]],
    source: End,
    destination: End,
) -> tuple[str, str, tuple[str, ...]]:
    if denied.rule == BY_FAILURE_POLICY:
        guest = sources.guest_at(destination, source)
        segment = guest.segment if guest else "its segment"
        remedy = (
            "sekisho status says whether the inspector is back; it is started again by itself",
            f"to let traffic pass uninspected meanwhile: failure.inspector_down: open for {segment} in "
            "guests.yaml",
            *bypass_remedy(guest.name if guest else None),
        )
        by = f"the failure policy inspector_down: closed (segment {segment})"
        return by, "the inspector was down, or hung, and nothing passes uninspected here", remedy
    if denied.rule not in rules:
        return "a firewall rule that is not in the live policy any more", "", ()
    guest_name, direction, rule = rules[denied.rule]
    if rule is None:
        by = f"guest {guest_name}'s firewall: default_{direction}: deny"
    else:
        called = f" “{rule.name}”" if rule.name else ""
        by = f"guest {guest_name}'s firewall: rule{called} (deny {direction}, priority {rule.priority}, "
        by += f"peer {rule.peer}, {rule.protocol}, ports {rule.ports})"
    change = f"at the manager: PUT /api/v1/guests/{guest_name}/firewall with a rule that allows it"
    return by, "", (change, "a bypass does not pass it: it leaves the firewall in place")


def _rules(sources: Sources) -> Iterator[tuple[int, tuple[str, str, FirewallRule | None]]]:
    for guest in sources.inventory.guests:
        for direction in DIRECTIONS:
            number = rule_number(default_counter_name(guest.name, direction))
            yield number, (guest.name, direction, None)
        for rule in sources.policy_of(guest.name).firewall.rules:
            yield rule_number(counter_name(guest.name, rule)), (guest.name, rule.direction, rule)


def _by_guard(sources: Sources, flow: FlowFilter, now_s: float) -> Iterator[Cause]:
    """What the guard saw has one address, so it is told of every flow from there."""
    owners = {vnic.tap: guest.name for guest in sources.inventory.guests for vnic in guest.vnics}
    asked = {end.address for end in flow.ends}
    for offence in offences(sources.netns):
        guest = owners.get(offence.tap)
        if guest is None or offence.pair.ip not in asked:
            continue
        if sources.policy_of(guest).guard.mode != "enforce":
            continue
        yield Cause(
            f"the guard of guest {guest} (mode enforce)",
            f"{offence.tap} sent from {offence.pair.ip} with MAC {offence.pair.mac}, which are not its own",
            (
                f"if the guest may: sekisho guard promote {guest} prints the policy for the manager's PUT "
                f"/api/v1/guests/{guest}/guard",
                "a bypass does not pass it: it leaves the guard in place",
            ),
            f"{offence.pair.ip} -> any",
            now_s - offence.ago_s,
        )


def _by_reset(sources: Sources, found: list[Connection]) -> Iterator[Cause]:
    dropped = {str(connection) for connection in found if connection.is_dropped}
    for line in _lines(sources.audit):
        if line.get("action") == "flows-reset" and line.get("flow") in dropped:
            by = f"the operator {line.get('user', '?')}, with sekisho flows reset"
            when_s = datetime.fromisoformat(str(line.get("time"))).timestamp()
            yield Cause(by, "every further packet is dropped", ("connect anew",), line["flow"], when_s)


def _perhaps(sources: Sources, told: Told, flow: FlowFilter) -> Iterator[Cause]:
    """What dropped packets without saying whose."""
    guest = sources.guest_at(*flow.ends)
    segment = sources.segment_of(guest)
    if segment is None:
        return
    if segment.failure.inspector_down == "closed":
        for outage in told.outages[-3:]:
            lasted = "and lasts" if outage.until_s is None else f"for {outage.until_s - outage.since_s:.1f} s"
            yield Cause(
                f"the failure policy inspector_down: closed (segment {segment.name})",
                f"the inspector was down {lasted}; what was to be inspected meanwhile was dropped",
                ("see sekisho status, and the journal for why it ended",),
                when_s=outage.since_s,
                is_sure=False,
            )
        if guest is not None and (packets := unled_dropped(guest.name, sources.netns)):
            yield Cause(
                f"the failure policy inspector_down: closed (segment {segment.name})",
                f"{packets} packets of guest {guest.name} came over a bridge that did not lead them to "
                "Sekisho: it had just been made, or somebody switched its call of br_netfilter off",
                (
                    f"Sekisho switches it on again at once; if it goes on, see what sets nf_call_iptables of "
                    f"{segment.bridge}, or makes the bridge anew",
                    "to let such packets pass: failure.inspector_down: open for the segment in guests.yaml",
                ),
                is_sure=False,
            )
    for when_s, queue, packets in told.queue_full[-3:]:
        yield Cause(
            "the failure policy queue_full: closed",
            f"queue {queue} was full and {packets} packets were dropped; the kernel does not say whose",
            (
                "more queues (inspector.queues in sekisho.yaml), or less to inspect: sekisho status --watch",
                "to let it pass uninspected: failure.queue_full: open for all segments in guests.yaml",
            ),
            when_s=when_s,
            is_sure=False,
        )


def _notes(sources: Sources, told: Told, flow: FlowFilter, found: list[Connection]) -> Iterator[str]:
    if flow.flow_id is not None:
        yield f"no event on this disk has flow_id {flow.flow_id}; the manager may have it, with its addresses"
        return
    for verdict in [verdict for verdict in told.verdicts if not verdict.is_drop][-3:]:
        if verdict.signature is not None:
            matched = f"signature {verdict.signature.signature_id} “{verdict.signature.signature}” matched"
            yield f"{matched} {verdict.flow} and let it pass (mode {verdict.mode or 'detect'})"
    for connection in found[:5]:
        yield f"{connection} {connection.state}: {_stands(connection)}"
    guests = {each.name for end in flow.ends if (each := sources.guest_at(end)) is not None}
    if not guests:
        yield "neither end is a guest's known address: see the addresses in guests.yaml"
    for bypass in bypassed(sources.netns):
        if bypass.guest in guests:
            yield f"guest {bypass.guest} is bypassed: its traffic passes uninspected"


def _stands(connection: Connection) -> str:
    if connection.is_dropped:
        return "every further packet is dropped; a new connection is judged anew"
    if connection.is_bypassed:
        return "passes, uninspected by a firewall rule (bypass)"
    if connection.is_midstream:
        return "passes; it was under way already when it was seen first"
    return "passes; part of it need not be inspected any more" if connection.is_cleared else "passes"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry
