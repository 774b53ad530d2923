"""Bridges know where guests are as long as we say so, and nothing of it stays behind."""

import pytest
from msgspec.structs import replace
from scapy.layers.l2 import ARP, Ether

from appliance import rtnetlink, steering
from appliance.lab import CLIENT, WEB
from appliance.model.policy import AddressPair, Guard
from appliance.netns import run_in
from tests.netns.kit import Bench, policy, send_frames
from tests.netns.topology import eventually

EXTRA_MAC = "02:5e:99:00:00:77"


def told(bench: Bench) -> set[tuple[str, str]]:
    names = {each.ifindex: each.name for each in rtnetlink.interfaces(bench.netns)}
    return {(names[each.port], each.mac) for each in rtnetlink.whereabouts(bench.netns) if each.told}


def heard_at(bench: Bench, tap: str, mac: str) -> bool:
    names = {each.ifindex: each.name for each in rtnetlink.interfaces(bench.netns)}
    known = rtnetlink.whereabouts(bench.netns)
    return any(names[each.port] == tap for each in known if each.mac == mac and not each.told)


def flooded(bench: Bench) -> set[str]:
    ports = set(rtnetlink.flooded_ports(bench.netns))
    return {each.name for each in rtnetlink.interfaces(bench.netns) if each.ifindex in ports}


@pytest.fixture(autouse=True)
def nothing_loaded(bench: Bench) -> None:
    steering.teardown(bench.netns)


def test_each_guest_is_told_of_with_the_addresses_it_may_speak_with(bench: Bench) -> None:
    bench.apply(policy(guard=Guard("log", allowed=(AddressPair(EXTRA_MAC, "192.0.2.7"),))))
    assert told(bench) == {(WEB.tap, WEB.mac), (WEB.tap, EXTRA_MAC), (CLIENT.tap, CLIENT.mac)}


def test_only_guests_that_may_speak_with_any_address_get_what_is_for_unknown_ones(bench: Bench) -> None:
    bench.apply(policy())
    assert not {WEB.tap, CLIENT.tap} & flooded(bench)
    bench.apply(policy(guard=Guard("off")))
    assert {WEB.tap, CLIENT.tap} & flooded(bench) == {WEB.tap}


def test_teardown_leaves_bridges_as_they_were_found(bench: Bench) -> None:
    run_in(bench.netns, ["bridge", "link", "set", "dev", CLIENT.tap, "flood", "off"])
    before = flooded(bench)
    for _ in range(2):
        bench.apply(policy())
    steering.teardown(bench.netns)
    assert told(bench) == set()
    assert flooded(bench) == before
    run_in(bench.netns, ["bridge", "link", "set", "dev", CLIENT.tap, "flood", "on"])


def test_nothing_is_told_any_more_of_a_guest_that_is_none_of_ours_any_more(bench: Bench) -> None:
    bench.apply(policy())
    guests = tuple(guest for guest in bench.inventory.guests if guest.name != WEB.name)
    bench.inventory = replace(bench.inventory, guests=guests)
    bench.apply(policy())
    assert {tap for tap, _ in told(bench)} == {CLIENT.tap}
    assert WEB.tap in flooded(bench)


def test_what_a_bridge_was_made_to_forget_it_is_told_again(bench: Bench) -> None:
    bench.apply(policy())
    known = told(bench)
    bench.forget_macs()
    assert told(bench) == set()
    bench.tell_bridges()
    assert told(bench) == known


def test_an_address_that_is_heard_at_another_port_is_there_from_then_on(bench: Bench) -> None:
    # one that nobody speaks with but the test
    document = policy(guard=Guard("log", allowed=(AddressPair(EXTRA_MAC, "192.0.2.7"),)))
    bench.apply(document)
    send_frames(bench.guest(CLIENT), [bytes(Ether(src=EXTRA_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP())])
    eventually(lambda: heard_at(bench, CLIENT.tap, EXTRA_MAC))
    bench.apply(document)
    assert heard_at(bench, CLIENT.tap, EXTRA_MAC)
