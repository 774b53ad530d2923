"""Where the manager is: not behind the appliance that it manages."""

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit

from appliance.model.faults import PolicyError
from appliance.model.guest import GuestInventory


async def refuse_guarded(url: str, inventory: GuestInventory) -> None:
    """Return if the manager's address is no protected guest's. Raises PolicyError naming the guest.

    A wrong policy could cut such a manager off, and with it the way to a right one. A name that cannot be
    resolved yet passes: whoever dials it fails too.
    """
    owners = {
        address: guest.name for guest in inventory.guests for v in guest.vnics for address in v.addresses
    }
    for address in await _addresses(urlsplit(url).hostname or ""):
        if (guest := owners.get(address)) is not None:
            raise PolicyError(
                f"manager.url: {url} is the guest {guest!r}, which this appliance protects; a policy could "
                "cut it off for good. Run the manager elsewhere, or leave that guest to another appliance"
            )


async def _addresses(host: str) -> set[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    return {str(ipaddress.ip_address(str(address[0]).partition("%")[0])) for *_, address in found}
