"""The second packet source refuses ports on which bytes would be hidden from it."""

import json
from pathlib import Path

import pytest

from appliance import packet_sources
from appliance.control.protocol import InspectorSettings
from appliance.model.faults import PolicyError

SETTINGS = InspectorSettings(
    socket="s", spool_dir="spool", spool_max_bytes=1, memory_max_bytes=1, source="netfilterqueue",
    queues=1, first_queue=0, fail_open=True, parent_pid=1,
)  # fmt: skip


def policy(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "engine.json"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("refused", "mtu"), [(False, 1500), (False, 4016), (True, 4017), (True, 9000)])
def test_refuses_ports_whose_packets_it_would_cut(
    refused: bool, mtu: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packet_sources, "_port_mtus", lambda: {4: mtu, 5: 65_000})
    source = packet_sources.make_source(None, SETTINGS)  # type: ignore[arg-type]
    path = policy(tmp_path, json.dumps({"format": 1, "ports": [{"tap": "web0", "ifindex": 4, "number": 1}]}))
    if refused:
        with pytest.raises(PolicyError, match=f"web0: its MTU is {mtu}.*set the MTU to 4016 or less"):
            source.check(path)
    else:
        source.check(path)


@pytest.mark.parametrize("text", ["", "[]", '{"ports": 1}', '{"ports": [{"tap": 1}]}'])
def test_unreadable_policy_is_refused(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packet_sources, "_port_mtus", dict)
    with pytest.raises(PolicyError, match=r"engine\.json"):
        packet_sources.NetfilterQueueSource(None, SETTINGS).check(policy(tmp_path, text))  # type: ignore[arg-type]
