"""`sekisho run`, `status`, `bypass` and `guard`: the appliance on this machine."""

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import click

from appliance.cli.durations import Duration, in_words
from appliance.cli.table import in_bytes, table
from appliance.model.faults import PolicyError, SystemFault

DEFAULT_CONFIG = "/etc/sekisho/sekisho.yaml"
DEFAULT_BYPASS_S = 30 * 60
STALE_AFTER_S = 10.0

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_CONFIG,
    envvar="SEKISHO_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The appliance's configuration.",
)


@click.command()
@config_option
@click.option(
    "--keep-rules",
    is_flag=True,
    help="Leave guard, firewall and steering in the kernel at the end; uninspected traffic then passes or "
    "stops as each segment's failure policy for `inspector_down` says.",
)
def run(config_path: Path, keep_rules: bool) -> None:
    """Run the appliance until SIGTERM or SIGINT.

    It protects the guests that the configuration's guests.yaml names with the last policy it had, enrols with
    the manager at its first start, then follows the manager's policy. Without a manager it keeps protecting.
    """
    from appliance import daemon
    from appliance.config import read_config

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    daemon.run(read_config(config_path), keep_rules=keep_rules)


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def status(config_path: Path, as_json: bool) -> None:
    """Say how the appliance is: health, queues, live policy, and every byte that passed uninspected.

    Exit status: 0 if it runs and is well, 1 if anything needs attention.
    """
    from appliance import steering
    from appliance.config import read_config
    from appliance.control.status import read_status

    config = read_config(config_path)
    found: dict[str, Any] = read_status(config.state / "status.json") or {}
    age_s = time.time() - found.get("time_s", 0)
    found["running"] = bool(found) and age_s < STALE_AFTER_S and Path(f"/proc/{found.get('pid')}").exists()
    # The kernel is asked, not the appliance: a bypass works, and must show, with everything else dead.
    found["bypass"] = [
        {"guest": b.guest, "tap": b.tap, "remaining_s": b.remaining_s}
        for b in steering.bypassed(config.netns)
    ]
    if as_json:
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        _print(found, age_s)
    if not _is_well(found):
        raise click.exceptions.Exit(1)


def _is_well(found: dict[str, Any]) -> bool:
    inspector, watchdog = found.get("inspector") or {}, found.get("watchdog") or {}
    well = inspector.get("up") and not inspector.get("failure_policy") and watchdog.get("up")
    return bool(found["running"] and well and not found.get("error") and not found["bypass"])


def _print(found: dict[str, Any], age_s: float) -> None:
    for each in found["bypass"]:
        left = in_words(each["remaining_s"])
        click.echo(
            _red(f"BYPASS  guest {each['guest']} ({each['tap']}) passes uninspected for another {left}")
        )
    if not found["running"]:
        seen = f"; last seen {in_words(age_s)} ago" if "time_s" in found else ""
        click.echo(f"appliance  {_red('not running')}{seen}")
        if "inspector" not in found:
            return
    inspector = found["inspector"]
    up = _green("up") if inspector["up"] and found["running"] else _red("down")
    click.echo(f"inspector  {up}, restarted {inspector['restarts']} times")
    if inspector.get("failure_policy"):
        click.echo(f"           {_red('it hangs or has ended: the failure policy decides')}")
    watchdog = found.get("watchdog") or {"up": False, "restarts": 0}
    up = _green("up") if watchdog["up"] and found["running"] else _red("down")
    click.echo(f"watchdog   {up}, restarted {watchdog['restarts']} times")
    click.echo(f"policy     version {found['live_version']}")
    click.echo(f"manager    {found['manager']}")
    if steering := found.get("steering"):
        repairs = _red(f"; rules put back {steering['repairs']} times") if steering["repairs"] else ""
        click.echo(f"steering   {steering['backend']}: {steering['why']}{repairs}")
    spool = found["spool"]
    lost = _red(f", {spool['lost']} events lost") if spool["lost"] else ""
    click.echo(f"spool      {in_bytes(spool['bytes'])}, {in_bytes(spool['waiting_bytes'])} of it wait{lost}")
    if found.get("error"):
        click.echo(f"error      {_red(found['error'])}")
    for sentence in found.get("missing", ()):
        click.echo(f"missing    {sentence}")
    queues = ((inspector["stats"].get("packets_from") or {}).get("runtime") or {}).get("queues") or []
    if queues:
        click.echo("\n" + table(("queue", "state", "packets", "waiting", "dropped"), map(_queue, queues)))
    click.echo(
        "\n" + table(("guest", "segment", "bytes", "uninspected, by reason"), map(_guest, found["guests"]))
    )


