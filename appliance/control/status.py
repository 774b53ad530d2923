"""How the appliance is: for the heartbeat, and for `sekisho status` (status_file)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.control.accounts import InspectorAccounts
from appliance.model.guest import GuestInventory
from appliance.steering import Counters, GuestCounters, RuleCount, Traffic


def status_body(
    *,
    live_version: int,
    error: str | None,
    inventory: GuestInventory,
    counters: Counters,
    accounts: InspectorAccounts,
    bypass: Sequence[Mapping[str, Any]],
    inspector: Mapping[str, Any],
    watchdog: Mapping[str, Any],
    steering: Mapping[str, Any],
    connections: Mapping[str, int],
    spool: Mapping[str, int],
    manager: str,
    missing: Sequence[str],
    helper: Mapping[str, Any] | None = None,
    started: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the body of `PUT /appliance/status`.

    steering: the back end, why it is this one, and how often our rules had to be put back.
    connections: how many the kernel knows, of at most how many, and what had to give way.
    manager: how it stands with it, in words. missing: what of the guests the kernel has not, a sentence
    each. helper: how it stands with the host helper, if there is one to be followed. started: since when this
    run protects, and what was before; None until it does.
    """
    kernel = {guest.guest: guest for guest in counters.guests}
    guests = []
    for guest in inventory.guests:
        uninspected: Counter[str] = Counter(accounts.of(guest.name))
        counted = kernel.get(guest.name)
        if counted is not None:
            uninspected.update({reason: traffic.bytes for reason, traffic in counted.uninspected.items()})
        guests.append(
            {
                "name": guest.name,
                "segment": guest.segment,
                "vnics": [
                    {"name": v.name, "mac": v.mac, "addresses": list(v.shown_addresses)} for v in guest.vnics
                ],
                "bytes": counted.total.bytes if counted else 0,
                "packets": counted.total.packets if counted else 0,
                "uninspected": {reason: count for reason, count in sorted(uninspected.items()) if count},
                "dropped": _dropped(counted, accounts.detections(guest.name)["blocked"]),
                "violations": _packets(counted.violations if counted else {}),
                "alerts": accounts.detections(guest.name)["alerts"],
            }
        )
    return {
        "live_version": live_version,
        "started": None if started is None else dict(started),
        "error": None if error is None else error[:4_000],
        "guests": guests,
        "bypass": [dict(each) for each in bypass],
        "inspector": {**inspector, "failures": dict(accounts.failures())},
        "firewall": [_rule(each) for each in counters.rules if each.matched.packets],
        "watchdog": dict(watchdog),
        "steering": dict(steering),
        "connections": dict(connections),
        "spool": dict(spool),
        "manager": manager,
        "missing": list(missing),
        "helper": None if helper is None else dict(helper),
    }


def _dropped(counted: GuestCounters | None, blocked: int) -> dict[str, int]:
    """Return packets dropped, by what did it."""
    dropped = _packets(counted.dropped if counted else {})
    # The inspector's own: those of a flow that stays dropped are in both, and more in the kernel's.
    dropped["inspector"] = max(blocked, dropped.pop("flow", 0))
    return {what: packets for what, packets in sorted(dropped.items()) if packets}


def _packets(traffic: Mapping[str, Traffic]) -> dict[str, int]:
    return {what: each.packets for what, each in sorted(traffic.items()) if each.packets}


def _rule(each: RuleCount) -> dict[str, Any]:
    rule = each.rule
    return {
        "guest": each.guest,
        "direction": each.direction,
        "action": "deny" if rule is None else rule.action,
        "rule": "default" if rule is None else rule.name or f"priority {rule.priority}",
        "packets": each.matched.packets,
    }
