"""What the lab's machines stand on, whoever runs them: networks and storage, made with libvirt."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt

from vagrant.description import LAB

URI = "qemu:///system"


@contextlib.contextmanager
def connected() -> Iterator[Any]:
    """Give libvirt's connection; what libvirt refuses ends the program with its reason."""
    # It prints what it raises.
    libvirt.registerErrorHandler(lambda *_: None, None)
    uri = os.environ.get("LIBVIRT_DEFAULT_URI", URI)
    try:
        connection = libvirt.open(uri)
    except libvirt.libvirtError as error:
        raise SystemExit(
            f"libvirt does not answer at {uri} ({error}); "
            "start it: systemctl start libvirtd, or without systemd: virtlogd -d; libvirtd -d"
        ) from None
    try:
        yield connection
    except libvirt.libvirtError as error:
        raise SystemExit(f"libvirt: {error}") from None
    finally:
        connection.close()


def make(connection: Any) -> None:
    """Make networks and storage pool."""
    for xml in (_management(), *map(_wire, LAB.wires)):
        connection.networkDefineXML(xml).create()
    pool = f"<pool type='dir'><name>{LAB.name}</name><target><path>{LAB.pool}</path></target></pool>"
    made = connection.storagePoolDefineXML(pool)
    made.build()
    made.create()


def upload(connection: Any, name: str, source: Path) -> None:
    """Copy a file into the pool, where QEMU may read it, whoever it runs as."""
    volume = _pool(connection).createXML(
        f"<volume><name>{name}</name><capacity unit='bytes'>{source.stat().st_size}</capacity></volume>"
    )
    stream = connection.newStream()
    volume.upload(stream, 0, source.stat().st_size)
    with source.open("rb") as file:
        stream.sendAll(lambda _stream, size, file: file.read(size), file)
    stream.finish()


def create(connection: Any, name: str, gib: int, backing: str | None = None) -> None:
    """Make a disk in the pool: blank, or what is written over another one."""
    pool = _pool(connection)
    below = ""
    if backing is not None:
        path = pool.storageVolLookupByName(backing).path()
        below = f"<backingStore><path>{path}</path><format type='qcow2'/></backingStore>"
    pool.createXML(
        f"<volume><name>{name}</name><capacity unit='GiB'>{gib}</capacity>"
        f"<target><format type='qcow2'/></target>{below}</volume>"
    )


def remove(connection: Any) -> None:
    """Remove all that is the lab's, machines too, whatever state it is in."""
    for domain in connection.listAllDomains():
        if domain.name() in map(LAB.domain, LAB.machines):
            if domain.isActive():
                domain.destroy()
            domain.undefine()
    for network in connection.listAllNetworks():
        if network.name() in (LAB.management.network, *LAB.wires):
            if network.isActive():
                network.destroy()
            network.undefine()
    for pool in connection.listAllStoragePools():
        if pool.name() == LAB.name:
            if not pool.isActive():
                pool.create()
            pool.refresh()
            for volume in pool.listAllVolumes():
                volume.delete()
            pool.destroy()
            pool.delete()
            pool.undefine()


def _management() -> str:
    """Return the network with this host on it; it hands each machine its address, and leads nowhere else."""
    given = "".join(
        f"<host mac='{each.management.mac}' ip='{each.management.address}'/>"
        for each in LAB.machines.values()
    )
    return (
        f"<network><name>{LAB.management.network}</name><bridge stp='off' delay='0'/><dns enable='no'/>"
        f"<ip address='{LAB.management.host}' netmask='{LAB.management.netmask}'>"
        f"<dhcp>{given}</dhcp></ip></network>"
    )


def _wire(name: str) -> str:
    """Return a bridge without an address of the host's: nobody hears what passes it but its ends."""
    return f"<network><name>{name}</name><bridge stp='off' delay='0'/></network>"


def _pool(connection: Any) -> Any:
    return connection.storagePoolLookupByName(LAB.name)
