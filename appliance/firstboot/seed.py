"""The seed: the part of a NoCloud seed's `user-data` that an appliance understands.

    #cloud-config
    ssh_authorized_keys: [ssh-ed25519 …]          # turns SSH on, for root, with keys only
    sekisho:
      name: appliance-1
      manager: {url: "https://192.0.2.1:8443", ca_fingerprint: "sha256:…", token: ske_…}
      management: {nic: "52:54:00:00:00:01", address: 192.0.2.5/24}   # no address: DHCP
      helper: {address: 192.0.2.7}                                    # sekisho-host, which names the guests
      segments:
        - {name: shop, nics: ["52:54:00:00:01:01", "52:54:00:00:01:02"], failure: {inspector_down: closed}}
      guests:
        - {name: shop, segment: shop, nic: "52:54:00:00:01:02", mac: "52:54:00:aa:bb:cc", addresses: […]}

NICs are named by their MAC: names may change with a machine's slots.
"""

import ipaddress
import re
from pathlib import Path
from typing import Any

import msgspec

from appliance.config import decode_yaml
from appliance.model.faults import PolicyError

MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,11}")
"""Of a segment: its bridge is called br- and this, in a kernel's 15 characters."""
KEY = re.compile(r"(ssh|ecdsa|sk)-[\x20-\x7e]{1,8000}")


class ManagerSeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The manager to enrol with; the token is of use once."""

    url: str
    ca_fingerprint: str
    token: str | None = None


class ManagementSeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The NIC over which the manager is reached; without an address it asks by DHCP."""

    nic: str
    address: str | None = None
    gateway: str | None = None
    dns: tuple[str, ...] = ()
    ntp: tuple[str, ...] = ()


class HelperSeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The host helper that says which guests are behind the data NICs."""

    address: str
    port: int = 8445


class SegmentSeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """NICs that are bridged with one another, and only with them.

    trunk: a further NIC, which carries a VLAN for each guest (topology trunk).
    """

    name: str
    nics: tuple[str, ...]
    trunk: str | None = None
    failure: dict[str, str] = {}


class GuestSeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A guest, and the NIC that leads to it."""

    name: str
    segment: str
    nic: str
    mac: str
    addresses: tuple[str, ...] = ()


class Seed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that the seed says to us. ssh_keys: root may log in with these."""

    name: str = "appliance"
    manager: ManagerSeed | None = None
    management: ManagementSeed | None = None
    helper: HelperSeed | None = None
    segments: tuple[SegmentSeed, ...] = ()
    guests: tuple[GuestSeed, ...] = ()
    ssh_keys: tuple[str, ...] = ()


def read_seed(path: Path) -> Seed:
    """Return the seed in a user-data file. Raises PolicyError naming key and reason, OSError.

    Of what is cloud-init's only `ssh_authorized_keys` is understood; other keys are for others.
    """
    document = decode_yaml(path, dict[str, Any])
    try:
        seed = msgspec.convert(
            {**document.get("sekisho", {}), "ssh_keys": document.get("ssh_authorized_keys", ())}, Seed
        )
    except (msgspec.ValidationError, TypeError) as error:
        raise PolicyError(f"{path.name}: sekisho: {error}") from None
    seed = _lower(seed)
    _check(path.name, seed)
    return seed


def _lower(seed: Seed) -> Seed:
    """Return the seed with MACs as the kernel writes them."""
    change = msgspec.structs.replace
    management = seed.management and change(seed.management, nic=seed.management.nic.lower())
    segments = tuple(
        change(s, nics=tuple(nic.lower() for nic in s.nics), trunk=s.trunk and s.trunk.lower())
        for s in seed.segments
    )
    guests = tuple(change(g, nic=g.nic.lower(), mac=g.mac.lower()) for g in seed.guests)
    return change(seed, management=management, segments=segments, guests=guests)


def _check(name: str, seed: Seed) -> None:
    seen: dict[str, str] = {}
    if seed.management is not None:
        seen[seed.management.nic] = "the management NIC"
        _check_addresses(name, seed.management)
    for segment in seed.segments:
        if not NAME.fullmatch(segment.name):
            raise PolicyError(f"{name}: segment {segment.name!r}: a name is 1 to 12 letters, digits or -")
        for nic in (*segment.nics, *filter(None, [segment.trunk])):
            if (
                other := seen.setdefault(nic, f"in segment {segment.name!r}")
            ) != f"in segment {segment.name!r}":
                raise PolicyError(
                    f"{name}: segment {segment.name!r}: {nic} is {other}; a NIC belongs to one segment, and "
                    "the management NIC to none, or guests could reach the manager's network through it"
                )
    for mac in [*seen, *(guest.mac for guest in seed.guests)]:
        if not MAC.fullmatch(mac):
            raise PolicyError(f"{name}: {mac!r} is no MAC address")
    nics = {segment.name: segment.nics for segment in seed.segments}
    for guest in seed.guests:
        if guest.nic not in nics.get(guest.segment, ()):
            raise PolicyError(
                f"{name}: guest {guest.name!r}: {guest.nic} is no NIC of segment {guest.segment!r}"
            )
    for key in seed.ssh_keys:
        if not KEY.fullmatch(key):
            raise PolicyError(f"{name}: ssh_authorized_keys: {key[:40]!r} is no public key")


def _check_addresses(name: str, management: ManagementSeed) -> None:
    try:
        if management.address is not None:
            ipaddress.ip_interface(management.address)
        for each in filter(None, (management.gateway, *management.dns)):
            ipaddress.ip_address(each)
    except ValueError as error:
        raise PolicyError(f"{name}: management: {error}") from None
    for server in management.ntp:
        if not re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", server):
            raise PolicyError(f"{name}: management.ntp: {server!r} is no name or address")
