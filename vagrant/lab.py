"""The Vagrant lab: an attack on an unpatched web guest, led through the appliance, stopped and let through.

    up       key, seed disks and manager; `vagrant up`; the shipped signatures assigned
    attack   an ordinary request and an attack, with protection on and off
    down     `vagrant destroy`, and all that `up` made

Run as `vagrant/lab COMMAND`; README.md says what it needs.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.lab.demo.rest import Manager

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LAB = HERE / ".lab"
MANAGER = LAB / "manager"
BOX = ROOT / "dist/image/sekisho.box"
NAME = "appliance"
HOST = "192.168.77.1"
"""This host on the management network of the Vagrantfile."""
MANAGEMENT = {
    "appliance": "52:54:00:5e:10:01",
    "web": "52:54:00:5e:10:02",
    "attacker": "52:54:00:5e:10:03",
}
TO_ATTACKER, TO_WEB, WEB_MAC, WEB = (
    "52:54:00:5e:11:01",
    "52:54:00:5e:11:02",
    "52:54:00:5e:12:01",
    "10.88.0.10",
)
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


def up() -> None:
    """Bring it up; ends with the web guest protected."""
    if not BOX.exists():
        raise SystemExit(f"{BOX} is not there: `make image` makes it")
    LAB.mkdir(exist_ok=True, mode=0o700)
    if not (LAB / "key").exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(LAB / "key"))
    fingerprint = start_manager()
    token = manager_says("token", "create", "--for", "60m", "--appliance", NAME)
    for name in MANAGEMENT:
        write_seed(name, seed(name, fingerprint, token))
    run("vagrant", "box", "add", "--force", "--name", "sekisho", str(BOX))
    # One after the other: emulated machines that start together outlast each other's time to answer.
    run("vagrant", "up", "--no-parallel", "--provider", "libvirt", shown=True)
    manager = operator()
    rules = {path.name: path.read_text() for path in sorted((ROOT / "signatures").glob("*.rules"))}
    say(f"{manager.put_rule_set('shipped', rules)} signatures are pushed")
    protect(manager, "prevent")
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
    run("vagrant", "destroy", "-f", shown=True)
    pid = LAB / "manager.pid"
    if pid.exists():
        # Only if it is still ours: numbers are given again.
        number = int(pid.read_text())
        command = Path(f"/proc/{number}/cmdline")
        if command.exists() and str(MANAGER).encode() in command.read_bytes():
            os.kill(number, signal.SIGTERM)
    shutil.rmtree(LAB, ignore_errors=True)


def protect(manager: Manager, mode: str) -> None:
    """Assign the shipped signatures in this mode, and wait until the appliance runs that."""
    manager.assign_to_all(NAME, "shipped", mode)
    manager.wait_until_in_step(NAME, READY_S)


def ask(path: str) -> str:
    """Return what the attacker's machine got for one request, in a line."""
    script = ASK.format(web=WEB, path=path)
    done = subprocess.run(
        ["vagrant", "ssh", "attacker", "-c", "python3 -"],
        input=script,
        capture_output=True,
        text=True,
        cwd=HERE,
    )
    return done.stdout.strip() or done.stderr.strip()


def seed(name: str, fingerprint: str, token: str) -> Mapping[str, Any]:
    """Return a machine's user-data: who may log in, and what the appliance is told."""
    sekisho: dict[str, Any] = {"management": {"nic": MANAGEMENT[name]}}
    if name == NAME:
        sekisho |= {
            "name": NAME,
            "manager": {"url": f"https://{HOST}:{PORT}", "ca_fingerprint": fingerprint, "token": token},
            "segments": [{"name": "lab", "nics": [TO_ATTACKER, TO_WEB]}],
            "guests": [{"name": "web", "segment": "lab", "nic": TO_WEB, "mac": WEB_MAC, "addresses": [WEB]}],
        }
    return {"ssh_authorized_keys": [(LAB / "key.pub").read_text().strip()], "sekisho": sekisho}


def write_seed(name: str, user_data: Mapping[str, Any]) -> None:
    """Write the seed disk. JSON is YAML, so that is what is in it."""
    folder = LAB / name
    folder.mkdir(exist_ok=True, mode=0o700)
    (folder / "user-data").write_text(f"#cloud-config\n{json.dumps(user_data)}\n")
    (folder / "meta-data").write_text(f"instance-id: {name}\n")
    run("genisoimage", "-quiet", "-J", "-r", "-V", "cidata", "-o", str(LAB / f"{name}.iso"), str(folder))


def start_manager() -> str:
    """Start the manager; return its CA's fingerprint."""
    log = LAB / "manager.out"
    with log.open("wb") as output:
        log.chmod(0o600)
        process = subprocess.Popen(
            [*manager_command("serve"), "--listen", "0.0.0.0", "--port", str(PORT), "--appliance-port",
             str(PORT + 1), "--name", HOST, "--first-password-file", str(LAB / "password")],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    (LAB / "manager.pid").write_text(str(process.pid))
    deadline = time.monotonic() + 60
    while "sha256:" not in (text := log.read_text()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the manager does not start:\n{text[-2000:]}")
        time.sleep(0.1)
    return "sha256:" + text.split("sha256:")[1].split()[0]


def operator() -> Manager:
    """Return the manager with an administrator's key of the lab's."""
    key = LAB / "operator.key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_text(manager_says("key", "create", "lab", "--role", "admin"))
    return Manager(PORT, MANAGER / "ca.pem", key.read_text().strip())


def manager_says(*arguments: str) -> str:
    """Return what `sekisho-manager` printed."""
    return run(*manager_command(*arguments)).strip()


def manager_command(*arguments: str) -> list[str]:
    """Return the command line of `sekisho-manager` on the lab's data."""
    return [sys.executable, "-m", "manager_api.cli", *arguments, "--data-dir", str(MANAGER)]


def run(*argv: str, shown: bool = False) -> str:
    """Return what a program printed, or show it. Raises SystemExit with its last words."""
    try:
        done = subprocess.run(
            argv, cwd=HERE if argv[0] == "vagrant" else ROOT, capture_output=not shown, text=True
        )
    except FileNotFoundError:
        raise SystemExit(f"{argv[0]} is not installed; vagrant/README.md says what is needed") from None
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(argv[:3])}: {(done.stderr or done.stdout or '').strip()[-2000:]}")
    return done.stdout or ""


def say(text: str) -> None:
    """Print a line at once."""
    print(f"sekisho: {text}", flush=True)


if __name__ == "__main__":
    commands = {"up": up, "attack": attack, "down": down}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        raise SystemExit(__doc__)
    commands[sys.argv[1]]()
