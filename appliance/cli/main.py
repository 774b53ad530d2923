"""The group of all subcommands, and what an error looks like to who typed one."""

import os
import sys
from typing import Any

import click

from appliance.cli.lazy import LazyGroup
from appliance.model.faults import PolicyError, SystemFault

PLACES = {
    "run": "appliance.cli.appliance:run",
    "status": "appliance.cli.status:status",
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


class Sekisho(LazyGroup):
    """Turns the faults that a command may meet into one line and an exit status, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (PolicyError, SystemFault) as error:
            raise click.ClickException(str(error)) from None
        except BrokenPipeError:
            # Who reads along may stop early (`sekisho status | head`); nothing is left to be said to it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(1)
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{name}{error.strerror or error}") from None
        except ImportError as error:
            if error.name != "appliance._engine" and "_engine" not in str(error):
                raise
            raise click.ClickException(
                "the packet engine is not built here; `make build` builds it"
            ) from None


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
