"""What every namespace test needs: root, and a lab under a name of its own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import lab, steering
from appliance.netns import run_in
from tests.manager_fixture import RunningManager, running_manager
from tests.netns.kit import Bench


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.netns)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root: makes network namespaces"))


@pytest.fixture(scope="module")
def lab_settings(tmp_path_factory: pytest.TempPathFactory) -> lab.LabSettings:
    """A lab's settings under names that no other test run on this machine uses."""
    return lab.LabSettings(
        run_dir=tmp_path_factory.mktemp("lab"), prefix=f"skt-net-{os.getpid()}", download_mib=8
    )


@pytest.fixture(scope="module")
def running_lab(lab_settings: lab.LabSettings) -> Iterator[lab.LabSettings]:
    """A lab that is up, shared by the module's tests."""
    lab.up(lab_settings)
    yield lab_settings
    lab.down(lab_settings)


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    """A manager of the module's own."""
    with running_manager(tmp_path_factory.mktemp("manager")) as running:
        yield running


@pytest.fixture(scope="module", params=["open", "closed"])
def failure(request: pytest.FixtureRequest) -> str:
    """Either setting of a failure policy."""
    return str(request.param)


@pytest.fixture
def bench(running_lab: lab.LabSettings) -> Iterator[Bench]:
    """The lab's bridge with no ruleset yet; whatever the test loads is removed after it."""
    bench = Bench.of(running_lab)
    bench.forget_macs()
    yield bench
    steering.teardown(bench.netns)
    run_in(bench.netns, ["conntrack", "-F"])
