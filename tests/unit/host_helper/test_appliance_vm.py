"""Who the appliance is, over renames and exchanges."""

from pathlib import Path

import pytest

from host_helper.appliance_vm import ApplianceVm
from host_helper.model import HostGuest
from host_helper.state import State


def guest(uuid: str, name: str) -> HostGuest:
    return HostGuest(uuid, name, running=False, vnics=())


OURS, WEB = guest("u-1", "sekisho"), guest("u-2", "web")
RENAMED = guest(OURS.uuid, "gate")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def test_one_that_is_renamed_is_it_also_for_a_helper_that_starts_later(path: Path) -> None:
    vm = ApplianceVm("sekisho", State(path))
    assert vm.among([WEB, OURS]) == OURS
    for each in (vm, ApplianceVm("sekisho", State(path))):
        assert each.is_it(RENAMED) and not each.is_it(WEB)
        assert each.among([WEB, RENAMED]) == RENAMED


def test_one_that_was_exchanged_for_another_of_its_name_is_not_it_any_more(path: Path) -> None:
    vm, new = ApplianceVm("sekisho", State(path)), guest("u-3", "sekisho")
    vm.among([OURS])
    assert vm.among([RENAMED, new]) == new
    assert not vm.is_it(RENAMED)


def test_one_that_is_named_by_its_uuid_may_be_called_anything(path: Path) -> None:
    vm = ApplianceVm(OURS.uuid, State(path))
    assert vm.among([WEB, RENAMED]) == RENAMED and vm.is_it(OURS)


def test_a_configuration_that_names_another_one_forgets_the_former(path: Path) -> None:
    ApplianceVm("sekisho", State(path)).among([OURS])
    other = ApplianceVm("web", State(path))
    assert other.among([WEB, OURS]) == WEB
    assert not other.is_it(OURS)
