"""What may be reached: told when an address or a route comes, not for what guests' ports do."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from appliance import rtnetlink
from appliance.netns import run_in

NETNS = f"skt-ra-{os.getpid()}"


@pytest.fixture
def netns() -> Iterator[str]:
    run_in(None, ["ip", "netns", "add", NETNS])
    run_in(NETNS, ["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"])
    yield NETNS
    subprocess.run(["ip", "netns", "delete", NETNS], check=False)


def test_an_address_and_a_route_ring_and_a_port_does_not(netns: str) -> None:
    with rtnetlink.reach_alarm(netns) as alarm:
        run_in(netns, ["ip", "link", "add", "tap0", "type", "bridge"])
        assert not alarm.hush()
        run_in(netns, ["ip", "address", "add", "10.85.0.1/24", "dev", "eth0"])
        assert alarm.hush()
        run_in(netns, ["ip", "link", "set", "eth0", "up"])
        run_in(netns, ["ip", "link", "set", "eth1", "up"])
        alarm.hush()
        run_in(netns, ["ip", "route", "add", "default", "via", "10.85.0.2"])
        assert alarm.hush()
