"""What the lab consists of: names, addresses and ports, all derived from one prefix."""

from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_PREFIX = "sekisho"
DEFAULT_RUN_DIR = Path(".run/lab")

HTTP_PORT = 80
"""nginx: static files, and everything else passed on to the recorder with the URI untouched."""
RAW_PORT = 8080
"""The recorder itself, for requests that nginx would normalise or refuse."""


@dataclass(frozen=True, slots=True)
class LabGuest:
    """One guest of the lab: a network namespace with one interface, `eth0`."""

    name: str
    tap: str
    mac: str
    ipv4: str
    ipv6: str

    @property
    def addresses(self) -> tuple[str, str]:
        """Both addresses, without prefix length."""
        return self.ipv4, self.ipv6


WEB = LabGuest("web", "web0", "02:5e:99:00:00:10", "10.99.0.10", "fd99::10")
CLIENT = LabGuest("client", "client0", "02:5e:99:00:00:20", "10.99.0.20", "fd99::20")
GUESTS = (WEB, CLIENT)
IPV4_PREFIX_LENGTH = 24
IPV6_PREFIX_LENGTH = 64


@dataclass(frozen=True, slots=True)
class LabSettings:
    """Where a lab lives. prefix begins the namespaces' names, so that two labs can stand side by side."""

    run_dir: Path = field(default=DEFAULT_RUN_DIR)
    prefix: str = DEFAULT_PREFIX
    bridge: str = "sekisho0"
    download_mib: int = 256

    @property
    def bridge_netns(self) -> str:
        """The namespace of the bridge, where the appliance runs."""
        return f"{self.prefix}-br"

    def guest_netns(self, guest: LabGuest) -> str:
        """The namespace that is the guest."""
        return f"{self.prefix}-{guest.name}"

    @property
    def namespaces(self) -> tuple[str, ...]:
        """All namespaces of this lab."""
        return (self.bridge_netns, *(self.guest_netns(guest) for guest in GUESTS))

    @property
    def records(self) -> Path:
        """The recorder's JSON lines."""
        return self.run_dir / "records.jsonl"

    @property
    def state(self) -> Path:
        """Which processes `up` started."""
        return self.run_dir / "lab.json"

    @property
    def guests_yaml(self) -> Path:
        """The lab's guests, as the appliance reads them."""
        return self.run_dir / "guests.yaml"
