"""What a seed makes of the machine, as files: networks, the appliance's configuration, its guests."""

from collections.abc import Iterator, Mapping

import msgspec

from appliance.firstboot.seed import ManagementSeed, Seed, SegmentSeed


class File(msgspec.Struct, frozen=True):
    """A file to write; mode as of chmod."""

    path: str
    text: str
    mode: int = 0o644


def render(seed: Seed, nics: Mapping[str, str]) -> tuple[File, ...]:
    """Return the files for a machine whose NICs are known by MAC and name.

    A NIC that is not there leaves no trace but in `missing`; a guest behind it keeps its place under a name
    that no interface has.
    """
    return tuple(_files(seed, nics))


def missing(seed: Seed | None, nics: Mapping[str, str]) -> tuple[str, ...]:
    """Return in sentences what the appliance lacks to do its work."""
    if seed is None:
        return ("there is no seed: attach a disk labelled cidata with a file user-data on it",)
    return tuple(_missing(seed, nics))


def _missing(seed: Seed, nics: Mapping[str, str]) -> Iterator[str]:
    if seed.manager is None:
        yield "sekisho.manager: without url, ca_fingerprint and token nobody gives this appliance a policy"
    elif seed.manager.token is None:
        yield "sekisho.manager.token: needed to enrol, of no more use later"
    if seed.management is None:
        yield "sekisho.management: without a nic the manager cannot be reached"
    elif seed.management.nic not in nics:
        yield f"sekisho.management: this machine has no NIC {seed.management.nic}"
    if not seed.segments:
        yield "sekisho.segments: no data NICs, so no traffic is led through"
    for segment in seed.segments:
        for nic in (*segment.nics, *filter(None, [segment.trunk])):
            if nic not in nics:
                yield f"segment {segment.name}: this machine has no NIC {nic}"
    if not seed.guests and seed.helper is None:
        yield "sekisho.guests: nobody to protect; or name the host helper that knows, sekisho.helper"


def _files(seed: Seed, nics: Mapping[str, str]) -> Iterator[File]:
    yield File("/etc/sekisho/sekisho.yaml", _json(_configuration(seed)), 0o600)
    yield File("/etc/sekisho/guests.yaml", _json(_guests(seed, nics)))
    if seed.manager is not None and seed.manager.token is not None:
        yield File("/etc/sekisho/enrolment.token", seed.manager.token + "\n", 0o600)
    if seed.management is not None:
        yield File("/run/systemd/network/10-management.network", _management(seed.management))
        servers = "".join(f"server {server} iburst\n" for server in seed.management.ntp)
        yield File("/run/sekisho/time/seed.sources", servers)
    if seed.ssh_keys:
        yield File("/root/.ssh/authorized_keys", "\n".join(seed.ssh_keys) + "\n", 0o600)
        yield File("/run/sekisho/ssh", "")


def _configuration(seed: Seed) -> dict[str, object]:
    configuration: dict[str, object] = {"guests": "guests.yaml", "inspector": {"user": "sekisho"}}
    if seed.manager is not None:
        configuration["manager"] = {
            "url": seed.manager.url,
            "ca_fingerprint": seed.manager.ca_fingerprint,
            "name": seed.name,
            "token_file": "enrolment.token",
        }
    if seed.helper is not None:
        configuration["helper"] = {"address": seed.helper.address, "port": seed.helper.port}
    return configuration


def _guests(seed: Seed, nics: Mapping[str, str]) -> dict[str, object]:
    return {
        "segments": [
            {"name": s.name, "bridge": _bridge(s), "zone": number}
            | ({"failure": s.failure} if s.failure else {})
            | ({"trunk": s.trunk} if s.trunk else {})
            | ({"nics": list(s.nics)} if s.nics else {})
            for number, s in enumerate(seed.segments, 1)
        ],
        "guests": [
            {
                "name": g.name,
                "segment": g.segment,
                "vnics": [
                    {
                        "name": "eth0",
                        "tap": nics.get(g.nic, f"no-{g.nic.replace(':', '')}"),
                        "mac": g.mac,
                        "addresses": list(g.addresses),
                    }
                ],
            }
            for g in seed.guests
        ],
    }


def _management(management: ManagementSeed) -> str:
    lines = ["[Match]", f"PermanentMACAddress={management.nic}", "", "[Network]"]
    if management.address is None:
        lines.append("DHCP=yes")
    else:
        lines.append(f"Address={management.address}")
    lines += [f"Gateway={management.gateway}"] if management.gateway else []
    lines += [f"DNS={server}" for server in management.dns]
    return "\n".join([*lines, ""])


def _bridge(segment: SegmentSeed) -> str:
    return f"br-{segment.name}"


def _json(value: object) -> str:
    """JSON is YAML, and needs no quoting of ours."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n"
