"""What lab.yaml says, typed."""

import re
from pathlib import Path

import msgspec

from appliance.config import decode_yaml

HERE = Path(__file__).resolve().parent


class Management(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The network that leads from this host to every machine."""

    network: str
    host: str
    netmask: str


class ManagementCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A machine's card on it; the address is given by DHCP, to this card alone."""

    mac: str
    address: str


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A machine; `wires` holds its cards' MACs by network, `address` is its own on its wire."""

    memory_mib: int
    cpus: int
    management: ManagementCard
    wires: dict[str, str]
    data_disk_gib: int | None = None
    address: str | None = None


class Lab(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it; `name` is the storage pool's, and what the domains' names begin with."""

    name: str
    pool: str
    management: Management
    wires: list[str]
    machines: dict[str, Machine]

    def domain(self, machine: str) -> str:
        """Return what libvirt calls a machine."""
        return f"{self.name}-{machine}"


LAB = decode_yaml(HERE / "lab.yaml", Lab)


def driver(processor: Path = Path("/proc/cpuinfo"), kvm: Path = Path("/dev/kvm")) -> str:
    """Return libvirt's name for the fastest way to run machines here.

    A /dev/kvm without the processor's own virtualization can be there, and of no use.
    """
    able = re.search(r"^flags\s*:.*\b(vmx|svm)\b", processor.read_text(), re.MULTILINE)
    return "kvm" if able and kvm.exists() else "qemu"
