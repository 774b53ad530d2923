"""Guests from libvirt, over its local socket.

A thread runs libvirt's event loop; when libvirtd restarts or goes, the connection is made anew. Until then
discovery stands still; what leads guests' traffic through is in the kernel and does not.
"""

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import libvirt

from appliance.model.faults import SystemFault
from host_helper.domain_xml import MARK, guest_in, mark_of, moved_interface, tagged_interface
from host_helper.model import Happened, HostGuest, Lifecycle, Mark
from host_helper.source import Heard

log = logging.getLogger("sekisho.host")

RETRY_FIRST_S = 0.2
RETRY_MAX_S = 2.0
KEEPALIVE_S = 5
KEEPALIVE_MISSED = 3
KNOWS_VLANS = 11_000_000
"""The version since which libvirt has `<vlan>` for Linux bridges. Source: its news, v11.0.0."""

_EVENTS = {
    libvirt.VIR_DOMAIN_EVENT_DEFINED: Happened.DEFINED,
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: Happened.UNDEFINED,
    libvirt.VIR_DOMAIN_EVENT_STARTED: Happened.STARTED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED: Happened.STOPPED,
    libvirt.VIR_DOMAIN_EVENT_CRASHED: Happened.CRASHED,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: Happened.SUSPENDED,
    libvirt.VIR_DOMAIN_EVENT_RESUMED: Happened.RESUMED,
}
_DETAILS = {
    (libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_RENAMED): Happened.RENAMED,
    (libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_FROM_SNAPSHOT): Happened.REVERTED,
    (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_FROM_SNAPSHOT): Happened.REVERTED,
    (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_MIGRATED): Happened.MIGRATED_IN,
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED): Happened.MIGRATED_OUT,
    (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED): Happened.CRASHED,
    (libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT): Happened.REVERTED,
    (libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_MIGRATED): Happened.MIGRATED_IN,
}
"""Where the detail says more than the event."""


