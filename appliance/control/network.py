"""The kernel's side of one appliance: ports, rules and counters in the bridge's network namespace.

Blocking; control calls it from a thread.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from appliance import steering
from appliance.firewall import kernel
from appliance.hypervisor import bridges, link_alarm, read_links, trunks
from appliance.model.faults import SystemFault
from appliance.model.guest import GuestInventory
from appliance.model.links import Links
from appliance.model.needs import Needs
from appliance.model.policy import PolicyDocument
from appliance.netlink import Alarm
from appliance.steering import Choice, Counters, Queues, Ruleset
from appliance.steering.backend import Backend, switch_bridges
from appliance.steering.standing import (
    Standing,
    changes,
    new_bridges,
    nothing_is_unsaid,
    standing_rules,
    standing_switches,
)

ATTEMPTS = 5
LOOK_S = 0.5
LOOK_SELDOM_S = 10.0
UNASKED = Choice(Backend.BR_NETFILTER, "the kernel was not asked yet")


class Network(msgspec.Struct):
    """Every call raises SystemFault."""

    netns: str | None
    queues: Queues
    choice: Choice = UNASKED
    _numbers: dict[str, int] = msgspec.field(default_factory=dict)
    _ruleset: Ruleset | None = None
    _generation: int | None = None
    _rules: Standing = msgspec.field(default_factory=dict)
    _switches: Standing = msgspec.field(default_factory=dict)

    def links(self, inventory: GuestInventory) -> Links:
        """Return which of the guests' ports are there, bridges of ours and ports of trunks made first.

        A port keeps its number while control runs.
        """
        self._make_ports(inventory)
        links = read_links(inventory, self.netns, self._numbers)
        self._numbers = {port.tap: port.number for port in links.ports}
        return links

    def apply(
        self,
        document: PolicyDocument,
        inventory: GuestInventory,
        links: Links,
        needs: Mapping[str, Needs],
        generation: int,
    ) -> None:
        """Make the policy's rules live, whole. Raises PolicyError too; what was live stays.

        What then stands counts as ours only if nobody changed anything between our batch and the look at
        it; else the rules are made once more. Where others never rest, what stood twice counts too.
        """
        former = self._ruleset
        before: Standing | None = None
        for _ in range(ATTEMPTS):
            self._ruleset, made = steering.apply(
                document,
                inventory,
                links,
                queues=self.queues,
                netns=self.netns,
                needs=needs,
                generation=generation,
                backend=self.choice.backend,
                former=former,
            )
            self._rules = standing_rules(self._ruleset, self.netns)
            self._switches = standing_switches(self._ruleset, self.netns)
            self._generation = made
            if made == kernel.generation(self.netns) or self._rules == before:
                break
            before = self._rules
        self._open_up(inventory)

    def let_pass(self, inventory: GuestInventory) -> None:
        """Open bridges of ours without rules, as where the inspector is down: those of fail-open segments.

        For an appliance whose first rules cannot be loaded. Raises SystemFault.
        """
        segments = tuple(each for each in inventory.segments if each.failure.inspector_down == "open")
        names = {each.name for each in segments}
        guests = tuple(each for each in inventory.guests if each.segment in names)
        passing = msgspec.structs.replace(inventory, segments=segments, guests=guests)
        self._make_ports(passing)
        self._open_up(passing)

    def _make_ports(self, inventory: GuestInventory) -> None:
        bridges.make(inventory, self.netns)
        trunks.make(inventory, self.netns)

    def _open_up(self, inventory: GuestInventory) -> None:
        trunks.join(inventory, self.netns)
        bridges.open_up(inventory, self.netns)

    def stands(self) -> bool:
        """Whether rules of ours are in the kernel, whoever loaded them."""
        return bool(kernel.families(self.netns))

    def alarm(self) -> Alarm:
        """Return what says that somebody, perhaps we, changed the namespace's nftables."""
        return kernel.alarm(self.netns)

    def link_alarm(self) -> Alarm:
        """Return what says that a bridge or tap, or one of their neighbours, came, went or changed."""
        return link_alarm(self.netns)

    @property
    def look_every_s(self) -> float:
        """How often `changes_by_others` is worth asking without an alarm."""
        return LOOK_SELDOM_S if nothing_is_unsaid(self.choice.backend) else LOOK_S

    def changes_by_others(self) -> tuple[str, ...]:
        """Return a sentence for everything of ours that does not stand as `apply` left it."""
        if self._ruleset is None:
            return ()
        changed = changes(self._switches, standing_switches(self._ruleset, self.netns))
        if (now := kernel.generation(self.netns)) != self._generation:
            changed += changes(self._rules, standing_rules(self._ruleset, self.netns))
        if not changed:
            self._generation = now
        return changed

    def lead_new_bridges(self) -> bool:
        """Have bridges that were made since `apply` lead packets to us; return whether there are any."""
        if self._ruleset is None:
            return False
        new = new_bridges(self._ruleset, self._switches, self.netns)
        switch_bridges(new, self.netns, on=True)
        return bool(new)

    def tell_bridges(self) -> None:
        """Tell bridges again what they have forgotten of where guests are."""
        if self._ruleset is not None:
            steering.tell(self._ruleset.homes, self._ruleset.spared, self.netns)

    def counters(self, document: PolicyDocument, inventory: GuestInventory) -> Counters:
        """Return what was counted."""
        return steering.read_counters(document, inventory, self.netns)

    def bypasses(self) -> list[dict[str, Any]]:
        """Return the bypasses that are on, as the status reports them: guest and the Unix time it ends at."""
        now = time.time()
        ends: dict[str, int] = {}
        for each in steering.bypassed(self.netns):
            ends[each.guest] = max(ends.get(each.guest, 0), each.remaining_s)
        return [{"guest": guest, "until_s": round(now + left)} for guest, left in sorted(ends.items())]

    def restore(self) -> None:
        """Let the inspector decide, whatever a watchdog left behind; without rules there is nothing to do."""
        with contextlib.suppress(SystemFault):
            steering.switch_to_failure_policy(self.netns, self.choice.family, on=False)

    def remove(self, inventory: GuestInventory) -> None:
        """Take every rule of ours away."""
        steering.teardown(self.netns, tuple(segment.bridge for segment in inventory.segments))