def _red(text: str) -> str:
    return click.style(text, fg="red")


def _green(text: str) -> str:
    return click.style(text, fg="green")


def _queue(queue: dict[str, Any]) -> tuple[str, ...]:
    kernel = queue.get("kernel") or {}
    dropped = kernel.get("dropped", 0) + kernel.get("user_dropped", 0)
    state = _green("alive") if queue["alive"] else _red("dead")
    return (
        str(queue["queue"]),
        state,
        str(queue.get("packets", "?")),
        str(kernel.get("waiting", "?")),
        str(dropped),
    )


def _guest(guest: dict[str, Any]) -> tuple[str, ...]:
    reasons = ", ".join(f"{reason} {in_bytes(count)}" for reason, count in guest["uninspected"].items())
    return guest["name"], guest["segment"], in_bytes(guest["bytes"]), reasons or "none"


@click.command()
@config_option
@click.option("--guest", help="Only this guest; without it every guest.")
@click.option(
    "--for",
    "duration_s",
    type=Duration(),
    default=DEFAULT_BYPASS_S,
    show_default="30m",
    help="For how long, at most a week; it ends by itself.",
)
@click.option("--off", is_flag=True, help="End the bypass now.")
def bypass(config_path: Path, guest: str | None, duration_s: int, off: bool) -> None:
    """Let traffic pass uninspected, at once and for a while.

    It only touches nftables, so it works with every other part dead. Guard and firewall stay. It is written
    to audit.jsonl in the state directory, shown in red by `sekisho status`, and every byte is counted.
    """
    from appliance import steering
    from appliance.config import read_config
    from appliance.control.audit import audit

    config = read_config(config_path)
    # Written down first: what cannot be written down is not done.
    what, asked = "bypass-off" if off else "bypass-on", {"guest": guest, "for_s": None if off else duration_s}
    audit(config.state, what, **asked)
    try:
        now = steering.bypass(guest, 0 if off else duration_s, config.netns)
    except (PolicyError, SystemFault) as error:
        audit(config.state, f"{what}-refused", **asked, reason=str(error))
        raise
    for each in now:
        left = in_words(each.remaining_s)
        click.echo(_red(f"guest {each.guest} ({each.tap}) passes uninspected for {left}"))
    if not now:
        click.echo("nothing is bypassed")


@click.group()
def guard() -> None:
    """The L2 guard: with which addresses guests speak beside their own."""


@guard.command()
@config_option
@click.argument("guest")
def show(config_path: Path, guest: str) -> None:
    """Show the MAC and IP pairs that GUEST spoke with in the last day and that are not allowed."""
    pairs = _promotable(config_path, guest)
    click.echo(table(("mac", "ip"), pairs) if pairs else f"guest {guest} spoke with its own addresses only")


@guard.command()
@config_option
@click.argument("guest")
def promote(config_path: Path, guest: str) -> None:
    """Print the guard policy that allows what GUEST was seen speaking with.

    It is the body for the manager's `PUT /api/v1/guests/GUEST/guard`, which decides what guests may.
    """
    from appliance.config import read_config
    from appliance.control.engine_policy import policy_of
    from appliance.control.generations import Generations

    document = Generations(read_config(config_path).state / "live").current_document()
    now = policy_of(document, guest).guard if document else None
    allowed = [{"mac": pair.mac, "ip": pair.ip} for pair in (now.allowed if now else ())]
    allowed += [{"mac": mac, "ip": ip} for mac, ip in _promotable(config_path, guest)]
    click.echo(json.dumps({"mode": now.mode if now else "log", "allowed": allowed}, indent=1))


def _promotable(config_path: Path, guest: str) -> list[tuple[str, str]]:
    from appliance.config import read_config
    from appliance.control.engine_policy import policy_of
    from appliance.control.generations import Generations
    from appliance.firewall import promotable
    from appliance.hypervisor import load_guests
    from appliance.model.faults import PolicyError

    config = read_config(config_path)
    inventory = load_guests(Path(config.guests))
    if guest not in {each.name for each in inventory.guests}:
        known = ", ".join(each.name for each in inventory.guests)
        raise PolicyError(f"{config.guests}: there is no guest {guest!r}; known: {known}")
    document = Generations(config.state / "live").current_document()
    allowed = policy_of(document, guest).guard.allowed if document else ()
    return [(pair.mac, pair.ip) for pair in promotable(guest, inventory, config.netns, allowed)]


def needs_root() -> None:
    """Stop with a clear error unless this is root. Raises click.ClickException."""
    if os.geteuid() != 0:
        raise click.ClickException("needs root: it works on network namespaces and nftables")
