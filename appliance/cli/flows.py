"""`sekisho flows`: the guests' connections, above all those that were under way before Sekisho was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from appliance.cli.config import config_option
from appliance.cli.durations import in_words
from appliance.cli.table import red, table
from appliance.model.faults import PolicyError

SHOWN = 1000


@click.group(invoke_without_command=True)
@config_option
@click.option("--midstream", is_flag=True, help="Only those that were under way already when seen first.")
@click.option("--guest", help="Only this guest's.")
@click.pass_context
def flows(ctx: click.Context, config_path: Path, midstream: bool, guest: str | None) -> None:
    """List the connections between guests, by guest and age.

    A midstream connection passes by the failure policy `midstream`, and what it said before is not known: to
    have it inspected from its beginning, reset it with `sekisho flows reset`.
    """
    if ctx.invoked_subcommand is not None:
        return
    config, inventory = _read(config_path)
    _known(inventory, guest)
    rows = []
    for connection in _connections(config, inventory, midstream):
        names = _guests(inventory, connection)
        if guest is None or guest in names:
            rows += [(name, connection) for name in names or ["?"] if guest in (None, name)]
    rows.sort(key=lambda row: (row[0], -(row[1].age_s or 0.0)))
    if not rows:
        click.echo("no midstream connections" if midstream else "no connections")
        return
    headings = ("guest", "seen for", "connection", "state", "")
    click.echo(table(headings, [_row(*row) for row in rows[:SHOWN]]))
    if len(rows) > SHOWN:
        click.echo(f"{len(rows) - SHOWN} more; choose a --guest")


@flows.command()
@config_option
@click.argument("which", metavar="FILTER")
@click.option("--midstream", is_flag=True, help="Only those that were under way already when seen first.")
@click.option("--dry-run", is_flag=True, help="Only show which it would be.")
@click.pass_context
def reset(ctx: click.Context, config_path: Path, which: str, midstream: bool, dry_run: bool) -> None:
    """End the connections that FILTER fits: every further packet is dropped, and both ends are sent resets.

    FILTER is a flow as for `sekisho explain`, or `guest:NAME`. An end that a reset does not reach (no TCP, a
    guest whose address guests.yaml does not know) notices when it times out. A new connection, on the same
    ports too, is judged anew. It is written to audit.jsonl in the state directory.
    """
    from appliance.control.audit import audit
    from appliance.steering.connections import drop
    from appliance.steering.resets import reset_ends

    if ctx.parent is not None and ctx.get_parameter_source("config_path") is ParameterSource.DEFAULT:
        config_path = ctx.parent.params["config_path"]  # `sekisho flows --config FILE reset …`
    config, inventory = _read(config_path)
    ended = []
    fits, address = _filter(which, inventory)
    for connection in _connections(config, inventory, midstream, address):
        if connection.is_dropped or not fits(connection):
            continue
        if not dry_run:
            # Written down first: what cannot be written down is not done.
            audit(config.state, "flows-reset", filter=which, flow=str(connection))
            if not drop(connection, config.netns):
                continue
        ended.append(connection)
        click.echo(str(connection))
    if not dry_run:
        reset_ends(ended, inventory, config.netns)
    did = "would be reset" if dry_run else "reset"
    click.echo(f"{len(ended)} connections {did}" if len(ended) != 1 else f"1 connection {did}")
    if not ended:
        raise click.exceptions.Exit(1)


def _read(config_path: Path) -> tuple[Any, Any]:
    from appliance.config import read_config
    from appliance.hypervisor import read_inventory

    config = read_config(config_path)
    return config, read_inventory(config)


def _connections(config: Any, inventory: Any, midstream: bool, address: str | None = None) -> list[Any]:
    from appliance.steering.connections import connections

    zones = tuple(segment.zone for segment in inventory.segments)
    return connections(zones, config.netns, address=address, midstream=midstream)


def _guests(inventory: Any, connection: Any) -> list[str]:
    """Return the guests that have an end of the connection, as far as their addresses are known."""
    ends = {connection.originator.address, connection.responder.address}
    return [g.name for g in inventory.guests if any(ends & set(vnic.shown_addresses) for vnic in g.vnics)]


def _filter(which: str, inventory: Any) -> tuple[Callable[[Any], bool], str | None]:
    """Return which connections are meant, and an address that all of them have, if there is one."""
    from appliance.model.flow import parse_flow

    if which.startswith("guest:"):
        name = which.removeprefix("guest:")
        _known(inventory, name)
        return lambda connection: name in _guests(inventory, connection), None
    wanted = parse_flow(which)
    if wanted.flow_id is not None:
        raise PolicyError(
            f"{which}: the kernel knows no flow_id; write its ends, as sekisho explain shows them"
        )
    return lambda connection: wanted.fits(connection.originator, connection.responder), wanted.ends[0].address


def _known(inventory: Any, guest: str | None) -> None:
    names = [each.name for each in inventory.guests]
    if guest is not None and guest not in names:
        raise PolicyError(f"there is no guest {guest!r}; known: {', '.join(names)}")


def _row(guest: str, connection: Any) -> tuple[str, ...]:
    age = "?" if connection.age_s is None else in_words(connection.age_s)
    stands = red("dropped") if connection.is_dropped else "midstream" if connection.is_midstream else ""
    return guest, age, str(connection), connection.state, stands
