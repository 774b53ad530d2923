"""What is read of libvirt's XML, and what is written back."""

import pytest

from appliance.model.faults import SystemFault
from host_helper.domain_xml import MARK, at_home, guest_in, mark_of, moved_interface, tagged_interface
from host_helper.model import HostGuest, Mark


def domain(*interfaces: str) -> str:
    devices = "".join(interfaces)
    return f"<domain><name>web</name><uuid>u-1</uuid><devices>{devices}</devices></domain>"


def guest(*interfaces: str) -> HostGuest:
    return guest_in(domain(*interfaces), running=True)


def test_reads_vnics_with_their_taps_and_bridges() -> None:
    found = guest(
        "<interface type='bridge'><mac address='52:54:00:AA:00:01'/><source bridge='br0'/>"
        "<target dev='vnet0'/></interface>",
        "<interface type='network'><mac address='52:54:00:aa:00:02'/>"
        "<source network='default' bridge='virbr0'/></interface>",
    )
    assert [(v.mac, v.bridge, v.tap, v.obstacle) for v in found.vnics] == [
        ("52:54:00:aa:00:01", "br0", "vnet0", None),
        ("52:54:00:aa:00:02", "virbr0", None, None),
    ]


@pytest.mark.parametrize(
    ("kind", "said"),
    [("direct", "macvtap"), ("hostdev", "SR-IOV"), ("vhostuser", "vhost-user"), ("ethernet", "on no bridge")],
)
def test_names_what_cannot_be_led_through(kind: str, said: str) -> None:
    (vnic,) = guest(f"<interface type='{kind}'><mac address='52:54:00:aa:00:01'/></interface>").vnics
    assert vnic.obstacle is not None and said in vnic.obstacle


def test_moves_one_interface_and_leaves_the_rest_of_it_alone() -> None:
    one = "<interface type='network'><mac address='52:54:00:aa:00:01'/>"
    one += "<source network='default' bridge='virbr0'/><target dev='vnet0'/><model type='virtio'/>"
    one += "<address type='pci' slot='0x03'/></interface>"
    other = "<interface type='bridge'><mac address='52:54:00:aa:00:02'/><source bridge='br0'/></interface>"
    moved = moved_interface(domain(other, one), "52:54:00:aa:00:01", "pair1")
    (vnic,) = guest(moved).vnics
    assert (vnic.kind, vnic.bridge, vnic.tap) == ("bridge", "pair1", "vnet0")
    assert "<model type=" in moved and "slot=" in moved and "default" not in moved


MAC = "52:54:00:aa:00:01"
CARD = f"<interface type='bridge'><mac address='{MAC}'/><source bridge='br0'/>{{}}<model type='e1000'/>"
CARD += "</interface>"


@pytest.mark.parametrize(
    ("vlan", "read"),
    [
        ("", None),
        ("<vlan><tag id='7'/></vlan>", 7),
        ("<vlan trunk='yes'><tag id='7'/></vlan>", 0),
        ("<vlan><tag id='7'/><tag id='8'/></vlan>", 0),
        ("<vlan><tag id='²'/></vlan>", 0),
        ("<vlan><tag id='99999999999999999999'/></vlan>", 0),
    ],
)
def test_a_vlan_is_one_that_the_vnic_is_in_alone_and_without_tags(vlan: str, read: int | None) -> None:
    (vnic,) = guest(CARD.format(vlan)).vnics
    assert vnic.vlan == read


@pytest.mark.parametrize("was", ["", "<vlan><tag id='7'/></vlan>", "<vlan trunk='yes'><tag id='9'/></vlan>"])
@pytest.mark.parametrize(("wanted", "said"), [(1, None), (9, 9)])
def test_puts_an_interface_into_one_vlan_and_leaves_the_rest_of_it_alone(
    was: str, wanted: int, said: int | None
) -> None:
    text = tagged_interface(domain(CARD.format(was)), MAC, wanted, 1)
    if not was and wanted == 1:
        assert text is None
        return
    assert text is not None and "<model type=" in text
    (vnic,) = guest(text).vnics
    assert vnic.vlan == said and ("vlan" in text) is (said is not None)
    assert tagged_interface(domain(text), MAC, wanted, 1) is None


def test_an_interface_that_says_the_vlan_of_new_ports_stays_as_it_is() -> None:
    assert tagged_interface(domain(CARD.format("<vlan><tag id='1'/></vlan>")), MAC, 1, 1) is None


def test_a_tap_that_is_no_plain_name_is_none() -> None:
    card = "<interface type='bridge'><mac address='52:54:00:aa:00:01'/><source bridge='br0'/>"
    (vnic,) = guest(card + "<target dev='a&quot; } drop'/></interface>").vnics
    assert vnic.tap is None


@pytest.mark.parametrize("text", ["", "<domain", "<domain/>", "<!DOCTYPE a><domain/>", "<a>" * 100])
def test_refuses_what_is_no_domain(text: str) -> None:
    with pytest.raises(SystemFault):
        guest_in(text, running=True)


HOME = {"52:54:00:aa:00:01": "br0"}
ON_PAIR = "<interface type='bridge'><mac address='52:54:00:AA:00:01'/><source bridge='pair1'/></interface>"


def marked(text: str) -> str:
    """As libvirt stores it: the mark in its namespace."""
    stored = text.replace("<protected", f"<sekisho:protected xmlns:sekisho='{MARK}'")
    stored = stored.replace("</protected", "</sekisho:protected").replace("<vnic", "<sekisho:vnic")
    return domain(ON_PAIR).replace("<devices>", f"<metadata>{stored}</metadata><devices>")


def test_a_mark_says_where_each_vnic_is_without_us() -> None:
    for mark in (Mark(HOME), Mark(HOME, persistent=True), Mark(HOME, owns_vlans=True)):
        assert guest_in(marked(mark_of(mark)), running=True).marked == mark
    assert guest(ON_PAIR).marked is None
    hostile = mark_of(Mark({"52:54:00:aa:00:01": 'a"; drop', "nobody": "br0"}))
    assert guest_in(marked(hostile), running=True).marked == Mark({})


def test_a_domain_that_comes_from_another_host_is_taken_off_that_hosts_bridges() -> None:
    other = "<interface type='bridge'><mac address='52:54:00:aa:00:02'/><source bridge='br9'/></interface>"
    found = guest_in(at_home(domain(ON_PAIR, other), Mark(HOME)), running=False)
    assert [vnic.bridge for vnic in found.vnics] == ["br0", "br9"]


@pytest.mark.parametrize(("ours", "left"), [(True, None), (False, 101)])
def test_a_vlan_goes_to_another_host_unless_it_is_our_doing(ours: bool, left: int | None) -> None:
    tagged = CARD.format("<vlan><tag id='101'/></vlan>")
    found = guest_in(at_home(domain(tagged), Mark(HOME, owns_vlans=ours)), running=False)
    assert [vnic.vlan for vnic in found.vnics] == [left]