class Notice(msgspec.Struct, frozen=True):
    """Something the counters say that people should read: which, in words, how severe, and details."""

    notice: str
    message: str
    severity: int
    details: dict[str, Any]


def notices(before: Counters, after: Counters) -> Iterator[Notice]:
    """Yield what guard and firewall refused or logged between two readings."""
    earlier = {guest.guest: guest for guest in before.guests}
    for guest in after.guests:
        for kind, traffic in guest.violations.items():
            old = earlier.get(guest.guest)
            frames = traffic.packets - (old.violations[kind].packets if old and kind in old.violations else 0)
            if frames > 0:
                yield Notice(
                    "guard",
                    f"guard: {frames} frames of guest {guest.guest} broke the rule {kind}",
                    2,
                    {"guest": guest.guest, "violation": kind, "frames": frames},
                )
    matched = {(r.guest, r.direction, r.rule): r.matched.packets for r in before.rules}
    for rule in after.rules:
        packets = rule.matched.packets - matched.get((rule.guest, rule.direction, rule.rule), 0)
        action = "deny" if rule.rule is None else rule.rule.action
        if packets <= 0 or action not in ("deny", "log"):
            continue
        name = "its default" if rule.rule is None else rule.rule.name or f"priority {rule.rule.priority}"
        did = "denied" if action == "deny" else "logged"
        yield Notice(
            f"firewall-{action}",
            f"firewall: {packets} packets {rule.direction} of guest {rule.guest} {did} by {name}",
            3,
            {"guest": rule.guest, "direction": rule.direction, "rule": name, "packets": packets},
        )
