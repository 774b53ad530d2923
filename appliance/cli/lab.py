"""`sekisho lab`: two guests in network namespaces, for development and demonstration."""

from pathlib import Path

import click

from appliance.cli.appliance import needs_root
from appliance.cli.table import table

KINDS = ("exploit", "obfuscated", "near-miss", "ordinary")


@click.group()
def lab() -> None:
    """Guests in network namespaces on one bridge: `web` runs nginx and a recorder, `client` attacks it.

    The recorder writes down what reaches it and executes nothing. There is no route out of the lab.
    """
    needs_root()


run_dir_option = click.option(
    "--run-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".run/lab"),
    show_default=True,
    help="Where the lab keeps its state and records.",
)


@lab.command()
@run_dir_option
def up(run_dir: Path) -> None:
    """Bring the lab up; one that is up stays as it is."""
    from appliance import lab as parts

    parts.up(parts.LabSettings(run_dir=run_dir))
    click.echo(f"the lab is up; its guests are described in {run_dir / 'guests.yaml'}")


@lab.command()
@run_dir_option
def status(run_dir: Path) -> None:
    """Say how the lab is. Exit status: 0 if it is up, 1 if not."""
    from appliance import lab as parts

    now = parts.status(parts.LabSettings(run_dir=run_dir))
    for name, there in now.namespaces.items():
        click.echo(f"namespace {name}: {'there' if there else 'missing'}")
    for port, answers in now.ports.items():
        click.echo(f"web port {port}: {'answers' if answers else 'silent'}")
    click.echo(f"requests recorded: {now.recorded}")
    if not now.up:
        raise click.exceptions.Exit(1)


@lab.command()
@run_dir_option
@click.option(
    "--only", multiple=True, metavar="NAME", help="Only attacks of this name or CVE; may be repeated."
)
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only such requests.")
@click.option("--ipv6", is_flag=True, help="Send over IPv6.")
def attack(run_dir: Path, only: tuple[str, ...], kinds: tuple[str, ...], ipv6: bool) -> None:
    """Send exploit requests, near misses and ordinary ones, and show what arrived."""
    from appliance import lab as parts

    settings = parts.LabSettings(run_dir=run_dir)
    results = list(
        parts.attack(settings, only=only, kinds=kinds, ip_version=6 if ipv6 else 4)  # type: ignore[arg-type]
    )
    rows = [
        (r.cve, r.request, r.kind, "arrived" if r.recorded else "stopped", f"{r.took_s * 1000:.0f} ms")
        for r in results
    ]
    click.echo(table(("CVE", "request", "kind", "outcome", "took"), rows))


@lab.command()
@run_dir_option
def down(run_dir: Path) -> None:
    """Take the lab down, whatever state it is in."""
    from appliance import lab as parts

    parts.down(parts.LabSettings(run_dir=run_dir))
    click.echo("the lab is down")
