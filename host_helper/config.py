"""`host.yaml`: what `sekisho-host` is told by whoever installs it. Paths are relative to the file."""

from pathlib import Path
from typing import Literal

import msgspec

from appliance.config import decode_yaml
from appliance.hypervisor.static import INTERFACE_NAME, MAC
from appliance.model.faults import PolicyError
from appliance.model.guest import FailurePolicy

MAX_VLAN = 4094
DEFAULT_SOCKET = "/run/sekisho-host/sekisho-host.sock"
Right = Literal["guests", "events", "protect", "unprotect"]


class PairSegment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bridge that guests share, and the pair bridges that lead them through the appliance.

    direct_when_down: while the appliance does not let frames through, its guests are connected past it.
    """

    bridge: str
    pairs: tuple[str, ...]
    direct_when_down: bool = False


class PairConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Topology pair. appliance: the domain's name, or UUID."""

    appliance: str
    segments: tuple[PairSegment, ...]


class TrunkSegment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A VLAN-filtering bridge that guests share.

    trunk: the MAC of the appliance's vNIC that carries the guests' VLANs; it has another one without tags.
    vlans: the first and the last that may be used. vlan: the one that the guests share.
    """

    bridge: str
    trunk: str
    vlans: tuple[int, int]
    vlan: int = 1
    direct_when_down: bool = False


class TrunkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Topology trunk. appliance: the domain's name, or UUID."""

    appliance: str
    segments: tuple[TrunkSegment, ...]


class HostSegment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bridge that guests share, as `guests.yaml` calls it."""

    name: str
    bridge: str
    zone: int = 1
    failure: FailurePolicy = FailurePolicy()


class HostConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Topology host. guests_file: the appliance's `guests.yaml`, which the helper then writes."""

    guests_file: str
    segments: tuple[HostSegment, ...]


class Listen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The TLS port. clients: what may be asked by whom, by the name in the certificate."""

    address: str
    port: int = 8445
    clients: dict[str, tuple[Right, ...]] = {}


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of `host.yaml`. One of pair, trunk and host; guests: a file in place of libvirt."""

    libvirt: str = "qemu:///system"
    guests: str | None = None
    state_dir: str = "/var/lib/sekisho-host"
    socket: str = DEFAULT_SOCKET
    listen: Listen | None = None
    pair: PairConfig | None = None
    trunk: TrunkConfig | None = None
    host: HostConfig | None = None
    refuse_unprotected_start: bool = False

    @property
    def state(self) -> Path:
        """The state directory."""
        return Path(self.state_dir)

    @property
    def bridges(self) -> tuple[str, ...]:
        """The bridges that guests share."""
        topology = self.pair or self.trunk or self.host
        return tuple(each.bridge for each in topology.segments) if topology else ()


def read_config(path: Path) -> Config:
    """Return the configuration in the file, its paths made absolute. Raises PolicyError, OSError."""
    config = decode_yaml(path, Config)
    if [config.pair, config.trunk, config.host].count(None) != 2:
        raise PolicyError(
            f"{path}: one of pair, trunk and host must say how guests are led through the appliance"
        )
    names = list(config.bridges)
    if config.pair is not None:
        names += [pair for segment in config.pair.segments for pair in segment.pairs]
    for name in names:
        if not INTERFACE_NAME.fullmatch(name):
            raise PolicyError(f"{path}: {name!r} is no interface name")
        if names.count(name) > 1:
            raise PolicyError(f"{path}: the bridge {name!r} stands there twice")
    for segment in config.trunk.segments if config.trunk else ():
        _check_trunk(path, segment)
    base = path.absolute().parent
    host = config.host
    if host is not None:
        host = msgspec.structs.replace(host, guests_file=str(base / host.guests_file))
    return msgspec.structs.replace(
        config,
        guests=None if config.guests is None else str(base / config.guests),
        state_dir=str(base / config.state_dir),
        socket=str(base / config.socket),
        host=host,
    )


def _check_trunk(path: Path, segment: TrunkSegment) -> None:
    first, last = segment.vlans
    if not MAC.fullmatch(segment.trunk):
        raise PolicyError(f"{path}: trunk {segment.trunk!r} is no MAC address in lower case")
    if not (1 <= segment.vlan <= MAX_VLAN and 1 <= first <= last <= MAX_VLAN):
        raise PolicyError(f"{path}: bridge {segment.bridge}: VLANs are 1 to {MAX_VLAN}, the first one first")
    if first <= segment.vlan <= last:
        raise PolicyError(
            f"{path}: bridge {segment.bridge}: VLAN {segment.vlan} is shared by the guests already"
        )
