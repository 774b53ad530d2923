"""A manager behind the appliance that it manages is refused."""

import asyncio

import pytest

from appliance.control.manager_place import refuse_guarded
from appliance.model.faults import PolicyError
from appliance.model.guest import Guest, GuestInventory, Segment, Vnic

WEB = Guest(
    "web", "s", (Vnic("eth0", "tap0", "52:54:00:00:00:01", ("192.0.2.10", "2001:db8::10", "127.0.0.1")),)
)
INVENTORY = GuestInventory((Segment("s", "br0"),), (WEB,))


@pytest.mark.parametrize(
    "url", ["https://192.0.2.10:8443", "https://[2001:db8:0::10]:8443", "https://localhost:8443"]
)
def test_refuses_a_manager_that_is_a_protected_guest(url: str) -> None:
    with pytest.raises(PolicyError, match="is the guest 'web'"):
        asyncio.run(refuse_guarded(url, INVENTORY))


@pytest.mark.parametrize("url", ["https://192.0.2.11:8443", "https://no-such-name.invalid", "https://"])
def test_takes_any_other(url: str) -> None:
    asyncio.run(refuse_guarded(url, INVENTORY))
