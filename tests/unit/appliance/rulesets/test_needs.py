"""What control learns from the engine about a policy's signatures."""

from pathlib import Path
from typing import Any

import pytest

from appliance.model.faults import PolicyError
from appliance.model.needs import NOTHING, Ends
from appliance.rulesets import NeedsReader

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

RULES = """\
alert tcp $EXTERNAL_NET any -> $HOME_NET 9000 (flow:established,to_server; content:"evil"; sid:1;)
alert tcp $EXTERNAL_NET any -> $HOME_NET 9001 (flow:established,to_server; flags:A; sid:2;)
"""


def engine_policy(**sids: list[int] | None) -> dict[str, Any]:
    """A guest a keyword, each with some signatures."""
    return {
        "format": 1,
        "version": 1,
        "generation": 1,
        "rule_sets": [{"name": "a", "files": ["files/a.rules"]}],
        "ports": [],
        "guests": [
            {
                "name": name,
                "segment": "lab",
                "assignments": [{"rule_set": "a", "mode": "detect", "sids": chosen}],
            }
            for name, chosen in sids.items()
        ],
        "segments": [{"name": "lab"}],
    }


@pytest.fixture
def reader(tmp_path: Path) -> NeedsReader:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/a.rules").write_text(RULES)
    return NeedsReader(tmp_path)


def test_each_guest_is_looked_at_for_its_own_signatures(reader: NeedsReader) -> None:
    needs = reader.read(engine_policy(web=[1], mail=[1, 2], none=[]))
    assert needs["web"].tcp.to_server.server == Ends(own=((9000, 9000),))
    assert needs["web"].tcp.to_client == NOTHING.tcp.to_client
    assert needs["web"].empty == NOTHING.empty
    assert needs["mail"].tcp.to_server.server == Ends(own=((9000, 9001),))
    assert needs["mail"].empty.to_server.server == Ends(own=((9001, 9001),))
    assert needs["none"] == NOTHING


def test_they_are_read_anew_when_what_they_follow_from_has_changed(
    reader: NeedsReader, tmp_path: Path
) -> None:
    first = reader.read(engine_policy(web=[1]))
    (tmp_path / "files/a.rules").write_text(
        ""
    )  # a rule set's files never change; only another policy is read
    again = engine_policy(web=[1]) | {
        "generation": 2,
        "ports": [{"tap": "web0", "ifindex": 3, "guest": "web"}],
    }
    assert reader.read(again) is first
    assert reader.read(engine_policy(web=[2]))["web"] == NOTHING


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"files/a\.rules"):
        NeedsReader(tmp_path).read(engine_policy(web=None))
