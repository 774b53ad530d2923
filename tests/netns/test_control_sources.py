"""Both packet sources do the same through the same appliance."""

from collections.abc import Iterator

import pytest

from appliance import lab
from appliance.lab.wire import Outcome
from tests.manager_fixture import RunningManager
from tests.netns.control_fixture import Appliance, appliance_in, wait_for

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

RULES = 'alert http any any -> any any (msg:"evil"; http.uri; content:"evil"; sid:1; rev:1;)\n'
SOURCES = ["native", "netfilterqueue"]


@pytest.fixture(scope="module", params=SOURCES)
def appliance(
    request: pytest.FixtureRequest,
    manager: RunningManager,
    running_lab: lab.LabSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Appliance]:
    if request.param == "netfilterqueue":
        pytest.importorskip("netfilterqueue", reason="the NetfilterQueue package is not installed")
    directory = tmp_path_factory.mktemp(request.param)
    source = {"source": request.param, "queues": 2, "first_queue": 10}
    with appliance_in(directory, running_lab, manager, inspector=source) as made:
        made.start()
        made.in_step()
        made.push(RULES)
        yield made


@pytest.mark.parametrize("ip_version", [4, 6])
def test_exploit_is_stopped_and_the_rest_passes(appliance: Appliance, ip_version: int) -> None:
    appliance.assign("prevent")
    kinds = {"evil": False, "fine": True}
    for word, passes in kinds.items():
        assert (appliance.send(f"/{word}", ip_version=ip_version) is Outcome.ANSWERED) is passes


def test_signature_over_two_segments_is_stopped(appliance: Appliance) -> None:
    appliance.assign("prevent")
    assert appliance.send("/evil", segments=(6, 1)) is not Outcome.ANSWERED
    assert appliance.send("/e-vil", segments=(6, 1)) is Outcome.ANSWERED


def test_detect_lets_it_pass_and_tells(appliance: Appliance, manager: RunningManager) -> None:
    appliance.assign("detect")
    assert appliance.send(f"/evil?{appliance.directory.name}") is Outcome.ANSWERED

    def told() -> bool:
        events = manager.operator.get("/events", params={"sid": 1, "limit": 1000}).json()["events"]
        return any(appliance.directory.name in e["eve"].get("http", {}).get("url", "") for e in events)

    wait_for("the alert", told)


def test_many_connections_use_every_queue(appliance: Appliance) -> None:
    appliance.assign("prevent")
    outcomes = [appliance.send("/fine") for _ in range(24)]
    assert set(outcomes) == {Outcome.ANSWERED}


def test_ports_with_jumbo_frames_are_refused_only_where_bytes_would_be_hidden(appliance: Appliance) -> None:
    if appliance.extra["inspector"]["source"] != "netfilterqueue":
        pytest.skip("the native source copies whole packets, so it takes any MTU")
    from pyroute2 import NetNS, netns

    assert appliance.settings.bridge_netns in netns.listnetns()
    with NetNS(appliance.settings.bridge_netns) as links:
        (tap,) = links.link_lookup(ifname=lab.WEB.tap)
        links.link("set", index=tap, mtu=9000)
        try:
            refused = wait_for("the refusal", lambda: appliance.status().get("error"))
            assert "web0: its MTU is 9000" in refused
        finally:
            links.link("set", index=tap, mtu=1500)
    appliance.assign("off")
    appliance.assign("prevent")
    assert appliance.send("/evil") is not Outcome.ANSWERED
