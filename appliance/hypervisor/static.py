"""Guests from a file: `guests.yaml`, read strictly."""

import dataclasses
import ipaddress
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from appliance.model.faults import PolicyError
from appliance.model.guest import GuestInventory, Vnic
from appliance.model.links import MAX_PORT_NUMBER

FILE_BYTES = 1024 * 1024
MAX_ZONE = 65535
INTERFACE_NAME = re.compile(r"[A-Za-z0-9_.:@-]{1,15}")
"""The kernel allows more (anything but `/` and blanks); no tool makes such names, and some break on them."""
GUEST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+@ -]{0,99}")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def load_guests(path: Path) -> GuestInventory:
    """Return what the file says. Raises PolicyError naming the file, the place and the reason."""
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise PolicyError(f"{path}: {error.strerror}") from error
    return parse_guests(text, str(path))


def parse_guests(text: bytes, name: str = "guests.yaml") -> GuestInventory:
    """Return what the text says. Raises PolicyError; name is how its messages call the text."""
    if len(text) > FILE_BYTES:
        raise PolicyError(f"{name}: larger than {FILE_BYTES} bytes")
    try:
        document = _read(text)
        _refuse_unknown_keys(document)
        inventory = _canonical(msgspec.convert(document, GuestInventory))
    except (msgspec.ValidationError, ValueError) as error:
        raise PolicyError(f"{name}: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise PolicyError(f"{name}: nested too deeply") from error
    check_guests(inventory, name)
    return inventory


def _read(text: bytes) -> object:
    """Return what the text says: JSON, as programs write it, or YAML, whose reader is imported only then."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except ValueError:
        from appliance.hypervisor import strict_yaml

        return strict_yaml.load(text)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Raises ValueError for a repeated key; the other reader then says where it is."""
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError
    return mapping


def check_guests(inventory: GuestInventory, name: str) -> None:
    """Raise PolicyError when the inventory contradicts itself; name says where it is from."""
    for problem in _problems(inventory):
        raise PolicyError(f"{name}: {problem}")


def render_guests(inventory: GuestInventory) -> str:
    """Return the inventory as the text of a guests.yaml."""
    document = msgspec.to_builtins(inventory)
    del document["unplaced"]
    for guest in document["guests"]:
        for vnic in guest["vnics"]:
            del vnic["announced"]
    import yaml

    return yaml.safe_dump(document, sort_keys=False)


def _refuse_unknown_keys(document: object) -> None:
    """msgspec lets unknown keys of dataclasses pass; a mistyped `adresses` must not."""
    known = {
        "": {"segments", "guests"},
        "segments": {"name", "bridge", "zone", "failure", "trunk", "nics"},
        "segments.failure": {
            "inspector_down", "queue_full", "memory", "malformed", "midstream", "parser_error",
        },
        "guests": {"name", "segment", "vnics"},
        "guests.vnics": {"name", "tap", "mac", "addresses"},
    }  # fmt: skip

    def walk(value: object, place: str, shown: str) -> None:
        if isinstance(value, list):
            for number, entry in enumerate(value):
                walk(entry, place, f"{shown}[{number}]")
        elif isinstance(value, dict) and place in known:
            for key, entry in value.items():
                if key not in known[place]:
                    allowed = ", ".join(sorted(known[place]))
                    raise ValueError(f"unknown key {key!r} at {shown or 'the top'}; known: {allowed}")
                walk(entry, f"{place}.{key}".lstrip("."), f"{shown}.{key}".lstrip("."))

    walk(document, "", "")


def _canonical(inventory: GuestInventory) -> GuestInventory:
    """Return the inventory with MACs in lower case, with colons, and addresses in their short form."""
    guests = [
        msgspec.structs.replace(guest, vnics=tuple(_canonical_vnic(vnic) for vnic in guest.vnics))
        for guest in inventory.guests
    ]
    return msgspec.structs.replace(inventory, guests=tuple(guests))


def _canonical_vnic(vnic: Vnic) -> Vnic:
    addresses = []
    for address in vnic.addresses:
        try:
            addresses.append(str(ipaddress.ip_address(address)))
        except ValueError as error:
            raise ValueError(f"tap {vnic.tap!r}: {address!r} is no IPv4 or IPv6 address") from error
    return dataclasses.replace(vnic, mac=vnic.mac.lower().replace("-", ":"), addresses=tuple(addresses))


def _problems(inventory: GuestInventory) -> Iterator[str]:
    """Yield what is wrong with the inventory, each as one sentence."""
    segments = {segment.name for segment in inventory.segments}
    vnics = [(guest, vnic) for guest in inventory.guests for vnic in guest.vnics]
    yield from _twice("segment", [segment.name for segment in inventory.segments])
    yield from _twice("bridge", [segment.bridge for segment in inventory.segments])
    # two segments in one zone would share connections: one's verdicts would count for the other
    yield from _twice("zone", [segment.zone for segment in inventory.segments])
    yield from _twice("NIC", [nic for segment in inventory.segments for nic in segment.nics])
    yield from _twice("guest", [guest.name for guest in inventory.guests])
    yield from _twice("tap", [vnic.tap for _, vnic in vnics])
    for segment in inventory.segments:
        if not INTERFACE_NAME.fullmatch(segment.bridge):
            yield f"segment {segment.name!r}: {segment.bridge!r} is no interface name"
        if not 1 <= segment.zone <= MAX_ZONE:
            yield f"segment {segment.name!r}: zone {segment.zone} is not between 1 and {MAX_ZONE}"
        if segment.trunk is not None and not MAC.fullmatch(segment.trunk):
            yield f"segment {segment.name!r}: the trunk {segment.trunk!r} is no MAC address in lower case"
        for nic in segment.nics:
            if not MAC.fullmatch(nic):
                yield f"segment {segment.name!r}: the NIC {nic!r} is no MAC address in lower case"
    for guest in inventory.guests:
        if not GUEST_NAME.fullmatch(guest.name):
            yield f"guest {guest.name!r}: a name is 1 to 100 letters, digits, blanks or . _ - : + @"
        if guest.segment not in segments:
            yield f"guest {guest.name!r}: there is no segment {guest.segment!r}"
        if not guest.vnics:
            yield f"guest {guest.name!r}: has no vnics, so nothing of it can be protected"
        yield from _twice(f"guest {guest.name!r}: vnic", [vnic.name for vnic in guest.vnics])
    for guest, vnic in vnics:
        if not INTERFACE_NAME.fullmatch(vnic.tap):
            yield f"guest {guest.name!r}: the tap {vnic.tap!r} is no interface name"
        if not MAC.fullmatch(vnic.mac) or int(vnic.mac[:2], 16) & 1:
            yield f"guest {guest.name!r}: {vnic.mac!r} is no MAC address of one interface"
    if len(vnics) > MAX_PORT_NUMBER:
        yield f"{len(vnics)} vnics: at most {MAX_PORT_NUMBER} fit into the packet mark"


def _twice(kind: str, values: Iterable[object]) -> Iterator[str]:
    seen = set()
    for value in values:
        if value in seen:
            yield f"{kind} {value!r} stands here twice"
        seen.add(value)
