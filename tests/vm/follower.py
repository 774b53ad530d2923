"""Who follows the helper and says in an appliance's words that it protects what is listed, when told to."""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from appliance.netns import entered
from manager_api import tls
from tests.host_helper_fixture import certify_helper
from tests.manager_fixture import free_ports
from tests.netns.follow_kit import certify_appliance
from tests.vm.hypervisor import wait_for

NAME, SERVED_AT = "appliance-1", "127.0.0.1"


def let_follow(authority: tls.Authority, folder: Path) -> dict[str, Any]:
    """Leave certificates in the helper's folder; return `listen` of its host.yaml."""
    certify_helper(authority, folder / "state/identity", SERVED_AT)
    certify_appliance(authority, folder / NAME, NAME)
    (port,) = free_ports(1)
    return {"address": SERVED_AT, "port": port, "clients": {NAME: ["guests"]}}


@contextlib.contextmanager
def following(folder: Path, netns: str) -> Iterator["Follower"]:
    """Give a willing follower of the helper in this folder, which runs in the namespace."""
    port = yaml.safe_load((folder / "host.yaml").read_text())["listen"]["port"]
    context = ssl.create_default_context(cafile=str(folder / NAME / "ca.pem"))
    context.load_cert_chain(folder / NAME / "certificate.pem", folder / NAME / "key.pem")
    with entered(netns):
        plain = socket.create_connection((SERVED_AT, port), 60)
    follower = Follower()
    follower.willing.set()
    with context.wrap_socket(plain, server_hostname=SERVED_AT) as door, follower.running(door):
        yield follower


@dataclass(slots=True)
class Follower:
    """Reads the helper's lists; while it is `willing` it answers that each is protected."""

    willing: threading.Event = field(default_factory=threading.Event)
    listing: dict[str, Any] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self, door: ssl.SSLSocket) -> Iterator[None]:
        """Follow until the block ends."""
        door.settimeout(0.1)
        door.sendall(b'{"do": "guests", "follow": true}\n')
        thread = threading.Thread(target=self._follow, args=(door,))
        thread.start()
        try:
            wait_for("the list is said", lambda: self.listing)
            yield
        finally:
            self._over.set()
            thread.join()

    def _follow(self, door: ssl.SSLSocket) -> None:
        heard, told = b"", 0
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                if not (more := door.recv(1 << 20)):  # the helper ended
                    return
                heard += more
            *lines, heard = heard.split(b"\n")
            for line in lines:
                self.listing = json.loads(line)["report"]
            edition = self.listing.get("edition", 0)
            if self.willing.is_set() and edition > told:
                door.sendall(json.dumps({"do": "taken-up", "edition": edition}).encode() + b"\n")
                told = edition
