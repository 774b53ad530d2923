"""`sekisho-host withdraw`: what the helper made on this host taken away again, guests untouched."""

from pathlib import Path

import click

from appliance.model.faults import PolicyError, SystemFault
from host_helper import hold, links, watch
from host_helper.cli_config import config_option
from host_helper.config import read_config
from host_helper.state import State

STATE = Path("/var/lib/sekisho-host")


@click.command()
@config_option
@click.option(
    "--unless-protecting", is_flag=True, help="Change nothing and exit with 1 if a guest is protected."
)
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would be.")
def withdraw(config_path: Path, unless_protecting: bool, dry_run: bool) -> None:
    """Take away the helper's nftables tables, and the pair bridges that nothing is connected to.

    For the end of a helper; guests stay as they are connected, so unprotect them first.
    """
    state, bridges = _made(config_path)
    protected = sorted(
        guests.name_of(uuid, uuid) for guests in (State(state / "state.json"),) for uuid in guests.protected
    )
    if protected and unless_protecting:
        raise click.ClickException(f"guests are protected here: {', '.join(protected)}")
    if dry_run:
        click.echo(f"would leave behind the appliance: {', '.join(protected) or 'nobody'}")
        return
    watch.remove()
    hold.remove()
    for bridge in bridges:
        links.remove_pair_bridge(bridge)
    left = [bridge for bridge in bridges if bridge in links.masters()]
    click.echo(
        "the tables are taken away; pair bridges left, for somebody is on them: "
        + (", ".join(left) or "none")
    )


def _made(config_path: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the state directory and the pair bridges; a package's where the configuration is of no use."""
    try:
        config = read_config(config_path)
    except (PolicyError, SystemFault, OSError):
        return STATE, ()
    segments = config.pair.segments if config.pair else ()
    return config.state, tuple(pair for segment in segments for pair in segment.pairs)
