"""Starts a real manager as its own process, on free ports, in a directory of the test's.

with running_manager(tmp_path) as manager:
    manager.operator.put("/rule-sets/lab", json={"files": [...]})
    appliance = manager.enrol("lab")
    appliance.client.get("/policy")
"""

import importlib.util
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 15.0
ROOT = Path(__file__).resolve().parent.parent


@dataclass(slots=True)
class EnrolledAppliance:
    """An appliance of the test's: `client` speaks to /api/v1/appliance with its certificate."""

    id: str
    name: str
    client: httpx.Client
    policy_key: str
    ca: str
    certificate: Path
    key: Path


@dataclass(slots=True)
class RunningManager:
    """A manager that runs; `operator` and `anyone` speak to /api/v1 with an admin's key and with none."""

    data_dir: Path
    port: int
    appliance_port: int
    fingerprint: str
    password: str | None
    database_url: str | None
    command: list[str]
    process: subprocess.Popen[str]
    key: str = ""
    clients: list[httpx.Client] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The page's address."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def appliance_url(self) -> str:
        """The appliances' address."""
        return f"https://127.0.0.1:{self.appliance_port}"

    @property
    def ca(self) -> Path:
        """The certificate authority's certificate."""
        return self.data_dir / "ca.pem"

    @property
    def operator(self) -> httpx.Client:
        """A client with an admin's API key."""
        return self.client_with_key(self.key)

    @property
    def anyone(self) -> httpx.Client:
        """A client without a key."""
        return self.client_with_key(None)

    def client_with_key(self, key: str | None) -> httpx.Client:
        """Return a client of /api/v1 that sends the key."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return self._keep(
            httpx.Client(base_url=f"{self.url}/api/v1", verify=self.trust(), headers=headers, timeout=30)
        )

    def trust(self) -> ssl.SSLContext:
        """Return TLS settings that trust this manager."""
        return ssl.create_default_context(cafile=str(self.ca))

    def cli(self, *arguments: str) -> str:
        """Run `sekisho-manager` on the same data directory and return what it prints."""
        done = subprocess.run(
            [*_command(), *arguments, "--data-dir", str(self.data_dir), *_database(self.database_url)],
            capture_output=True, text=True, timeout=60, cwd=ROOT, env=_environment(),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def enrol(self, name: str = "lab", token: str | None = None) -> EnrolledAppliance:
        """Enrol an appliance with a fresh key and token."""
        if token is None:
            token = self.operator.post("/tokens", json={"for_s": 600}).raise_for_status().json()["token"]
        key = ec.generate_private_key(ec.SECP256R1())
        answer = self.anyone.post("/enrol", json={"token": token, "name": name, "csr": csr_for(key)})
        assert answer.status_code == 201, answer.text
        enrolled = answer.json()
        key_path = self.data_dir / f"test-{enrolled['appliance_id']}.key"
        certificate_path = key_path.with_suffix(".pem")
        key_path.write_bytes(private_pem(key))
        certificate_path.write_text(enrolled["certificate"])
        client = self.appliance_client(certificate_path, key_path)
        return EnrolledAppliance(
            enrolled["appliance_id"],
            name,
            client,
            enrolled["policy_key"],
            enrolled["ca"],
            certificate_path,
            key_path,
        )

    def appliance_client(self, certificate: Path, key: Path) -> httpx.Client:
        """Return a client of /api/v1/appliance with the certificate."""
        context = self.trust()
        context.load_cert_chain(certificate, key)
        return self._keep(
            httpx.Client(base_url=f"{self.appliance_url}/api/v1/appliance", verify=context, timeout=70)
        )

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT_S)

    def restart(self) -> None:
        """Start again on the same data and ports; stops first if it runs."""
        self.stop()
        self.process, said = _start(self.command, self.data_dir.parent)
        self.fingerprint = said["fingerprint"]

    def _keep(self, client: httpx.Client) -> httpx.Client:
        self.clients.append(client)
        return client


@contextmanager
def running_manager(
    directory: Path, *, extra: Sequence[str] = (), database_url: str | None = None
) -> Iterator[RunningManager]:
    """Give a manager that serves from `directory/manager`; stopped at the end, by force if it must be."""
    data_dir = directory / "manager"
    port, appliance_port = free_ports(2)
    command = [
        *_command(), "serve", "--data-dir", str(data_dir), "--port", str(port),
        "--appliance-port", str(appliance_port), *_database(database_url), *extra,
    ]  # fmt: skip
    process, said = _start(command, directory)
    manager = RunningManager(
        data_dir,
        port,
        appliance_port,
        said["fingerprint"],
        said.get("password"),
        database_url,
        command,
        process,
    )
    try:
        manager.key = _admin_key(manager)
        yield manager
    finally:
        for client in manager.clients:
            client.close()
        try:
            manager.stop()
        except subprocess.TimeoutExpired:
            manager.process.kill()
            manager.process.wait(STOP_TIMEOUT_S)


def _admin_key(manager: RunningManager) -> str:
    """Return a new key, made as `sekisho-manager key create` makes it but without a process of its own."""
    if not engine_is_built():
        return manager.cli("key", "create", "test", "--role", "admin")
    from manager_api.manager import open_manager
    from manager_api.operations import access
    from manager_api.settings import Settings

    opened = open_manager(Settings(manager.data_dir, manager.database_url))
    try:
        _, secret = access.make_key(opened, "cli", "test", "admin")
    finally:
        opened.database.close()
    return secret


def csr_for(key: Any, name: str = "whatever") -> str:
    """Return a request for a certificate (PEM) for the key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    algorithm = hashes.SHA256() if not type(key).__name__.startswith("Ed") else None
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, algorithm)
    return request.public_bytes(Encoding.PEM).decode()


def private_pem(key: Any) -> bytes:
    """Return the private key as PEM."""
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def _command() -> list[str]:
    """Return the manager's command; where the engine is not built, with a checker that knows sids only."""
    module = "manager_api.cli" if engine_is_built() else "tests.manager_without_engine"
    return [sys.executable, "-m", module]


def engine_is_built() -> bool:
    """Whether rule sets are really checked."""
    return importlib.util.find_spec("appliance._engine") is not None


def _database(url: str | None) -> list[str]:
    return [] if url is None else ["--database", url]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def _start(command: list[str], directory: Path) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """Start the manager and wait until it has said where it listens."""
    output = directory / "manager.out"
    with output.open("w") as out, (directory / "manager.log").open("a") as log:
        process = subprocess.Popen(command, stdout=out, stderr=log, text=True, cwd=ROOT, env=_environment())
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if "CA fingerprint" in (text := output.read_text()) and text.endswith("\n"):
            return process, _said(text)
        time.sleep(0.02)
    process.kill()
    process.wait(STOP_TIMEOUT_S)
    raise RuntimeError(f"the manager did not start: {(directory / 'manager.log').read_text()[-3000:]}")


def _said(text: str) -> dict[str, str]:
    said = {"fingerprint": text.split("sha256:")[1].split()[0]}
    if "password " in text:
        said["password"] = text.split("password ")[1].split()[0]
    return said


_next_port = 15_000 + os.getpid() * 101 % 17_000
"""Below what the kernel gives to whoever asks for any, and with others than other processes of tests."""


def free_ports(count: int) -> list[int]:
    """Return TCP ports of loopback, one after the other, that were free just now and are given once."""
    global _next_port
    while True:
        ports = list(range(_next_port, _next_port + count))
        _next_port += count
        if all(map(_is_free, ports)):
            return ports


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
