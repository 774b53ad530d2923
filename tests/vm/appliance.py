"""The appliance's image as a virtual machine, and two network namespaces whose traffic goes through it.

    namespace client ─ tap ═ NIC ┐ bridge in the machine ┌ NIC ═ tap ─ namespace web
    manager on this machine ◄─ QEMU's user network ─ NIC ┘ management

Real packets from one namespace to the other have no way but through the machine. It is looked into over SSH.
"""

import contextlib
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.manager_fixture import RunningManager
from tests.vm.over_ssh import OverSsh

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "dist/image/sekisho.qcow2"
WAIT_S = 900.0
"""For what must happen in an emulated machine on a busy one."""
MANAGEMENT, TO_CLIENT, TO_WEB = (f"52:54:00:5e:00:0{number}" for number in (1, 2, 3))
WEB_MAC, CLIENT_MAC = "52:54:00:5e:01:01", "52:54:00:5e:01:02"
WEB, CLIENT = "10.97.0.10", "10.97.0.20"
HOST = "10.0.2.2"
"""This machine, as QEMU's user network shows it."""
NAME = "vm"


def wait_for(what: str, condition: Callable[[], Any], timeout_s: float = WAIT_S, every_s: float = 0.2) -> Any:
    """Return the first true value of the condition. Fails naming `what` past its time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(every_s)
    raise AssertionError(f"not within {timeout_s:.0f} s: {what}")


@dataclass(frozen=True, slots=True)
class Wires:
    """The two namespaces and the taps that lead out of them."""

    prefix: str

    @property
    def taps(self) -> Mapping[str, str]:
        """Tap names by namespace."""
        return {self.client: f"{self.prefix}c", self.web: f"{self.prefix}w"}

    @property
    def client(self) -> str:
        """The client's namespace."""
        return f"{self.prefix}-client"

    @property
    def web(self) -> str:
        """The web guest's namespace."""
        return f"{self.prefix}-web"

    def attach(self) -> None:
        """Give each namespace its tap, once QEMU holds it; the tap is the guest's network card."""
        ends = ((self.client, CLIENT, CLIENT_MAC), (self.web, WEB, WEB_MAC))
        for netns, address, mac in ends:
            tap = self.taps[netns]
            _ip("link", "set", tap, "netns", netns)
            _ip("-n", netns, "link", "set", tap, "address", mac)
            _ip("-n", netns, "address", "replace", f"{address}/24", "dev", tap)
            _ip("-n", netns, "link", "set", tap, "up")


