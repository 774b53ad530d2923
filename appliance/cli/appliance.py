"""`sekisho run`, `bypass` and `guard`: the appliance on this machine."""

import json
import os
from pathlib import Path
from typing import Any

import click

from appliance.cli.config import config_option
from appliance.cli.durations import Duration, in_words
from appliance.cli.table import red, table
from appliance.model.faults import PolicyError, SystemFault

DEFAULT_BYPASS_S = 30 * 60


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
    from appliance import service

    service.run(config_path, keep_rules=keep_rules)


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
    what = "bypass-off" if off else "bypass-on"
    asked: dict[str, Any] = {"guest": guest, "for_s": None if off else duration_s}
    audit(config.state, what, **asked)
    try:
        now = steering.bypass(guest, 0 if off else duration_s, config.netns)
    except (PolicyError, SystemFault) as error:
        audit(config.state, f"{what}-refused", **asked, reason=str(error))
        raise
    for each in now:
        left = in_words(each.remaining_s)
        click.echo(red(f"guest {each.guest} ({each.tap}) passes uninspected for {left}"))
    if not now:
        click.echo("nothing is bypassed")


@click.command()
@config_option
def preflight(config_path: Path) -> None:
    """Print what `sekisho run` would change on this host beside its own nftables tables, and change nothing.

    Exit status 1 where another firewall's FORWARD chain would then catch bridged packets.
    """
    from appliance.config import read_config
    from appliance.hypervisor import load_guests
    from appliance.steering import Backend
    from appliance.steering.preflight import preflight as look

    config = read_config(config_path)
    wanted = None if config.backend == "auto" else Backend(config.backend)
    bridges = [segment.bridge for segment in load_guests(Path(config.guests)).segments]
    found = look(bridges, config.netns, wanted)
    click.echo(f"steering {found.choice.backend.value}: {found.choice.why}")
    for change in found.changes or ("nothing would be changed",):
        click.echo(change)
    for refusal in found.refusals:
        click.echo(red(f"refused: {refusal}"))
    if found.refusals:
        click.echo(
            "Let bridged packets through there first (iptables -I FORWARD -m physdev --physdev-is-bridged "
            "-j ACCEPT), or use the back end nft-bridge."
        )
        raise click.exceptions.Exit(1)


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
    from appliance.hypervisor import read_inventory
    from appliance.model.faults import PolicyError

    config = read_config(config_path)
    inventory = read_inventory(config)
    if guest not in {each.name for each in inventory.guests}:
        known = ", ".join(each.name for each in inventory.guests)
        raise PolicyError(f"there is no guest {guest!r} here; known: {known}")
    document = Generations(config.state / "live").current_document()
    allowed = policy_of(document, guest).guard.allowed if document else ()
    return [(pair.mac, pair.ip) for pair in promotable(guest, inventory, config.netns, allowed)]


def needs_root() -> None:
    """Stop with a clear error unless this is root. Raises click.ClickException."""
    if os.geteuid() != 0:
        raise click.ClickException("needs root: it works on network namespaces and nftables")
