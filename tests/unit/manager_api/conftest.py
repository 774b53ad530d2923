"""One real manager for the module's tests, over TLS on loopback."""

from collections.abc import Iterator

import pytest

from tests.manager_fixture import EnrolledAppliance, RunningManager, running_manager

DROP = 'drop tcp any any -> any any (msg:"one CVE-2021-44228"; sid:{sid}; rev:1;)'
ALERT = 'alert tcp any any -> any any (msg:"two"; sid:{sid}; rev:1;)'


def rules(*sids: int, template: str = ALERT) -> dict[str, object]:
    """Return the body of a rule set of those sids."""
    text = "".join(template.format(sid=sid) + "\n" for sid in sids)
    return {"files": [{"name": "local.rules", "text": text}]}


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    with running_manager(tmp_path_factory.mktemp("manager")) as running:
        yield running


@pytest.fixture(scope="module")
def appliance(manager: RunningManager) -> EnrolledAppliance:
    """An enrolled appliance named lab that has reported the guests web and client."""
    enrolled = manager.enrol("lab")
    guests = [{"name": name, "segment": "lab", "bytes": 1000} for name in ("web", "client")]
    enrolled.client.put("/status", json={"live_version": 1, "guests": guests}).raise_for_status()
    return enrolled
