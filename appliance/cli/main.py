"""The group of all subcommands."""

import sys

import click

from appliance.cli.faults import FaultsInWords
from appliance.cli.lazy import LazyGroup

PLACES = {
    "run": "appliance.cli.appliance:run",
    "status": "appliance.cli.status:status",
    "diagnostics": "appliance.cli.diagnostics:diagnostics",
    "explain": "appliance.cli.explain:explain",
    "flows": "appliance.cli.flows:flows",
    "bypass": "appliance.cli.appliance:bypass",
    "preflight": "appliance.cli.appliance:preflight",
    "guard": "appliance.cli.appliance:guard",
    "guest": "appliance.cli.guest:guest",
    "withdraw": "appliance.cli.withdraw:withdraw",
    "rules": "appliance.cli.rules:rules",
    "replay": "appliance.cli.rules:replay",
    "lab": "appliance.cli.lab:lab",
    "demo": "appliance.cli.demo:demo",
}


class Sekisho(FaultsInWords, LazyGroup):
    """All subcommands, imported when they are asked for."""


@click.group(
    cls=Sekisho,
    places=PLACES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def main() -> None:
    """Virtual patching between the virtual machines of a KVM host.

    Sekisho stands between guests on one bridge, inspects what they say to each other and stops exploits
    of vulnerabilities that cannot be patched yet. It needs nothing inside a guest.
    """
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


@main.command()
def version() -> None:
    """Print the version."""
    from importlib import metadata

    try:
        click.echo(f"sekisho {metadata.version('sekisho')}")
    except metadata.PackageNotFoundError:
        click.echo("sekisho (from a source tree)")
