"""The order in which control makes policies live; the kernel's part takes as long as a test wants it to."""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from appliance import daemon
from appliance.control.applying import Live
from appliance.daemon import NO_POLICY, Control
from appliance.hypervisor import link_alarm
from appliance.model.faults import SystemFault
from appliance.model.guest import GuestInventory
from appliance.model.links import Links
from appliance.model.policy import PolicyDocument

NO_GUESTS = GuestInventory((), ())
PORTS_BEFORE, PORTS_NOW = Links((), (), ("tap1 is not there",)), Links((), ())


@dataclass(slots=True)
class SlowApplier:
    """Applies once it is let; `looked`: somebody asked for the ports, which are others than before.

    let_pass: those whose segments were opened without rules.
    """

    applied: list[int] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    let: asyncio.Event = field(default_factory=asyncio.Event)
    looked: int = 0
    let_pass: list[GuestInventory] = field(default_factory=list)

    @property
    def network(self) -> Any:
        return SimpleNamespace(links=self._links, link_alarm=link_alarm, let_pass=self.let_pass.append)

    async def apply(self, document: PolicyDocument, *_: Any) -> Live:
        self.begun.set()
        await self.let.wait()
        self.applied.append(document.version)
        return _live(document, PORTS_NOW)

    def _links(self, _: GuestInventory) -> Links:
        self.looked += 1
        return PORTS_NOW


def test_ports_that_come_while_a_policy_is_applied_do_not_bring_the_former_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "WATCH_S", 0.01)

    async def scenario() -> None:
        applier = SlowApplier()
        control: Any = Control(
            config=SimpleNamespace(guests=str(tmp_path / "guests.yaml")),  # type: ignore[arg-type]
            inventory=NO_GUESTS, journal=None, reader=None, applier=applier, run_as=(0, 0),  # type: ignore[arg-type]
            live=_live(NO_POLICY, PORTS_BEFORE),
        )  # fmt: skip
        newer = asyncio.create_task(control._apply(PolicyDocument(version=2), None))
        await applier.begun.wait()
        watch = asyncio.create_task(control._watch())
        while not applier.looked or not control._switch._waiters:
            await asyncio.sleep(0.001)
        applier.let.set()
        await newer
        while len(applier.applied) < 2:
            await asyncio.sleep(0.001)
        watch.cancel()
        assert applier.applied == [2, 2]
        assert control.live.document.version == 2

    asyncio.run(asyncio.wait_for(scenario(), 60.0))


@pytest.mark.parametrize("refused", ["the rules", "the back end"])
def test_the_inspector_comes_up_while_the_rules_do_and_goes_and_who_fails_open_passes_when_they_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    came, went = asyncio.Event(), asyncio.Event()

    async def come(_: Control) -> None:
        came.set()
        try:
            await asyncio.sleep(60.0)
        finally:
            went.set()

    async def boot(_: Control) -> None:
        await asyncio.wait_for(came.wait(), 5.0)
        raise SystemFault("the kernel refuses the rules")

    def choose(_: Any) -> None:
        deadline = time.monotonic() + 5.0
        while not came.is_set():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        raise SystemFault("the kernel refuses the back end")

    monkeypatch.setattr(Control, "_start_inspector", come)
    if refused == "the rules":
        monkeypatch.setattr(Control, "_boot", boot)
    else:
        monkeypatch.setattr(daemon, "_choose_backend", choose)
    control: Any = Control(
        config=SimpleNamespace(state=tmp_path),  # type: ignore[arg-type]
        inventory=NO_GUESTS, journal=None, reader=None, applier=SlowApplier(), run_as=(0, 0),  # type: ignore[arg-type]
    )  # fmt: skip
    with pytest.raises(SystemFault, match=f"refuses {refused}"):
        asyncio.run(control.run(keep_rules=True))
    assert went.is_set()
    assert control.applier.let_pass == [NO_GUESTS]


def _live(document: PolicyDocument, links: Links) -> Live:
    return Live(document, None, NO_GUESTS, links, {}, Path(), 0, tried=True)


@pytest.mark.parametrize("heard", [False, True])
def test_what_changes_in_the_network_ends_the_pause_between_two_dials(heard: bool) -> None:
    async def paused(pause_s: float) -> float:
        control = SimpleNamespace(_network_changed=asyncio.Event())
        if heard:
            asyncio.get_running_loop().call_later(0.01, control._network_changed.set)
        async with asyncio.timeout(10.0):
            return await Control._pause(control, pause_s)  # type: ignore[arg-type]

    assert asyncio.run(paused(600.0 if heard else 0.1)) == (daemon.RETRY_FIRST_S if heard else 0.2)
