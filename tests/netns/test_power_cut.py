"""The power fails in a policy change: the last good policy is back before guests have a network."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from pyroute2 import NetNS

from appliance import lab, steering
from appliance.model.policy import PolicyDocument
from appliance.reporting.client import SignedPolicy
from tests.manager_fixture import RunningManager
from tests.netns.control_fixture import (
    RULES,
    WAIT_S,
    Appliance,
    appliance_in,
    failure_policy,
    ordinary_policy,
    wait_for,
)
from tests.netns.cut_short import PAST, STEPS
from tests.netns.load import Load

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)


@pytest.fixture(scope="module")
def appliance(
    failure: str,
    manager: RunningManager,
    running_lab: lab.LabSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Appliance]:
    """One that has a policy and is not running."""
    with (
        failure_policy(running_lab, inspector_down=failure),
        appliance_in(tmp_path_factory.mktemp(failure), running_lab, manager) as made,
    ):
        made.start()
        made.in_step()
        ordinary_policy(made)
        made.end()
        yield made


@pytest.mark.parametrize("failure", ["open"], indirect=True, scope="module")
@pytest.mark.parametrize("step", STEPS)
def test_last_good_policy_is_back_before_guests_have_a_network(appliance: Appliance, step: str) -> None:
    cut_at(appliance, step)


# What is on the disk does not depend on the failure policy, and `open` would let attacks pass at boot: so one
# cut before and one past the change of the last good policy.
@pytest.mark.parametrize("failure", ["closed"], indirect=True, scope="module")
@pytest.mark.parametrize("step", ["switch", *PAST])
def test_it_is_so_where_the_failure_policy_is_closed_too(appliance: Appliance, step: str) -> None:
    cut_at(appliance, step)


def cut_at(appliance: Appliance, step: str) -> None:
    """Cut the power at the step of a policy change, and see what protects after the next boot."""
    trigger = appliance.directory / "cut"
    appliance.start("-m", "tests.netns.cut_short", step, str(trigger))
    before = appliance.in_step()
    trigger.touch()
    appliance.push(RULES + f"# changed for {step}\n")
    assert appliance.process is not None
    assert appliance.process.wait(WAIT_S) == -9
    trigger.unlink()
    current = document_on_disk(appliance).version
    assert current > before if step in PAST else current == before
    attacks = Attacks(appliance)
    with no_network(appliance.settings), ready_socket(appliance) as (ready, address):
        attacks.start()
        steering.teardown(appliance.settings.bridge_netns)
        appliance.start(NOTIFY_SOCKET=str(address))
        while ready.recv(64) != b"READY=1":
            pass  # The loop that says that it lives may turn first.
        before_network = attacks.done
    wait_for("an attack on the network that is up", lambda: attacks.done > before_network + 1)
    assert appliance.send("/fine") is lab.Outcome.ANSWERED
    attacks.end()
    assert attacks.error is None
    assert not [each for each in lab.records(appliance.settings) if b"/evil" in each.request]
    assert appliance.in_step() > before
    appliance.end()


def document_on_disk(appliance: Appliance) -> PolicyDocument:
    path = appliance.state / "live/current/policy.json"
    signed = msgspec.json.decode(path.read_bytes(), type=SignedPolicy)
    return msgspec.json.decode(signed.document, type=PolicyDocument)


@contextlib.contextmanager
def no_network(settings: lab.LabSettings) -> Iterator[None]:
    """Keep the bridge down, as a machine has it that has not come up yet."""
    with NetNS(settings.bridge_netns, flags=0) as handle:
        (bridge,) = handle.link_lookup(ifname=settings.bridge)
        handle.link("set", index=bridge, state="down")
        yield
        handle.link("set", index=bridge, state="up")


class Attacks(Load):
    """One attack after the other, whatever becomes of them."""

    def __init__(self, appliance: Appliance) -> None:
        super().__init__(appliance.settings)
        self.appliance = appliance

    def step(self) -> None:
        self.appliance.send(f"/evil?{self.done}")


@contextlib.contextmanager
def ready_socket(appliance: Appliance) -> Iterator[tuple[socket.socket, Path]]:
    """Listen as a service manager does."""
    path = appliance.directory / "notify"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(WAIT_S)
        yield listener, path
