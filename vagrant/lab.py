"""The lab: an attack on an unpatched web guest, led through the appliance, stopped and let through.

    up             networks, storage and manager; `vagrant up`; the shipped signatures assigned
    up --libvirt   the same without Vagrant
    attack         an ordinary request and an attack, with protection on and off
    down           all that `up` made, gone

Run as `vagrant/lab COMMAND`; README.md says what it needs.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from appliance.lab.demo.rest import Manager
from vagrant import ground, machines
from vagrant.description import HERE, LAB
from vagrant.programs import ROOT, run, say

T = TypeVar("T")
KEPT = HERE / ".lab"
"""What of the lab is not libvirt's: a key, seeds, the manager's data. There while the lab is."""
APPLIANCE, WEB, ATTACKER = "appliance", "web", "attacker"
SEGMENT = "lab"
PORT = 8443
READY_S = 900.0
"""For machines in software emulation."""
ORDINARY, ATTACK = "/", "/cgi-bin/.%2e/.%2e/.%2e/.%2e/etc/passwd"
ASK = """
import http.client, sys
web = http.client.HTTPConnection("{web}", timeout=20)
try:
    web.request("GET", "{path}")
    answer = web.getresponse()
    print(answer.status, answer.read().split(b"\\n")[0].decode())
except OSError as error:
    print("no answer:", error)
"""


def up(*, with_vagrant: bool = True) -> None:
    """Bring it up; ends with the web guest protected."""
    needed = machines.BOX if with_vagrant else machines.IMAGE
    if not needed.exists():
        raise SystemExit(f"{needed} is not there: `make image` makes it")
    if KEPT.exists():
        raise SystemExit("a lab is up, or half of one: `vagrant/lab down` takes it away")
    KEPT.mkdir(mode=0o700)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(KEPT / "key"))
    with ground.connected() as connection:
        ground.make(connection)
        fingerprint = start_manager()
        token = manager_says("token", "create", "--for", "60m", "--appliance", APPLIANCE)
        for name in LAB.machines:
            disk = seed_disk(name, seed(name, fingerprint, token))
            ground.upload(connection, disk.name, disk)
        if with_vagrant:
            machines.start_with_vagrant()
        else:
            machines.start_with_libvirt(connection)
    prepare_guests()
    manager = operator()
    rules = {path.name: path.read_text() for path in sorted((ROOT / "signatures").glob("*.rules"))}
    say(f"{manager.put_rule_set('shipped', rules)} signatures are pushed")
    protect(manager, "prevent")
    wait_for("the web guest answers the attacker's ordinary request", lambda: "hello" in ask(ORDINARY))
    say("the web guest is protected; now: vagrant/lab attack")


def attack() -> None:
    """Show an attack stopped with protection on, and succeeding with it off. Fails if either is otherwise."""
    manager = operator()
    expected = {"prevent": "no answer", "off": "root:"}
    for mode, part in expected.items():
        protect(manager, mode)
        ordinary, attacked = ask(ORDINARY), ask(ATTACK)
        say(f"protection {mode}: ordinary request → {ordinary}")
        say(f"protection {mode}: {ATTACK} → {attacked}")
        if "hello" not in ordinary or part not in attacked:
            raise SystemExit(f"that is not what a guest with protection {mode} answers")
    protect(manager, "prevent")


def down() -> None:
    """Take it all down, whatever state it is in."""
    stop_manager()
    machines.forget_in_vagrant()
    with ground.connected() as connection:
        ground.remove(connection)
    shutil.rmtree(KEPT, ignore_errors=True)


def protect(manager: Manager, mode: str) -> None:
    """Assign the shipped signatures in this mode, and wait until the appliance runs that."""
    manager.assign_to_all(APPLIANCE, "shipped", mode)
    manager.wait_until_in_step(APPLIANCE, READY_S)


def ask(path: str) -> str:
    """Return what the attacker's machine got for one request, in a line."""
    return ssh(ATTACKER, "python3 -", ASK.format(web=LAB.machines[WEB].address, path=path)).strip()


def prepare_guests() -> None:
    """Give web and attacker their addresses on their wires, and web its service."""
    for name in (WEB, ATTACKER):
        wait_for(f"{name} lets us in", partial(can_log_in, name))
        ssh(name, f"ip address replace {LAB.machines[name].address}/24 dev eth1 && ip link set eth1 up")
    service = (HERE / "web.py").read_text()
    ssh(WEB, "cat > /run/web.py && systemd-run -q --unit=web python3 /run/web.py", service)


def can_log_in(name: str) -> bool:
    """Return whether a machine answers over SSH."""
    try:
        ssh(name, "true")
    except SystemExit:
        return False
    return True


