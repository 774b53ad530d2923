"""Libvirt's own test driver: no hypervisor, but its real API and events."""

import contextlib
import queue

import pytest

pytest.importorskip("libvirt", reason="libvirt's Python binding is not installed")

from appliance.model.faults import SystemFault
from host_helper.libvirt_source import KNOWS_VLANS, LibvirtSource
from host_helper.model import Happened, Lifecycle

WAIT_S = 30.0


def test_lists_domains_and_tells_of_their_lives() -> None:
    source, heard = LibvirtSource("test:///default"), queue.Queue[Lifecycle]()
    source.start(heard.put)
    try:
        assert heard.get(timeout=WAIT_S).what is Happened.CONNECTED
        (guest,) = [each for each in source.guests() if each.name == "test"]
        assert guest.running and [vnic.tap for vnic in guest.vnics] == ["testnet0"]
        connection = source._open()
        knows_vlans = connection.getLibVersion() >= KNOWS_VLANS
        domain = connection.lookupByName("test")
        domain.suspend()
        assert heard.get(timeout=WAIT_S) == Lifecycle(Happened.SUSPENDED, guest.uuid, "test")
        domain.resume()
        assert heard.get(timeout=WAIT_S).what is Happened.RESUMED
        domain.destroy()
        assert heard.get(timeout=WAIT_S).what is Happened.STOPPED
        assert [each.running for each in source.guests()] == [False]
        with pytest.raises(SystemFault, match="no interface"):
            source.move(guest, "52:54:00:aa:00:01", "br0", persistent=True)
        with pytest.raises(SystemFault, match="no interface") if knows_vlans else contextlib.nullcontext():
            source.store_vlan(guest, "52:54:00:aa:00:01", 7, 1)
    finally:
        source.stop()


def test_a_libvirt_that_is_not_there_is_a_fault_not_a_crash() -> None:
    source = LibvirtSource("qemu:///system?socket=/nonexistent/socket")
    source.start(lambda _: None)
    try:
        with pytest.raises(SystemFault, match="does not answer"):
            source.guests()
    finally:
        source.stop()
