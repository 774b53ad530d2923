"""Odd requests to a real nginx: what it understood decides, offline and behind the inspector."""

import contextlib
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance import lab
from appliance.lab.settings import CLIENT, WEB, LabSettings
from appliance.lab.wire import connect
from appliance.netns import command_in
from tests.netns.control_fixture import Appliance, wait_for
from tests.netns.evasion.requests import REQUESTS, Request
from tests.netns.evasion.rig import EXPLOIT, HARMLESS, Wire, wire, write_capture
from tests.netns.evasion.test_replayed import alerts_in, inspect

PORT, BEHIND_PORT = 7080, 7081
ANSWER_S = 1.0
ARRIVAL_S = 3.0
CONFIG = """\
daemon off;
master_process off;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{ }}
http {{
    log_format understood escape=none
        '$connection_requests $remote_port $status|$uri|$args|$http_x_probe|$request_body';
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{
        listen {port};
        access_log {home}/access.log understood;
        location / {{ return 200 "fine"; }}
        location /body {{ proxy_pass http://127.0.0.1:{behind}; }}
    }}
    server {{ listen 127.0.0.1:{behind}; access_log off; location / {{ return 200 "fine"; }} }}
}}
"""


@dataclass(slots=True)
class Nginx:
    """nginx in the guest, and what it says that it served."""

    settings: LabSettings
    log: Path

    def ask(self, raw: bytes) -> int:
        """Send the bytes on a connection of their own; return its port when the answers have ended."""
        client = self.settings.guest_netns(CLIENT)
        with contextlib.closing(connect(client, WEB.ipv4, PORT, ANSWER_S)) as connection:
            port: int = connection.getsockname()[1]
            with contextlib.suppress(OSError):
                connection.sendall(raw)
                connection.settimeout(0.08)
                while connection.recv(65536):
                    pass
            return port

    def served(self, port: int, mark: bytes) -> bool:
        """Whether a request of the connection was served with the mark in it."""
        lines = self.log.read_bytes().split(b"\n") if self.log.exists() else []
        parts = [line.split(b"|", 1) for line in lines if b"|" in line]
        mine = [(head.split(), rest) for head, rest in parts if head.split()[1] == b"%d" % port]
        return any(mark in rest and head[2] != b"400" for head, rest in mine)


@contextlib.contextmanager
def nginx_in(settings: LabSettings, home: Path) -> Iterator[Nginx]:
    config = home / "nginx.conf"
    config.write_text(CONFIG.format(home=home, port=PORT, behind=BEHIND_PORT))
    command = ["nginx", "-e", str(home / "error.log"), "-c", str(config)]
    process = subprocess.Popen(command_in(settings.guest_netns(WEB), command))
    made = Nginx(settings, home / "access.log")

    def is_up() -> bool:
        with contextlib.suppress(OSError):
            connect(settings.guest_netns(CLIENT), WEB.ipv4, PORT, ANSWER_S).close()
            return True
        return False

    try:
        wait_for("nginx", is_up, 10)
        yield made
    finally:
        process.terminate()
        process.wait(10)


@dataclass(frozen=True, slots=True)
class Uninspected:
    """understood: by nginx. seen: the sids that fired offline; seen_inline: with `--ips`."""

    understood: bool
    seen: set[int]
    seen_inline: set[int]


@pytest.fixture(scope="module")
def nginx(running_lab: lab.LabSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with nginx_in(running_lab, tmp_path_factory.mktemp("nginx")) as running:
        yield running


@pytest.fixture(scope="module")
def uninspected(nginx: Nginx, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Uninspected]:
    """Send all of them and capture each; then inspect the captures."""
    directory = tmp_path_factory.mktemp("captures")
    ports: dict[str, int] = {}
    captures: dict[str, Path] = {}
    with wire(nginx.settings) as attacker:
        for request in REQUESTS:
            captures[request.name] = directory / f"{len(captures)}.pcap"
            ports[request.name] = captured(attacker, nginx, request, captures[request.name])
    offline, inline = (inspect(directory, list(captures.values()), ips=ips) for ips in (False, True))
    return {
        name: Uninspected(nginx.served(ports[name], EXPLOIT), alerts_in(offline[at]), alerts_in(inline[at]))
        for name, at in captures.items()
    }


def captured(attacker: Wire, nginx: Nginx, request: Request, capture: Path) -> int:
    since = len(attacker.frames)
    port = nginx.ask(request.bytes_with(EXPLOIT))
    attacker.settle()
    write_capture(capture, attacker.frames[since:])
    return port


@pytest.fixture(scope="module")
def inspected(
    uninspected: Mapping[str, Uninspected], appliance: Appliance, nginx: Nginx
) -> dict[tuple[str, bytes], int]:
    """Send all of them through the inspector, once harmless and once not; return their ports."""
    return {
        (request.name, mark): nginx.ask(request.bytes_with(mark))
        for request in REQUESTS
        for mark in (HARMLESS, EXPLOIT)
    }


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda it: it.name)
def test_nginx_understands_what_the_table_says(
    uninspected: Mapping[str, Uninspected], request_: Request
) -> None:
    assert uninspected[request_.name].understood == request_.understood


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda it: it.name)
def test_an_alert_is_raised_for_what_nginx_understood(
    uninspected: Mapping[str, Uninspected], request_: Request
) -> None:
    outcome = uninspected[request_.name]
    assert not outcome.understood or (outcome.seen and outcome.seen_inline)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda it: it.name)
def test_the_exploit_is_not_served_and_the_harmless_request_is(
    inspected: Mapping[tuple[str, bytes], int], nginx: Nginx, request_: Request
) -> None:
    if request_.understood:
        port = inspected[request_.name, HARMLESS]
        deadline = time.monotonic() + ARRIVAL_S
        while not nginx.served(port, HARMLESS):
            assert time.monotonic() < deadline, "the harmless request did not arrive"
            time.sleep(0.05)
    assert not nginx.served(inspected[request_.name, EXPLOIT], EXPLOIT)