def ssh(name: str, command: str, stdin: str = "") -> str:
    """Return what a command printed in a machine, as root. Its host key is new with each lab."""
    return run(
        "ssh", "-q", "-i", str(KEPT / "key"), "-o", "StrictHostKeyChecking=no",
        "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20",
        f"root@{LAB.machines[name].management.address}", command, stdin=stdin,
    )  # fmt: skip


def seed(name: str, fingerprint: str, token: str) -> Mapping[str, Any]:
    """Return a machine's user-data: who may log in, and what the appliance is told."""
    machine = LAB.machines[name]
    sekisho: dict[str, Any] = {"management": {"nic": machine.management.mac}}
    if name == APPLIANCE:
        web = LAB.machines[WEB]
        ((wire, mac),) = web.wires.items()
        guest = {"name": WEB, "segment": SEGMENT, "nic": machine.wires[wire], "mac": mac}
        sekisho |= {
            "name": APPLIANCE,
            "manager": {
                "url": f"https://{LAB.management.host}:{PORT}",
                "ca_fingerprint": fingerprint,
                "token": token,
            },
            "segments": [{"name": SEGMENT, "nics": list(machine.wires.values())}],
            "guests": [{**guest, "addresses": [web.address]}],
        }
    return {"ssh_authorized_keys": [(KEPT / "key.pub").read_text().strip()], "sekisho": sekisho}


def seed_disk(name: str, user_data: Mapping[str, Any]) -> Path:
    """Write the seed disk; return where. JSON is YAML, so that is what is in it."""
    folder, disk = KEPT / name, KEPT / f"{name}.iso"
    folder.mkdir(mode=0o700)
    (folder / "user-data").write_text(f"#cloud-config\n{json.dumps(user_data)}\n")
    (folder / "meta-data").write_text(f"instance-id: {name}\n")
    run("genisoimage", "-quiet", "-J", "-r", "-V", "cidata", "-o", str(disk), str(folder))
    return disk


def start_manager() -> str:
    """Start the manager on the management network; return its CA's fingerprint."""
    log = KEPT / "manager.out"
    with log.open("wb") as output:
        log.chmod(0o600)
        process = subprocess.Popen(
            [*manager_command("serve"), "--listen", LAB.management.host, "--name", LAB.management.host,
             "--port", str(PORT), "--appliance-port", str(PORT + 1),
             "--first-password-file", str(KEPT / "password")],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    (KEPT / "manager.pid").write_text(str(process.pid))

    def fingerprint() -> str:
        text = log.read_text()
        if process.poll() is not None:
            raise SystemExit(f"the manager does not start:\n{text[-2000:]}")
        return "".join(re.findall(r"CA fingerprint +(sha256:\S+)\n", text))

    return wait_for("the manager says its fingerprint", fingerprint)


def stop_manager() -> None:
    """End the manager, and wait for it."""
    with contextlib.suppress(FileNotFoundError):
        pid = int((KEPT / "manager.pid").read_text())
        if manager_runs(pid):
            os.kill(pid, signal.SIGTERM)
            wait_for("the manager ends", lambda: not manager_runs(pid))


def manager_runs(pid: int) -> bool:
    """Return whether the process is the lab's manager: numbers are given again."""
    try:
        return str(KEPT).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def operator() -> Manager:
    """Return the manager with an administrator's key of the lab's."""
    key = KEPT / "operator.key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_text(manager_says("key", "create", "lab", "--role", "admin"))
    return Manager(PORT, KEPT / "manager/ca.pem", key.read_text().strip(), LAB.management.host)


def manager_says(*arguments: str) -> str:
    """Return what `sekisho-manager` printed."""
    return run(*manager_command(*arguments)).strip()


def manager_command(*arguments: str) -> list[str]:
    """Return the command line of `sekisho-manager` on the lab's data."""
    return [sys.executable, "-m", "manager_api.cli", *arguments, "--data-dir", str(KEPT / "manager")]


def wait_for(what: str, condition: Callable[[], T]) -> T:
    """Return the first true value of the condition. Raises SystemExit naming `what` past its time."""
    deadline = time.monotonic() + READY_S
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {READY_S:.0f} s: {what}")
        time.sleep(0.5)
    return value


COMMANDS: Mapping[tuple[str, ...], Callable[[], None]] = {
    ("up",): up,
    ("up", "--libvirt"): lambda: up(with_vagrant=False),
    ("attack",): attack,
    ("down",): down,
}


if __name__ == "__main__":
    command = COMMANDS.get(tuple(sys.argv[1:]))
    if command is None:
        raise SystemExit(__doc__)
    command()
