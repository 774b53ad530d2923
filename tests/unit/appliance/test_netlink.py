"""What the kernel answers over netlink, against what `ip` says; and answers that are torn."""

import json
import os
import subprocess

import pytest

from appliance import netlink, rtnetlink


def test_interfaces_are_those_that_ip_lists() -> None:
    said = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout)
    wanted = {(each["ifname"], each["ifindex"], each["mtu"], each.get("address", "")) for each in said}
    found = {(each.name, each.ifindex, each.mtu, each.mac) for each in rtnetlink.interfaces(None)}
    assert found == wanted


def test_a_bridge_that_is_not_there_calls_nothing() -> None:
    assert rtnetlink.bridge_switches(None, "no-such-bridge") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the kernel looks at rights first")
def test_what_is_not_there_cannot_be_switched_and_is_no_error() -> None:
    rtnetlink.set_bridge_calls(None, "no-such-bridge", on=True)


def test_attributes_are_read_back_padding_and_all() -> None:
    message = (
        netlink.attribute(1, b"abc") + netlink.attribute(2 | 0x8000, b"") + netlink.attribute(3, b"x" * 8)
    )
    assert {kind: bytes(value) for kind, value in netlink.attributes(memoryview(message)).items()} == {
        1: b"abc",
        2: b"",
        3: b"x" * 8,
    }


def test_every_torn_message_gives_no_more_than_it_holds() -> None:
    message = netlink.attribute(1, b"abcd") + netlink.attribute(2, b"efgh")
    for length in range(len(message)):
        for value in netlink.attributes(memoryview(message[:length])).values():
            assert bytes(value) in (b"abcd"[: len(value)], b"efgh"[: len(value)])
    assert netlink.attributes(memoryview(bytes(8))) == {}, "a length of 0 is no step forward"


def test_an_alarm_is_silent_until_something_happens() -> None:
    with rtnetlink.alarm(None, rtnetlink.RTNLGRP_IPV4_IFADDR) as alarm:
        assert alarm.fileno() >= 0
        assert not alarm.hush()
