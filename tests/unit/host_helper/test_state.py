"""Who guests are, over renames and restarts of the helper."""

import stat
from pathlib import Path

import pytest

from appliance.model.faults import SystemFault
from host_helper.state import Protected, State


def test_a_guest_keeps_the_name_it_was_first_seen_with(tmp_path: Path) -> None:
    state = State(tmp_path / "state.json")
    assert state.name_of("u-1", "web") == "web"
    assert state.name_of("u-1", "shop") == "web"
    state.save()
    assert State(tmp_path / "state.json").name_of("u-1", "whatever") == "web"


def test_another_guest_of_a_taken_name_does_not_inherit_it(tmp_path: Path) -> None:
    state = State(tmp_path / "state.json")
    state.name_of("6c3f0001-0000", "web")
    assert state.name_of("6c3f0002-0000", "web") == "web@6c3f0002-0000"


def test_what_is_protected_is_kept_by_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    state = State(path)
    state.protected["u-1"] = Protected(persistent=True, home={"52:54:00:aa:00:01": "br0"})
    state.save()
    assert State(path).home("u-1", "52:54:00:aa:00:01") == "br0"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_refuses_a_damaged_file_instead_of_forgetting_who_is_protected(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"protected": {')
    with pytest.raises(SystemFault, match=r"state\.json"):
        State(tmp_path / "state.json")
