"""What the live evasions share: an appliance that prevents."""

from collections.abc import Iterator

import pytest

from appliance import lab
from tests.manager_fixture import RunningManager
from tests.netns.control_fixture import Appliance, appliance_in
from tests.netns.evasion.rig import RULES


@pytest.fixture(scope="module")
def appliance(
    manager: RunningManager, running_lab: lab.LabSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Appliance]:
    with appliance_in(tmp_path_factory.mktemp("appliance"), running_lab, manager) as made:
        made.start()
        made.in_step()
        made.push(RULES)
        made.assign("prevent")
        yield made
