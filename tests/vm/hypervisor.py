"""A libvirtd of the tests' own, by hand: its files, its sockets, its network namespace.

Its directories lie under the folder, seen at their usual places in a mount namespace that is libvirtd's
alone, so that nothing of the machine's own libvirt is read or written.
"""

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import time
import uuid as uuids
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import libvirt

from appliance.netns import command_in, run_in
from tests.vm import tiny

READY_S = 240.0 * float(os.environ.get("SEKISHO_TEST_PATIENCE", "1"))
"""For what an emulated machine does, on a busy one."""
PLACES = ("/etc/libvirt", "/run/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt")
QEMU_CONF = """\
security_driver = "none"
user = "root"
group = "root"
cgroup_controllers = []
namespaces = []
remember_owner = 0
stdio_handler = "file"
"""


@dataclass(slots=True)
class Hypervisor:
    """Running; `connection` is the test's own look at it."""

    folder: Path
    netns: str
    kernel: Path
    initrd: Path
    hostname: str = ""
    process: subprocess.Popen[bytes] | None = None
    connection: Any = None

    @property
    def uri(self) -> str:
        return f"qemu:///system?socket={self.folder}/run/libvirt/libvirt-sock"

    def start(self) -> None:
        """Start libvirtd; guests that run already are found again."""
        mounts = "; ".join(f"mkdir -p {place}; mount --bind {self._here(place)} {place}" for place in PLACES)
        script = f"mount --make-rprivate /; {mounts}; exec libvirtd -p {self.folder}/libvirtd.pid"
        if self.hostname:
            script = f"hostname {self.hostname}; {script}"
        command = command_in(self.netns, ["unshare", "--mount", "--uts", "sh", "-ec", script])
        with (self.folder / "libvirtd.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.connection = wait_for("libvirtd answers", self._opened)

    def stop(self) -> None:
        """End libvirtd; its guests go on."""
        if self.connection is not None:
            with contextlib.suppress(libvirt.libvirtError):
                self.connection.close()
            self.connection = None
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=READY_S)
            self.process = None

    def lose_power(self) -> None:
        """End libvirtd and its guests at once, as a machine that goes off; nothing of /run is kept."""
        guests = [int(path.read_text()) for path in self._here("/run/libvirt").glob("qemu/*.pid")]
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=READY_S)
        for guest in guests:
            with contextlib.suppress(ProcessLookupError):
                os.kill(guest, signal.SIGKILL)
        wait_for("its guests are gone", lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in guests))
        self.process = self.connection = None
        shutil.rmtree(self._here("/run/libvirt"))
        self._here("/run/libvirt").mkdir()

    def define(self, name: str, role: str, nics: Sequence[tuple[str, str]], uuid: str = "") -> Any:
        """Define a domain with a card a (MAC, bridge). Return libvirt's domain."""
        return self.connection.defineXML(self.xml(name, role, nics, uuid))

    def xml(self, name: str, role: str, nics: Sequence[tuple[str, str]], uuid: str = "") -> str:
        cards = "".join(
            f"<interface type='bridge'><mac address='{mac}'/><source bridge='{bridge}'/>"
            "<model type='virtio'/></interface>"
            for mac, bridge in nics
        )
        return f"""<domain type='qemu'><name>{name}</name>{f"<uuid>{uuid}</uuid>" if uuid else ""}
          <memory unit='MiB'>128</memory><vcpu>1</vcpu>
          <os><type arch='x86_64' machine='pc'>hvm</type><kernel>{self.kernel}</kernel>
          <initrd>{self.initrd}</initrd><cmdline>console=ttyS0 quiet mitigations=off {role}</cmdline></os>
          <features><acpi/></features><cpu mode='custom'><model>qemu64</model></cpu>
          <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
          <serial type='file'><source path='{self.folder}/{name}.console'/></serial>
          {cards}<memballoon model='none'/></devices></domain>"""

    def boot(self, domain: Any) -> None:
        """Start the domain, and wait until it says that it is ready."""
        source = ElementTree.fromstring(domain.XMLDesc()).find("./devices/serial/source")
        assert source is not None
        console = Path(source.attrib["path"])  # named as the domain was when it was defined
        console.unlink(missing_ok=True)
        domain.create()
        wait_for(f"{domain.name()} is up", lambda: console.exists() and "ready" in console.read_text())

    def remove(self, domain: Any) -> None:
        """End the domain and forget it."""
        with contextlib.suppress(libvirt.libvirtError):
            domain.destroy()
        with contextlib.suppress(libvirt.libvirtError):
            domain.undefine()

    def _here(self, place: str) -> Path:
        return self.folder / place.lstrip("/").replace("var/", "")

    def _opened(self) -> Any:
        assert self.process is not None and self.process.poll() is None, self.log()
        try:
            return libvirt.open(self.uri)
        except libvirt.libvirtError:
            return None

    def log(self) -> str:
        return (self.folder / "libvirtd.log").read_text()[-3000:]