class LibvirtSource:
    """The domains of one libvirt."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._connection: libvirt.virConnect | None = None
        self._host_uuid = ""
        self._heard: Heard = lambda _: None
        self._ending = threading.Event()
        self._lost = threading.Event()
        # libvirt prints what it also raises
        libvirt.registerErrorHandler(lambda *_: None, None)

    @property
    def host_uuid(self) -> str:
        """What libvirt says of the host; empty until it was reached once."""
        return self._host_uuid

    def start(self, heard: Heard) -> None:
        """Begin to tell what happens. Returns when libvirt was reached, or could not be at the first try."""
        self._heard = heard
        _start_events()
        tried = threading.Event()
        threading.Thread(target=self._keep_connected, args=(tried,), name="libvirt", daemon=True).start()
        tried.wait()

    def stop(self) -> None:
        """Close the connection."""
        self._ending.set()
        self._lost.set()

    def guests(self) -> tuple[HostGuest, ...]:
        """Return all domains. Raises SystemFault."""
        with _refusals():
            return tuple(guest for each in self._open().listAllDomains() if (guest := _guest(each)))

    def mark(self, guest: HostGuest, mark: Mark | None) -> None:
        """Write into the running domain's metadata whether it is protected. Raises SystemFault."""
        with _refusals():
            self._open().lookupByUUIDString(guest.uuid).setMetadata(
                libvirt.VIR_DOMAIN_METADATA_ELEMENT,
                None if mark is None else mark_of(mark),
                "sekisho",
                MARK,
                libvirt.VIR_DOMAIN_AFFECT_LIVE,
            )

    def move(self, guest: HostGuest, mac: str, bridge: str, *, persistent: bool) -> None:
        """Connect the interface to another bridge with update-device. Raises SystemFault."""
        with _refusals():
            domain = self._open().lookupByUUIDString(guest.uuid)
            if domain.isActive():
                live = moved_interface(domain.XMLDesc(), mac, bridge)
                domain.updateDeviceFlags(live, libvirt.VIR_DOMAIN_AFFECT_LIVE)
            if persistent:
                _store(domain, mac, lambda text: moved_interface(text, mac, bridge))

    def store_vlan(self, guest: HostGuest, mac: str, vlan: int, default: int) -> None:
        """Change the stored interface, if this libvirt knows VLANs. Raises SystemFault.

        Not the running one: libvirt takes its tap out of the bridge for that, and puts it back into the VLAN
        of new ports first.
        """
        with _refusals():
            if self._open().getLibVersion() >= KNOWS_VLANS:
                domain = self._open().lookupByUUIDString(guest.uuid)
                _store(domain, mac, lambda text: tagged_interface(text, mac, vlan, default))

    def _open(self) -> libvirt.virConnect:
        if self._connection is None:
            raise SystemFault(f"libvirt: {self._uri} does not answer; is libvirtd running?")
        return self._connection

    def _keep_connected(self, tried: threading.Event) -> None:
        pause_s, told = RETRY_FIRST_S, ""
        while not self._ending.is_set():
            try:
                self._connect()
            except (libvirt.libvirtError, SystemFault) as error:
                if str(error) != told:
                    told = str(error)
                    log.warning("%s; trying again until it answers", told)
                tried.set()
                self._ending.wait(pause_s)
                pause_s = min(pause_s * 2, RETRY_MAX_S)
                continue
            tried.set()
            pause_s, told = RETRY_FIRST_S, ""
            self._lost.wait()
            self._disconnect()

    def _connect(self) -> None:
        self._lost.clear()
        connection = libvirt.open(self._uri)
        connection.registerCloseCallback(lambda *_: self._lost.set(), None)
        if connection.getType().lower() != "test":  # which is no connection and has no keep-alive
            connection.setKeepAlive(KEEPALIVE_S, KEEPALIVE_MISSED)
        register = connection.domainEventRegisterAny
        register(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle, None)
        reboot = libvirt.VIR_DOMAIN_EVENT_ID_REBOOT
        register(None, reboot, lambda _, domain, __: self._tell(Happened.REBOOTED, domain), None)
        for event in (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED):
            with contextlib.suppress(libvirt.libvirtError):  # the test driver has none
                register(None, event, self._on_device, None)
        self._host_uuid = _host_uuid(connection)
        self._connection = connection
        self._heard(Lifecycle(Happened.CONNECTED))

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(libvirt.libvirtError):
                connection.unregisterCloseCallback()
                connection.close()
        if not self._ending.is_set():
            self._heard(Lifecycle(Happened.DISCONNECTED))

    def _on_lifecycle(self, _: Any, domain: libvirt.virDomain, event: int, detail: int, __: Any) -> None:
        happened = _DETAILS.get((event, detail)) or _EVENTS.get(event)
        if happened is not None:
            self._tell(happened, domain)

    def _on_device(self, _: Any, domain: libvirt.virDomain, alias: str, __: Any) -> None:
        if "net" in alias or alias.startswith("ua-"):
            self._tell(Happened.VNICS_CHANGED, domain)

    def _tell(self, what: Happened, domain: libvirt.virDomain) -> None:
        self._heard(Lifecycle(what, domain.UUIDString(), domain.name()))


@functools.cache
def _start_events() -> None:
    """Start libvirt's event loop, of which a process has one."""
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=_run_events, name="libvirt-events", daemon=True).start()


def _run_events() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:
            log.exception("libvirt's events")
            time.sleep(RETRY_FIRST_S)


def _store(domain: libvirt.virDomain, mac: str, changed: Callable[[str], str | None]) -> None:
    """Change a stored interface. changed: its XML, of the domain's; None where it is so already."""
    if not domain.isPersistent():
        return
    text = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    # of a running guest, one that was plugged in live is not stored
    if domain.isActive() and guest_in(text, running=False).vnic(mac) is None:
        return
    if (interface := changed(text)) is not None:
        domain.updateDeviceFlags(interface, libvirt.VIR_DOMAIN_AFFECT_CONFIG)


def _guest(domain: libvirt.virDomain) -> HostGuest | None:
    try:
        state, reason = domain.state()
        migrating = (state, reason) == (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION)
        return guest_in(domain.XMLDesc(), running=bool(domain.isActive()), migrating=migrating)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:  # gone since it was listed
            return None
        raise


def _host_uuid(connection: libvirt.virConnect) -> str:
    text: str = connection.getCapabilities()
    _, found, after = text.partition("<uuid>")
    return after.partition("</uuid>")[0] if found else ""


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except libvirt.libvirtError as error:
        raise SystemFault(f"libvirt: {error.get_error_message() or error}") from None
