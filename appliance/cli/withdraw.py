"""`sekisho withdraw`: every rule of ours out of the kernel, and whom that leaves unprotected."""

import fcntl
from pathlib import Path

import click

from appliance.cli.appliance import needs_root
from appliance.cli.config import config_option
from appliance.config import read_config
from appliance.model.faults import PolicyError


@click.command()
@config_option
@click.option(
    "--unless-protecting",
    is_flag=True,
    help="Change nothing and exit with 1 if a guest is behind the rules now.",
)
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would be.")
def withdraw(config_path: Path, unless_protecting: bool, dry_run: bool) -> None:
    """Take guard, firewall and steering out of the kernel, so that guests speak as if Sekisho were not there.

    For the end of an appliance that was run with --keep-rules. It works on the kernel's tables alone, with
    every other part dead; while the appliance runs it would put the rules back, so it must be stopped first.
    """
    from appliance import steering
    from appliance.hypervisor import existing

    needs_root()
    netns, state = _place(config_path)
    loaded = dict(steering.loaded_taps(netns))
    protected = sorted({loaded[tap] for tap in existing(loaded, netns)})
    if protected and unless_protecting:
        raise click.ClickException(f"guests are protected here: {', '.join(protected)}")
    if dry_run:
        click.echo(f"would leave unprotected: {', '.join(protected) or 'nobody'}")
        return
    if _runs(state):
        raise click.ClickException(f"{state}: the appliance runs; stop it first (systemctl stop sekisho)")
    steering.teardown(netns)
    click.echo(f"the rules are taken away; unprotected now: {', '.join(protected) or 'nobody'}")


def _place(config_path: Path) -> tuple[str | None, Path]:
    """Return namespace and state directory; those of a package where the configuration is of no use."""
    try:
        config = read_config(config_path)
    except (PolicyError, OSError):
        return None, Path("/var/lib/sekisho")
    return config.netns, config.state


def _runs(state: Path) -> bool:
    try:
        with (state / "control.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