@contextlib.contextmanager
def hypervisor(folder: Path, netns: str, hook: str = "", hostname: str = "") -> Iterator[Hypervisor]:
    """Give a libvirtd in the namespace; at the end it is gone with all its guests.

    hook: the text of its qemu hook. hostname: its own; guests migrate to no host of the same name.
    """
    initrd = folder / "initrd"
    kernel = tiny.make_initrd(initrd)
    found = Hypervisor(folder, netns, kernel, initrd, hostname)
    for place in PLACES:
        found._here(place).mkdir(parents=True, exist_ok=True)
    etc = found._here("/etc/libvirt")
    shutil.copytree(
        # without what is defined on this machine: domains, networks, and which of them start by themselves
        "/etc/libvirt",
        etc,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("*.xml", "hooks"),
    )
    (etc / "qemu.conf").write_text(QEMU_CONF)
    (etc / "libvirtd.conf").write_text(f'auth_unix_rw = "none"\nhost_uuid = "{uuids.uuid4()}"\n')
    (etc / "hooks").mkdir(exist_ok=True)
    if hook:
        (etc / "hooks/qemu").write_text(hook)
        (etc / "hooks/qemu").chmod(0o755)
    try:
        with _kvm_opened():
            found.start()
            yield found
    finally:
        with contextlib.suppress(Exception):
            if found.connection is None or not found.connection.isAlive():
                found.stop()
                found.start()
            for domain in found.connection.listAllDomains():
                found.remove(domain)
        found.stop()


@contextlib.contextmanager
def _kvm_opened() -> Iterator[None]:
    """Let libvirt's user open /dev/kvm: one that it may not open costs a minute at each definition."""
    path = Path("/dev/kvm")
    if not path.exists():
        yield
        return
    before = path.stat()
    shutil.chown(path, group="kvm")
    path.chmod(0o660)
    try:
        yield
    finally:
        os.chown(path, before.st_uid, before.st_gid)
        path.chmod(stat.S_IMODE(before.st_mode))


def wait_for(what: str, holds: Any) -> Any:
    deadline = time.monotonic() + READY_S
    while not (result := holds()):
        assert time.monotonic() < deadline, f"not within {READY_S:.0f} s: {what}"
        time.sleep(0.1)
    return result


def tap_of(domain: Any, mac: str) -> str:
    """Return the tap of a running domain's card."""
    from host_helper.domain_xml import guest_in

    vnic = guest_in(domain.XMLDesc(), running=True).vnic(mac)
    assert vnic is not None and vnic.tap is not None
    return vnic.tap


def master_of(netns: str, tap: str) -> str:
    """Return the bridge that the tap is a port of."""
    (link,) = json.loads(run_in(netns, ["ip", "-j", "link", "show", tap]))
    return str(link.get("master"))
