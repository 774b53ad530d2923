"""Topology host: what is written into the appliance's guests.yaml before the hypervisor was heard.

The tap that is there is `lo`, which every machine has.
"""

from pathlib import Path

import pytest
import yaml

from appliance.hypervisor import load_guests
from appliance.model.faults import SystemFault
from host_helper import inline
from host_helper.config import HostConfig, HostSegment
from host_helper.inline import Host
from host_helper.model import HostGuest, HostVnic
from host_helper.state import Protected, State

UUIDS = {name: f"00000000-0000-4000-8000-00000000000{number}" for number, name in enumerate("ab")}
MACS = {name: f"52:54:00:00:00:0{number}" for number, name in enumerate("ab")}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A helper that starts: a guest a, whose tap is there, and b, whose tap is not, stand in the file."""
    monkeypatch.setattr(inline, "APPLIED_S", 0.0)
    guests = [
        {"name": name, "segment": "vms", "vnics": [{"name": "net0", "tap": tap, "mac": MACS[name]}]}
        for name, tap in (("a", "lo"), ("b", "vnet77"))
    ]
    path = tmp_path / "guests.yaml"
    path.write_text(yaml.safe_dump({"segments": [{"name": "vms", "bridge": "br0"}], "guests": guests}))
    state = State(tmp_path / "state.json")
    for name, uuid in UUIDS.items():
        state.name_of(uuid, name)
        state.protected[uuid] = Protected(persistent=False, home={MACS[name]: "br0"})
    return Host(HostConfig(guests_file=str(path), segments=(HostSegment(name="vms", bridge="br0"),)), state)


def written(host: Host) -> dict[str, str]:
    guests = load_guests(Path(host._config.guests_file)).guests
    return {guest.name: vnic.tap for guest in guests for vnic in guest.vnics}


def test_a_guest_whose_tap_is_there_stays_and_one_whose_tap_went_does_not(host: Host) -> None:
    host.prepare()
    assert written(host) == {"a": "lo"}


def test_a_tap_is_whose_guest_starts_with_it_not_whose_it_was_before_the_host_was_rebooted(
    host: Host,
) -> None:
    vnic = HostVnic(mac=MACS["b"], kind="bridge", bridge="br0", tap="lo")
    with pytest.raises(SystemFault):  # there is no appliance here that would take it up
        host.starting(HostGuest(uuid=UUIDS["b"], name="b", running=True, vnics=(vnic,)))
    assert written(host) == {"b": "lo"}


def test_a_damaged_file_is_written_anew(host: Host) -> None:
    Path(host._config.guests_file).write_text("guests: [{")
    host.prepare()
    assert written(host) == {}
