"""`sekisho diagnostics`: all that helps somebody else to understand this appliance, in one file.

It is made of whatever is there, however dead the rest; what could not be had is said in `missing.txt`. No
key, no token and no guest's traffic is taken along: of the events only control's own, which quote none.
"""

import io
import json
import os
import platform
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import yaml

from appliance.cli.appliance import needs_root
from appliance.cli.config import config_option
from appliance.config import Config, read_config
from appliance.model.faults import PolicyError, SystemFault
from appliance.netns import run_in

LINES = 2_000
"""Of each log at most; the last ones."""
TAIL_BYTES = 4 << 20
SECRETS = frozenset({"token"})
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "network/rules.nft": ("nft", "list", "ruleset"),
    "network/iptables.txt": ("iptables-save", "-c"),
    "network/links.txt": ("ip", "-d", "-s", "link"),
    "network/bridge-ports.txt": ("bridge", "-d", "link"),
    "network/queues.txt": ("cat", "/proc/net/netfilter/nfnetlink_queue"),
    "network/connections.txt": ("conntrack", "-C"),
    "network/sysctl.txt": ("sysctl", "-a", "--pattern", r"net\.bridge|nf_conntrack"),
}
"""Run where the bridges are."""
OF_THE_MACHINE: Mapping[str, tuple[str, ...]] = {
    "machine/uname.txt": ("uname", "-a"),
    "machine/os-release.txt": ("cat", "/etc/os-release"),
    "machine/uptime.txt": ("uptime",),
    "machine/memory.txt": ("cat", "/proc/meminfo"),
    "machine/modules.txt": ("cat", "/proc/modules"),
    # what is not installed is no error here
    "machine/packages.txt": ("sh", "-c", "dpkg-query -W 'sekisho*' nftables 'libvirt*' 'qemu-system*' || :"),
    "machine/clock.txt": ("date", "--iso-8601=seconds"),
    "logs/sekisho.txt": ("journalctl", "-t", "sekisho", "-n", str(LINES), "--no-pager"),
    "logs/sekisho-host.txt": ("journalctl", "-t", "sekisho-host", "-n", str(LINES), "--no-pager"),
    "logs/kernel.txt": ("journalctl", "-k", "-n", str(LINES), "--no-pager"),
}


@click.command()
@config_option
@click.argument("archive", type=click.Path(dir_okay=False, path_type=Path))
def diagnostics(config_path: Path, archive: Path) -> None:
    """Write status, policy, rules, logs and versions into ARCHIVE, a new .tar.gz that only root can read.

    It works with every other part dead. It names guests, their addresses and who may speak to whom; keys,
    tokens and what guests send are left out.
    """
    needs_root()
    missing: dict[str, str] = {}
    with open(archive, "xb", opener=_private) as file, tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, collect in _contents(config_path).items():
            try:
                _add(tar, name, collect())
            except (PolicyError, SystemFault, OSError, ValueError) as error:
                missing[name] = str(error)
        _add(tar, "missing.txt", "".join(f"{name}: {why}\n" for name, why in missing.items()))
    click.echo(f"{archive}: {archive.stat().st_size // 1024 + 1} KiB; it names guests and their addresses")
    if missing:
        click.echo(f"not to be had here, see missing.txt in it: {', '.join(missing)}")


def _contents(config_path: Path) -> dict[str, Callable[[], str]]:
    """Return what collects each file."""
    contents: dict[str, Callable[[], str]] = {
        "machine/version.txt": _version,
        "sekisho.yaml": lambda: _without_secrets(config_path),
    }
    for name, argv in OF_THE_MACHINE.items():
        contents[name] = lambda argv=argv: run_in(None, argv)  # type: ignore[misc]
    try:
        config = read_config(config_path)
    except (PolicyError, OSError):  # whose text may quote a line with a token
        contents["status.json"] = _unconfigured
        return contents
    for name, argv in COMMANDS.items():
        contents[name] = lambda argv=argv: run_in(config.netns, argv)  # type: ignore[misc]
    state = config.state
    contents |= {
        "guests.yaml": Path(config.guests).read_text,
        "status.json": (state / "status.json").read_text,
        "alive.json": (state / "alive.json").read_text,
        "policy.json": (state / "live/current/policy.json").read_text,
        "engine.json": (state / "live/current/engine.json").read_text,
        "audit.jsonl": lambda: _tail(state / "audit.jsonl"),
        "events.jsonl": lambda: _own_events(config),
        "processes.txt": lambda: _processes(state / "status.json"),
        "disk.txt": lambda: run_in(None, ["df", "-h", str(state)]),
    }
    if config.helper is not None:
        contents["helper.json"] = config.followed.read_text
    return contents


def _version() -> str:
    from importlib import metadata

    try:
        ours = metadata.version("sekisho")
    except metadata.PackageNotFoundError:
        ours = "from a source tree"
    return f"sekisho {ours}\nPython {platform.python_version()}\n"


def _without_secrets(path: Path) -> str:
    """Return the configuration with its secrets taken out; what cannot be read as YAML is not taken along."""

    def cleaned(value: object) -> object:
        if isinstance(value, dict):
            return {key: "(left out)" if key in SECRETS else cleaned(each) for key, each in value.items()}
        return value

    try:
        return yaml.safe_dump(cleaned(yaml.safe_load(path.read_text())), sort_keys=False)
    except yaml.YAMLError:
        raise PolicyError("no YAML") from None


def _own_events(config: Config) -> str:
    """Return control's last events, by time."""
    segments = sorted(config.spool_dir.glob("control-*/*.eve"))
    lines = [line for each in segments for line in _tail(each).splitlines()]
    return "".join(f"{line}\n" for line in sorted(lines, key=_when)[-LINES:])


def _when(line: str) -> str:
    try:
        return str(json.loads(line)["timestamp"])
    except (ValueError, KeyError, TypeError):
        return ""


def _processes(status: Path) -> str:
    """Return what the kernel says of each of our processes."""
    said = json.loads(status.read_bytes())
    pids = {"control": said["pid"], **{name: said[name]["pid"] for name in ("inspector", "watchdog")}}
    return "\n".join(f"{name}\n{_process(pid)}\n" for name, pid in pids.items())


def _process(pid: int | None) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the second if it ends while it is read
        return "does not run"


def _tail(path: Path) -> str:
    """Return the file's last lines."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()[-LINES:]
    return "".join(f"{line}\n" for line in lines)


def _unconfigured() -> str:
    raise PolicyError("the configuration cannot be used; `sekisho status` says why")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _add(tar: tarfile.TarFile, name: str, text: str) -> None:
    content = text.encode(errors="backslashreplace")
    entry = tarfile.TarInfo(f"sekisho-diagnostics/{name}")
    entry.size, entry.mtime, entry.mode = len(content), int(time.time()), 0o600
    tar.addfile(entry, io.BytesIO(content))
