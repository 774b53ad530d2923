"""The host's own traffic with its guests goes on as before: its firewall finds its connections."""

from collections.abc import Iterator

import pytest

from appliance import lab
from appliance.lab.wire import connect
from appliance.netns import run_in
from tests.netns.kit import Bench, policy

STATEFUL = (
    "table inet hostfirewall {\nchain input {\ntype filter hook input priority 0; policy drop\n"
    "ct state established accept\n}\n}\n"
)


@pytest.fixture
def host(bench: Bench) -> Iterator[str]:
    """The bridge's namespace with an address on the bridge and a firewall that lets replies in only."""
    address = ["10.99.0.1/24", "dev", bench.settings.bridge]
    run_in(bench.netns, ["ip", "addr", "add", *address])
    run_in(bench.netns, ["nft", "-f", "-"], STATEFUL)
    yield bench.netns
    run_in(bench.netns, ["nft", "delete", "table", "inet", "hostfirewall"])
    run_in(bench.netns, ["ip", "addr", "del", *address])


def test_the_hosts_connections_to_a_guest_are_its_own(bench: Bench, host: str) -> None:
    bench.apply(policy())
    with connect(host, lab.WEB.ipv4, lab.RAW_PORT, 2.0) as connection:
        connection.sendall(b"GET /from-the-host HTTP/1.1\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
