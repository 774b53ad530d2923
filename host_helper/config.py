"""`host.yaml`: what `sekisho-host` is told by whoever installs it. Paths are relative to the file."""

from pathlib import Path
from typing import Literal

import msgspec

from appliance.config import decode_yaml
from appliance.hypervisor.static import INTERFACE_NAME
from appliance.model.faults import PolicyError
from appliance.model.guest import FailurePolicy

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
    """All of `host.yaml`. One of pair and host; guests: a file in place of libvirt."""

    libvirt: str = "qemu:///system"
    guests: str | None = None
    state_dir: str = "/var/lib/sekisho-host"
    socket: str = DEFAULT_SOCKET
    listen: Listen | None = None
    pair: PairConfig | None = None
    host: HostConfig | None = None
    refuse_unprotected_start: bool = False

    @property
    def state(self) -> Path:
        """The state directory."""
        return Path(self.state_dir)

    @property
    def bridges(self) -> tuple[str, ...]:
        """The bridges that guests share."""
        return tuple(each.bridge for each in (self.pair or self.host).segments)  # type: ignore[union-attr]


def read_config(path: Path) -> Config:
    """Return the configuration in the file, its paths made absolute. Raises PolicyError, OSError."""
    config = decode_yaml(path, Config)
    if (config.pair is None) == (config.host is None):
        raise PolicyError(f"{path}: one of pair and host must say how guests are led through the appliance")
    names = list(config.bridges)
    if config.pair is not None:
        names += [pair for segment in config.pair.segments for pair in segment.pairs]
    for name in names:
        if not INTERFACE_NAME.fullmatch(name):
            raise PolicyError(f"{path}: {name!r} is no interface name")
        if names.count(name) > 1:
            raise PolicyError(f"{path}: the bridge {name!r} stands there twice")
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
