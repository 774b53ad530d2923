"""What the guard saw guests speak with beyond what they may."""

from collections.abc import Iterator

import msgspec

from appliance.firewall.guard import LEARNED_TIMEOUT_S
from appliance.firewall.nft import TABLE
from appliance.model.guest import GuestInventory
from appliance.model.policy import AddressPair
from appliance.netns import list_objects


def promotable(
    guest: str, inventory: GuestInventory, netns: str | None = None, allowed: tuple[AddressPair, ...] = ()
) -> tuple[AddressPair, ...]:
    """Return the pairs that a guest spoke with in the last day and that its policy does not allow.

    An operator may put them into the guest's `guard.allowed`. Raises SystemFault.
    """
    taps = {vnic.tap for each in inventory.guests if each.name == guest for vnic in each.vnics}
    known = {(pair.mac.lower(), pair.ip) for pair in allowed}
    pairs = (each.pair for each in offences(netns) if each.tap in taps)
    seen = [pair for pair in pairs if (pair.mac, pair.ip) not in known]
    return tuple(sorted(set(seen), key=lambda pair: (pair.mac, pair.ip)))


class Offence(msgspec.Struct, frozen=True):
    """What a tap spoke with although it may not. ago_s: since the last time."""

    tap: str
    pair: AddressPair
    ago_s: int


def offences(netns: str | None = None) -> Iterator[Offence]:
    """Yield what the guard took exception to in the last day. Raises SystemFault."""
    for name in ("seen_ipv4", "seen_ipv6"):
        for entry in list_objects(netns, "set", "bridge", TABLE, name):
            for element in entry.get("set", {}).get("elem", ()):
                element = element["elem"]
                tap, mac, ip = element["val"]["concat"]
                ago_s = LEARNED_TIMEOUT_S - int(element.get("expires", LEARNED_TIMEOUT_S))
                yield Offence(tap, AddressPair(mac, ip), ago_s)
