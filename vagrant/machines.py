"""Two ways to run the lab's machines on their ground: with Vagrant, and with libvirt alone."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from vagrant import ground
from vagrant.description import LAB, Machine, driver
from vagrant.programs import run

HERE = Path(__file__).resolve().parent
IMAGES = HERE.parent / "dist/image"
IMAGE, BOX = IMAGES / "sekisho.qcow2", IMAGES / "sekisho.box"
CPU = {"kvm": "<cpu mode='host-passthrough'/>", "qemu": "<cpu mode='custom'><model>qemu64</model></cpu>"}


def start_with_vagrant() -> None:
    """Have Vagrant make and start them; its box is theirs."""
    _vagrant("box", "add", "--force", "--name", LAB.name, str(BOX))
    _vagrant("up", "--provider", "libvirt")


def forget_in_vagrant() -> None:
    """Have Vagrant destroy what it started, if it did."""
    if (HERE / ".vagrant").exists():
        _vagrant("destroy", "-f")
        subprocess.run(
            ["vagrant", "box", "remove", "--force", "--all", LAB.name], capture_output=True, check=False
        )
        shutil.rmtree(HERE / ".vagrant")


def start_with_libvirt(connection: Any) -> None:
    """Make and start them as Vagrant would."""
    ground.upload(connection, IMAGE.name, IMAGE)
    for name, machine in LAB.machines.items():
        ground.create(connection, f"{name}.qcow2", 1, IMAGE.name)
        if machine.data_disk_gib is not None:
            ground.create(connection, f"{name}-data.qcow2", machine.data_disk_gib)
        connection.defineXML(domain(name, machine, driver())).create()


def domain(name: str, machine: Machine, kind: str) -> str:
    """Return libvirt's definition of a machine; kind: kvm or qemu."""
    disks = [("disk", "qcow2", f"{name}.qcow2", "vda", "virtio")]
    if machine.data_disk_gib is not None:
        disks.append(("disk", "qcow2", f"{name}-data.qcow2", "vdb", "virtio"))
    disks.append(("cdrom", "raw", f"{name}.iso", "hda", "ide"))
    cards = {LAB.management.network: machine.management.mac, **machine.wires}
    return f"""<domain type='{kind}'><name>{LAB.domain(name)}</name>
      <memory unit='MiB'>{machine.memory_mib}</memory><vcpu>{machine.cpus}</vcpu>
      <os><type arch='x86_64'>hvm</type></os><features><acpi/><apic/></features>{CPU[kind]}
      <devices>{"".join(_disk(*disk) for disk in disks)}{"".join(map(_card, cards.items()))}
      <serial type='pty'/></devices></domain>"""


def _disk(device: str, form: str, volume: str, target: str, bus: str) -> str:
    return (
        f"<disk type='volume' device='{device}'><driver name='qemu' type='{form}'/>"
        f"<source pool='{LAB.name}' volume='{volume}'/><target dev='{target}' bus='{bus}'/></disk>"
    )


def _card(network_and_mac: tuple[str, str]) -> str:
    network, mac = network_and_mac
    return (
        f"<interface type='network'><mac address='{mac}'/><source network='{network}'/>"
        "<model type='virtio'/></interface>"
    )


def _vagrant(*arguments: str) -> None:
    """Run it, its words shown as they come."""
    run("vagrant", *arguments, shown=True, cwd=HERE, env={"SEKISHO_LAB_DRIVER": driver()})
