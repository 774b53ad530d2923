"""The kernel remembers whom it denied and by which rule, and connections can be listed and ended."""

import socket
import struct

import pytest

from appliance import lab
from appliance.firewall.denied import Denied, read_denied
from appliance.firewall.rules import counter_name, default_counter_name, rule_number
from appliance.lab.wire import Outcome
from appliance.model.policy import Firewall, FirewallRule
from appliance.netns import entered
from tests.netns.control_fixture import wait_for
from tests.netns.kit import Bench, policy


@pytest.mark.parametrize("ip_version", [4, 6])
def test_denied_packet_is_remembered_with_its_ends_and_its_rule(bench: Bench, ip_version: int) -> None:
    rule = FirewallRule("deny", "in", protocol="tcp", ports="8080")
    bench.apply(policy(firewall=Firewall((rule,), default_in="deny")))
    assert bench.get(ip_version=ip_version, timeout_s=0.4).outcome is Outcome.TIMEOUT
    # Hosts say things of their own, too.
    (found,) = (each for each in read_denied(bench.netns) if each.protocol == "tcp")
    web, client = (lab.WEB.ipv4, lab.CLIENT.ipv4) if ip_version == 4 else (lab.WEB.ipv6, lab.CLIENT.ipv6)
    assert (found.source, found.destination, found.destination_port) == (client, web, lab.RAW_PORT)
    assert (found.rule, found.protocol) == (rule_number(counter_name("web", rule)), "tcp")
    assert found.ago_s < 60


def test_packet_without_ports_is_remembered_and_still_denied(bench: Bench) -> None:
    bench.apply(policy(firewall=Firewall(default_in="deny")))
    with (
        entered(bench.settings.guest_netns(lab.CLIENT)),
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as pinging,
    ):
        for number in range(3):
            echo_request = struct.pack("!BBHHH", 8, 0, 0xFFFF - 0x0801 - number, 1, number)
            pinging.sendto(echo_request, (lab.WEB.ipv4, 0))

    def pinged() -> list[Denied]:
        return [each for each in read_denied(bench.netns) if each.protocol == "icmp"]

    # Another message of ICMP, of which a guest sends some unasked, may be beside it.
    found = wait_for("the denied ones", pinged)
    assert rule_number(default_counter_name("web", "in")) in {each.rule for each in found}