@contextlib.contextmanager
def wires(prefix: str) -> Iterator[Wires]:
    """Give two namespaces with a web server in one of them; all of it is gone afterwards."""
    made = Wires(prefix)
    for netns in made.taps:
        _ip("netns", "add", netns)
        _ip("-n", netns, "link", "set", "lo", "up")
    server = subprocess.Popen(
        [
            "ip", "netns", "exec", made.web,
            "python3", "-m", "http.server", "80", "--directory", str(ROOT / "docs"),
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield made
    finally:
        server.kill()
        server.wait()
        for netns, tap in made.taps.items():
            subprocess.run(["ip", "netns", "delete", netns], check=False)
            subprocess.run(["ip", "link", "delete", tap], check=False, stderr=subprocess.DEVNULL)


@dataclass(slots=True)
class ApplianceMachine(OverSsh):
    """The machine; `power` runs it for a while, its disks stay in the folder."""

    wires: Wires | None = None
    image: Path = IMAGE

    @property
    def console(self) -> str:
        """All that the serial console showed since power on, without what moves the cursor."""
        shown = (self.folder / "console.log").read_text(errors="replace")
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "")

    def write_seed(self, sekisho: Mapping[str, Any]) -> None:
        """Write the seed disk, as tools for cloud-init do: an ISO labelled cidata."""
        folder = self.folder / "seed"
        folder.mkdir(exist_ok=True)
        keys = [self.key.with_suffix(".pub").read_text().strip()]
        document = {"ssh_authorized_keys": keys, "sekisho": sekisho}
        (folder / "user-data").write_text("#cloud-config\n" + yaml.safe_dump(document))
        (folder / "meta-data").write_text(f"instance-id: {NAME}\n")
        files = [str(folder / "user-data"), str(folder / "meta-data")]
        subprocess.run(
            [
                "genisoimage",
                "-quiet",
                "-J",
                "-r",
                "-V",
                "cidata",
                "-o",
                str(self.folder / "seed.iso"),
                *files,
            ],
            check=True,
        )

    def remove_seed(self) -> None:
        """Take the seed disk out."""
        (self.folder / "seed.iso").unlink()

    @contextlib.contextmanager
    def power(self, *, data_disk: bool = True, memory_mib: int = 1024) -> Iterator[float]:
        """Run it until the block ends, which is like a power failure; gives when it was switched on."""
        nics = self._management()
        for netns, mac in (
            () if self.wires is None else zip(self.wires.taps, (TO_CLIENT, TO_WEB), strict=True)
        ):
            tap = self.wires.taps[netns]
            _ip("tuntap", "add", tap, "mode", "tap")
            nics += ["-netdev", f"tap,id={tap},ifname={tap},script=no,downscript=no"]
            nics += ["-device", f"virtio-net-pci,netdev={tap},mac={mac},romfile="]
        disks = ["-drive", f"if=virtio,format=qcow2,snapshot=on,file={self.image}"]
        if data_disk:
            disk = self.folder / "data.img"
            if not disk.exists():
                with disk.open("wb") as file:
                    file.truncate(1 << 30)
            disks += ["-drive", f"if=virtio,format=raw,file={disk}"]
        if (seed := self.folder / "seed.iso").exists():
            disks += ["-drive", f"if=virtio,readonly=on,format=raw,file={seed}"]
        (self.folder / "console.log").write_text("")
        process = subprocess.Popen(
            [
                "setpriv", "--pdeathsig", "KILL",
                "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
                "-m", str(memory_mib), "-nographic", "-nodefaults", "-no-reboot", *disks, *nics,
                "-serial", f"file:{self.folder / 'console.log'}",
            ],
            stdin=subprocess.DEVNULL,
            stderr=(self.folder / "qemu.log").open("wb"),
        )  # fmt: skip
        began = time.monotonic()
        try:
            if self.wires is not None:
                wait_for("QEMU holds its taps", lambda: self._holds_taps(process))
                self.wires.attach()
            yield began
        finally:
            process.kill()
            process.wait()
            for netns, tap in () if self.wires is None else self.wires.taps.items():
                subprocess.run(
                    ["ip", "-n", netns, "link", "delete", tap], stderr=subprocess.DEVNULL, check=False
                )

    def _management(self) -> list[str]:
        forward = f"hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22"
        return [
            "-netdev", f"user,id=management,{forward}",
            "-device", f"virtio-net-pci,netdev=management,mac={MANAGEMENT},romfile=",
        ]  # fmt: skip

    def _holds_taps(self, process: "subprocess.Popen[bytes]") -> bool:
        assert process.poll() is None, (self.folder / "qemu.log").read_text()
        assert self.wires is not None
        states = [Path(f"/sys/class/net/{tap}/carrier") for tap in self.wires.taps.values()]
        for tap in self.wires.taps.values():
            _ip("link", "set", tap, "up")
        return all(state.read_text().strip() == "1" for state in states)


def seed(manager: RunningManager, token: str) -> dict[str, Any]:
    """Return what the machine of these tests is told: one segment, whose web guest is protected."""
    return {
        "name": NAME,
        "manager": {
            "url": f"https://{HOST}:{manager.port}",
            "ca_fingerprint": manager.fingerprint,
            "token": token,
        },
        "management": {"nic": MANAGEMENT},
        "segments": [{"name": "shop", "nics": [TO_CLIENT, TO_WEB]}],
        "guests": [{"name": "web", "segment": "shop", "nic": TO_WEB, "mac": WEB_MAC, "addresses": [WEB]}],
    }


def _ip(*arguments: Sequence[str] | str) -> None:
    subprocess.run(["ip", *map(str, arguments)], check=True)
