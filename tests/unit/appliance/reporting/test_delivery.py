"""Delivery against a real manager: every event once, by counting, over its stops and our deaths."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.config import ManagerConfig
from appliance.reporting.client import ManagerClient
from appliance.reporting.delivery import Delivery
from appliance.reporting.enrolment import enrol
from appliance.reporting.identity import Identity
from appliance.reporting.spool import Batch, SpoolReader
from tests.manager_fixture import RunningManager, running_manager

EPOCH = "7e0e2f1c-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    with running_manager(tmp_path_factory.mktemp("manager")) as running:
        yield running


@pytest.fixture
def identity(manager: RunningManager, tmp_path: Path, request: pytest.FixtureRequest) -> Identity:
    token = manager.operator.post("/tokens", json={"for_s": 60}).json()["token"]
    name = request.node.name[:60].replace("[", "-").replace("]", "")
    config = ManagerConfig(url=manager.url, ca_fingerprint=manager.fingerprint, token=token, name=name)
    return asyncio.run(enrol(config, tmp_path / "identity"))


def write_spool(root: Path, count: int, lane: str = "inspector-2") -> None:
    (root / lane).mkdir(parents=True, exist_ok=True)
    (root / "epoch").write_text(EPOCH)
    for number in range(count):
        event = {"timestamp": "2026-01-01T00:00:00.000000+0000", "event_type": "alert", "flow_id": number}
        with (root / lane / f"{number - number % 100:020d}.eve").open("a") as file:
            file.write(json.dumps(event) + "\n")


def flow_ids(manager: RunningManager, appliance: str) -> list[int]:
    """Return the stored events' flow_ids, in order, read page by page."""
    ids: list[int] = []
    parameters: dict[str, str | int] = {"appliance": appliance, "limit": 1000}
    while True:
        page = manager.operator.get("/events", params=parameters).raise_for_status().json()
        ids += [event["eve"]["flow_id"] for event in page["events"]]
        if not page.get("next"):
            return sorted(ids)
        parameters["cursor"] = page["next"]


def unexpected(*lost: object) -> None:
    raise AssertionError(lost)


async def until_delivered(delivery: Delivery, count: int) -> None:
    async with asyncio.timeout(60):
        while delivery.delivered < count:
            await asyncio.sleep(0.05)


def test_every_event_arrives_once(manager: RunningManager, identity: Identity, tmp_path: Path) -> None:
    write_spool(tmp_path / "spool", 1234)

    async def scenario() -> None:
        delivery = Delivery(SpoolReader(tmp_path / "spool"), ManagerClient.of(identity), unexpected)
        while await delivery.step():
            pass
        assert delivery.delivered == 1234
        await delivery.client.close()

    asyncio.run(scenario())
    assert flow_ids(manager, identity.appliance_id) == list(range(1234))


def test_dying_before_the_cursor_moved_doubles_nothing(
    manager: RunningManager, identity: Identity, tmp_path: Path
) -> None:
    write_spool(tmp_path / "spool", 300)

    async def scenario() -> None:
        client = ManagerClient.of(identity)
        for _ in range(2):  # as if killed twice after the manager had stored the batch
            batch = SpoolReader(tmp_path / "spool").next()
            assert isinstance(batch, Batch)
            await client.post_events(batch)
        delivery = Delivery(SpoolReader(tmp_path / "spool"), client, unexpected)
        while await delivery.step():
            pass
        await client.close()

    asyncio.run(scenario())
    assert flow_ids(manager, identity.appliance_id) == list(range(300))


def test_a_disk_that_takes_no_note_delays_nothing_and_doubles_nothing(
    manager: RunningManager, identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.reporting.delivery.DISK_AGAIN_S", 0.01)
    spool = tmp_path / "spool"
    write_spool(spool, 300)
    reader = SpoolReader(spool)
    # In its place nothing can be written, as on a full disk.
    in_the_way = reader._cursor_path.with_name(f".{reader._cursor_path.name}.new")
    in_the_way.mkdir()

    async def scenario() -> None:
        delivery = Delivery(reader, ManagerClient.of(identity), unexpected)
        delivering = asyncio.create_task(delivery.run())
        await until_delivered(delivery, 300)
        in_the_way.rmdir()
        write_spool(spool, 10, "inspector-3")
        await until_delivered(delivery, 310)
        async with asyncio.timeout(60):
            while SpoolReader(spool).next() is not None:
                await asyncio.sleep(0.05)
        delivering.cancel()
        await delivery.client.close()

    asyncio.run(scenario())
    assert flow_ids(manager, identity.appliance_id) == sorted([*range(300), *range(10)])


def test_manager_stopped_for_a_while_loses_and_doubles_nothing(
    manager: RunningManager, identity: Identity, tmp_path: Path
) -> None:
    root = tmp_path / "spool"
    write_spool(root, 250)

    async def scenario() -> None:
        delivery = Delivery(SpoolReader(root), ManagerClient.of(identity), unexpected)
        task = asyncio.create_task(delivery.run())
        await until_delivered(delivery, 250)
        await asyncio.to_thread(manager.stop)
        with (root / "inspector-2" / f"{200:020d}.eve").open("a") as file:
            for number in range(250, 400):
                file.write(json.dumps({"event_type": "alert", "flow_id": number}) + "\n")
        async with asyncio.timeout(30):
            while delivery.error is None:
                await asyncio.sleep(0.05)
        await asyncio.to_thread(manager.restart)
        await until_delivered(delivery, 400)
        task.cancel()
        await delivery.client.close()

    asyncio.run(scenario())
    assert flow_ids(manager, identity.appliance_id) == list(range(400))
