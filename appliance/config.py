"""`sekisho.yaml`: what the appliance is told by whoever installs it.

Everything that can change while it runs comes from the manager instead. Paths are relative to the file.
"""

import os
import re
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from appliance.model.faults import PolicyError

MEBIBYTE = 1024 * 1024
GIBIBYTE = 1024 * MEBIBYTE
MAX_QUEUES = 8
MAX_FILE_BYTES = MEBIBYTE
MAX_STATE_DIR_BYTES = 92
"""A unix socket's path has room for 107 (unix(7)), and `inspector.sock` stands in the directory."""
LISTEN = r"/.{1,100}|([0-9.]{7,15}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}"

T = TypeVar("T")


class ManagerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The manager that this appliance dials.

    url: where people reach it. ca_fingerprint: of its CA certificate, as the manager showed it. token: enrols
    once, better given by token_file. name: what the manager calls this appliance.
    """

    url: str
    ca_fingerprint: str
    name: str = "appliance"
    token: str | None = None
    token_file: str | None = None


class InspectorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The inspector: its packet source, queues first_queue … first_queue+queues-1, memory, and the user it
    becomes once its queues are bound (source native only)."""

    source: Literal["native", "netfilterqueue"] = "native"
    queues: int = 2
    first_queue: int = 0
    memory_max_bytes: int = GIBIBYTE
    user: str = "nobody"
    canary: bool = True
    latency_budget_ms: int = 20


class SpoolConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The spool of events on disk."""

    max_bytes: int = GIBIBYTE


class MetricsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where Prometheus fetches metrics: ADDRESS:PORT, or the path of a unix socket."""

    listen: str = "127.0.0.1:9478"

    def is_place(self) -> bool:
        """Whether `listen` can be what it is said to be."""
        if not re.fullmatch(LISTEN, self.listen):
            return False
        return self.address is None or self.address[1] <= 65_535

    @property
    def address(self) -> tuple[str, int] | None:
        """Address and port, or None when `listen` is a path."""
        if "/" in self.listen:
            return None
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class HelperConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The host helper that says which guests are behind this appliance's ports."""

    address: str
    port: int = 8445

    def __str__(self) -> str:
        return f"{self.address} port {self.port}"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of `sekisho.yaml`."""

    guests: str
    state_dir: str = "/var/lib/sekisho"
    netns: str | None = None
    helper: HelperConfig | None = None
    manager: ManagerConfig | None = None
    inspector: InspectorConfig = InspectorConfig()
    spool: SpoolConfig = SpoolConfig()
    metrics: MetricsConfig | None = None
    backend: Literal["auto", "br-netfilter", "nft-bridge"] = "auto"

    @property
    def state(self) -> Path:
        """The state directory; absolute once the configuration was read from a file."""
        return Path(self.state_dir)

    @property
    def followed(self) -> Path:
        """What the host helper said last."""
        return self.state / "helper.json"

    @property
    def spool_dir(self) -> Path:
        """Where events wait for the manager."""
        return self.state / "spool"


def read_config(path: Path) -> Config:
    """Return the configuration in the file, its paths made absolute. Raises PolicyError, OSError.

    An unknown key, a wrong type or a value out of bounds is refused with file and key.
    """
    config = decode_yaml(path, Config)
    _check(path, config)
    base = path.absolute().parent
    manager = config.manager
    if manager is not None and manager.token_file is not None:
        manager = msgspec.structs.replace(manager, token_file=str(base / manager.token_file))
    return msgspec.structs.replace(
        config, guests=str(base / config.guests), state_dir=str(base / config.state_dir), manager=manager
    )


def decode_yaml(path: Path, shape: type[T]) -> T:
    """Return the YAML file as `shape`. Raises PolicyError naming file and key, OSError."""
    with path.open("rb") as file:
        text = file.read(MAX_FILE_BYTES + 1)
    if len(text) > MAX_FILE_BYTES:
        raise PolicyError(f"{path}: longer than {MAX_FILE_BYTES} bytes")
    try:
        try:
            document = msgspec.json.decode(text)  # as programs write it: no reader of YAML is imported
        except msgspec.DecodeError:
            document = msgspec.yaml.decode(text)
        return msgspec.convert(document, shape)
    except msgspec.ValidationError as error:
        raise PolicyError(f"{path}: {_in_words(str(error))}") from None
    except (msgspec.MsgspecError, RecursionError, ValueError, TypeError) as error:
        raise PolicyError(f"{path}: not YAML: {' '.join(str(error).split())}") from None


def fingerprint_hex(text: str) -> str:
    """Return a fingerprint as people copy it (`sha256:AB:CD…`) as plain lower-case hex."""
    return text.lower().removeprefix("sha256:").replace(":", "")


def _in_words(error: str) -> str:
    """Turn msgspec's `… - at `$.manager.url`` into `manager.url: …`."""
    what, separator, where = error.rpartition(" - at `$.")
    return f"{where.rstrip('`')}: {what}" if separator else error


def _check(path: Path, config: Config) -> None:
    inspector = config.inspector
    problems = {
        "inspector.queues": None if 1 <= inspector.queues <= MAX_QUEUES else f"1 to {MAX_QUEUES}",
        "inspector.first_queue": None if 0 <= inspector.first_queue <= 65_535 - MAX_QUEUES else "0 to 65527",
        "inspector.memory_max_bytes": None
        if inspector.memory_max_bytes >= 16 * MEBIBYTE
        else "at least 16 MiB",
        "inspector.latency_budget_ms": None if 1 <= inspector.latency_budget_ms <= 10_000 else "1 to 10000",
        "spool.max_bytes": None if config.spool.max_bytes >= 32 * MEBIBYTE else "at least 32 MiB",
        "inspector.source": None
        if inspector.source == "native" or config.backend != "nft-bridge"
        else "native with backend nft-bridge, which hides bytes from another; or set backend to br-netfilter",
        "state_dir": None
        if len(os.fsencode(path.absolute().parent / config.state_dir)) <= MAX_STATE_DIR_BYTES
        else f"at most {MAX_STATE_DIR_BYTES} bytes long: there are unix sockets in it",
        "netns": None
        if config.netns is None or re.fullmatch(r"[\w.-]{1,255}", config.netns)
        else "a plain name",
    }
    if config.metrics is not None and not config.metrics.is_place():
        problems["metrics.listen"] = (
            "ADDRESS:PORT, such as 127.0.0.1:9478, or the absolute path of a unix socket"
        )
    if config.helper is not None:
        problems |= {
            "helper.address": None
            if re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", config.helper.address)
            else "a name or an address",
            "helper.port": None if 1 <= config.helper.port <= 65_535 else "1 to 65535",
        }
    if (manager := config.manager) is not None:
        hexadecimal = fingerprint_hex(manager.ca_fingerprint)
        problems |= {
            "manager.url": None if manager.url.startswith("https://") else "an https:// address",
            "manager.ca_fingerprint": None
            if re.fullmatch(r"[0-9a-f]{64}", hexadecimal)
            else "the SHA-256 fingerprint that the manager showed: 64 hex digits",
            "manager.token": "only one of token and token_file"
            if manager.token and manager.token_file
            else None,
        }
    for key, wanted in problems.items():
        if wanted is not None:
            raise PolicyError(f"{path}: {key}: must be {wanted}")
