"""A helper that is hostile, slow or gone. It speaks real TLS; what the real helper says is tests/netns'."""

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from host_helper.identity import keep, signing_request
from host_helper.server import tls_context
from manager_api import tls
from manager_api.hosts import link
from manager_api.hosts.answers import MAX_LINE_BYTES, Nonsense, Request
from manager_api.hosts.dialling import Unreached
from manager_api.hosts.link import HostAddress, Link
from manager_api.settings import Settings
from tests.manager_fixture import ROOT, csr_for, private_pem

UUID = "00000001-1111-4222-8333-123456789abc"
GUEST = {"uuid": UUID, "name": "shop", "known_as": "shop", "running": True, "protected": False}
LIST = json.dumps({"ok": True, "report": {"guests": [GUEST]}}).encode() + b"\n"
Says = Callable[[dict[str, Any], asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = Settings(tmp_path_factory.mktemp("manager"))
    tls.ensure_client_certificate(made, tls.open_authority(made))
    return made


@pytest.fixture(scope="module")
def identity(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The helper's, with a certificate for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("helper")
    authority = tls.open_authority(settings)
    signed = authority.sign_host(signing_request(folder, ["127.0.0.1"]), ["127.0.0.1"])
    keep(folder, signed.public_bytes(Encoding.PEM), authority.pem.encode())
    return folder


def with_helper(
    identity: Path, settings: Settings, says: Says, test: Callable[[Link], Coroutine[Any, Any, None]]
) -> None:
    """Run the test with a link to a helper that answers each connection's request as `says` does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await says(json.loads(await reader.readline()), writer)
            await writer.drain()
        finally:
            writer.close()

    async def run() -> None:
        async with (
            await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls_context(identity)) as server,
            asyncio.timeout(30),
        ):
            port = server.sockets[0].getsockname()[1]
            following = Link("kvm1", HostAddress("127.0.0.1", port), lambda: tls.helper_context(settings))
            task = asyncio.create_task(following.run())
            try:
                await test(following)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


async def until(holds: Callable[[], object]) -> None:
    while not holds():
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"what?\n", "no answer"),
        (b'{"ok": true, "report": {"guests": "all"}}\n', "no answer"),
        (b'{"ok": false, "error": "certificate x may not ask"}\n', "may not ask"),
        (b"x" * (MAX_LINE_BYTES + 10), "more than"),
        (b"", "closed the connection"),
    ],
)
def test_a_helper_that_turns_bad_keeps_its_last_list_and_the_reason(
    settings: Settings, identity: Path, said: bytes, why: str
) -> None:
    async def says(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if request["do"] == "guests":
            writer.write(LIST + said)

    async def test(following: Link) -> None:
        await until(lambda: why in (following.state.trouble or ""))
        assert following.state.listing is not None and following.state.listing.guests[0].name == "shop"

    with_helper(identity, settings, says, test)


def test_a_helper_that_lost_its_hypervisor_is_not_one_without_guests(
    settings: Settings, identity: Path
) -> None:
    async def says(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        lost = {"ok": True, "report": {"guests": [], "trouble": "libvirt is gone"}}
        writer.write(LIST + json.dumps(lost).encode() + b"\n")
        await writer.drain()
        await asyncio.sleep(30)

    async def test(following: Link) -> None:
        await until(lambda: "libvirt is gone" in (following.state.trouble or ""))
        assert following.state.listing is not None and len(following.state.listing.guests) == 1

    with_helper(identity, settings, says, test)


def test_a_silent_helper_is_given_up(
    settings: Settings, identity: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "SILENCE_S", 0.2)
    monkeypatch.setattr(link, "ANSWER_S", 0.2)

    async def says(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if request["do"] == "guests":
            writer.write(LIST)
            await writer.drain()
        await asyncio.sleep(30)

    async def test(following: Link) -> None:
        await until(lambda: following.state.trouble == "it does not answer")
        with pytest.raises(Unreached, match="does not answer"):
            await following.ask(Request(do="protect", guest="shop"))

    with_helper(identity, settings, says, test)


def test_an_answer_that_is_none_is_no_success(settings: Settings, identity: Path) -> None:
    async def says(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"ok": true, "report": {"done": 7}}\n')

    async def test(following: Link) -> None:
        with pytest.raises(Nonsense):
            await following.ask(Request(do="protect", guest="shop"))

    with_helper(identity, settings, says, test)


def test_a_host_with_another_hosts_certificate_is_not_believed(settings: Settings, tmp_path: Path) -> None:
    authority = tls.open_authority(settings)
    signed = authority.sign_host(signing_request(tmp_path, ["192.0.2.9"]), ["192.0.2.9"])
    keep(tmp_path, signed.public_bytes(Encoding.PEM), authority.pem.encode())

    async def says(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(LIST)

    async def test(following: Link) -> None:
        await until(lambda: "certificate is not for this address" in (following.state.trouble or ""))
        assert following.state.listing is None

    with_helper(tmp_path, settings, says, test)


def test_no_certificate_but_the_managers_own_bears_its_name(settings: Settings) -> None:
    authority = tls.open_authority(settings)
    key = ec.generate_private_key(ec.SECP256R1())
    asked = csr_for(key, tls.MANAGER_NAME)
    for signed in (authority.sign_appliance(asked, "0b6f6a2e"), authority.sign_host(asked, ["kvm1"])):
        assert tls.MANAGER_NAME not in signed.subject.rfc4514_string()


def test_the_managers_server_certificate_opens_no_helper(
    settings: Settings, identity: Path, tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    signed = tls.open_authority(settings).sign_server(key, ["127.0.0.1"])
    (tmp_path / "server.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    (tmp_path / "server.key").write_bytes(private_pem(key))
    context = ssl.create_default_context(cafile=str(settings.ca_certificate))
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")

    async def says(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(LIST)

    async def test(following: Link) -> None:
        stolen = Link("kvm1", following.at, lambda: context)
        with pytest.raises(Unreached):
            await stolen.ask(Request(do="protect", guest="shop"))

    with_helper(identity, settings, says, test)


def test_a_flood_of_events_costs_little_and_leaves_the_last_ones(settings: Settings, identity: Path) -> None:
    async def says(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if request["do"] == "guests":
            writer.write(LIST)
            await writer.drain()
            await asyncio.sleep(30)
        for number in range(10_000):
            report = {"number": number, "time": "2026-11-30T00:00:00Z", "what": "started"}
            writer.write(json.dumps({"ok": True, "report": report}).encode() + b"\n")
            await writer.drain()

    async def test(following: Link) -> None:
        await until(lambda: following.state.events)
        before = len(following.state.events)
        await asyncio.sleep(2)
        assert len(following.state.events) - before <= 2 / link.EVENTS_REST_S * link.EVENTS_AT_ONCE + 100

    with_helper(identity, settings, says, test)


def test_an_event_that_cannot_be_read_hides_none_behind_it(settings: Settings, identity: Path) -> None:
    async def says(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if request["do"] == "events":
            for date in ("yesterday", "2026-11-30T00:00:00", "2026-11-30T00:00:00Z"):
                report = {"number": 1, "time": date, "what": "started"}
                writer.write(json.dumps({"ok": True, "report": report}).encode() + b"\n")
        await writer.drain()
        await asyncio.sleep(30)

    async def test(following: Link) -> None:
        await until(lambda: len(following.state.events) == 1)

    with_helper(identity, settings, says, test)


def test_a_helper_that_hears_no_goodbye_holds_no_connection(settings: Settings, identity: Path) -> None:
    async def says(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(LIST + b"what?\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await writer.drain()
        await asyncio.sleep(30)

    async def test(following: Link) -> None:
        fds = Path("/proc/self/fd")
        before = len(list(fds.iterdir()))  # other tests of this process hold some
        await until(lambda: "no answer" in (following.state.trouble or ""))
        await asyncio.sleep(3)  # dialled again at 0.2, 0.6, 1.4 and 3 s
        listeners = [each for each in asyncio.all_tasks() if "_hear_events" in repr(each)]
        assert len(listeners) <= 1 and len(list(fds.iterdir())) < before + 20

    with_helper(identity, settings, says, test)


def test_the_manager_ends_at_once_while_a_name_server_is_silent(tmp_path: Path) -> None:
    """Names are asked for in threads that nobody waits for; here by a program whose resolver sleeps."""
    code = (
        "import asyncio, socket, time\n"
        "from manager_api.hosts import dialling\n"
        "socket.getaddrinfo = lambda *a, **k: time.sleep(30)\n"
        "async def main():\n"
        "    asyncio.create_task(dialling._addresses_of('kvm1.invalid', 9))\n"
        "    await asyncio.sleep(0.2)\n"
        "    print(await asyncio.to_thread(lambda: 'others go on'))\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=15, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "others go on\n"), done.stderr
