"""Being sure that frames go through the appliance, from what the kernel counted."""

from collections.abc import Callable

from host_helper import links, watch
from host_helper.model import HostGuest, HostVnic
from host_helper.topology import NotThrough
from host_helper.waiting import within

PROBES = 3
PROBE_S = 0.3
VERIFY_S = 3.0
ASK_EVERY_S = 0.2
ASKED_AT_MOST = 4


def lets_through(name: str, send: Callable[[], None]) -> bool:
    """Whether a probe that `send` gives to the appliance comes out of it, as this counter says.

    Raises SystemFault.
    """
    before = watch.counters().get(name, 0)
    for _ in range(PROBES):
        send()
        if within(PROBE_S, lambda: watch.counters().get(name, 0) > before):
            return True
    return False


def verified(guest: HostGuest, vnic: HostVnic, bridge: str) -> str:
    """Wait for frames of the guest that come out of the appliance; return in words what was seen.

    bridge: beyond the appliance; asked from there, the guest answers. Raises NotThrough, SystemFault.
    """
    names = (watch.said(vnic.mac), watch.came_out(vnic.mac))
    before = watch.counters()
    asked = known_ipv4(guest, vnic)
    for _ in range(round(VERIFY_S / ASK_EVERY_S)):
        for address in asked:
            links.ask_who_has(bridge, address)
        if within(ASK_EVERY_S, lambda: _grew(before, names[1]) > 0):
            break
    said, out = (_grew(before, name) for name in names)
    if out:
        return f"{out} of its frames came out of the appliance"
    if said:
        raise NotThrough(
            f"guest {guest.name!r}: {said} frames of {vnic.mac} went to the appliance and none came out; "
            "it is connected as before"
        )
    return "not seen to work: the guest said nothing"


def known_ipv4(guest: HostGuest, vnic: HostVnic) -> list[str]:
    """Return a few of the addresses that the vNIC announced. Raises SystemFault."""
    known = watch.addresses(watch.key_of(guest.uuid, vnic.mac))
    return [each for each in known if ":" not in each][:ASKED_AT_MOST]


def _grew(before: dict[str, int], name: str) -> int:
    return watch.counters().get(name, 0) - before.get(name, 0)
