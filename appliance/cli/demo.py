"""`sekisho demo`: everything on this machine, with attacks; what `make run` and `make stop` call."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from appliance.cli.appliance import needs_root
from appliance.cli.table import table

F = TypeVar("F", bound=Callable[..., object])


@click.group()
def demo() -> None:
    """A manager, the lab and an appliance on this machine, with attacks in each mode."""
    needs_root()


def where(command: F) -> F:
    """Add the options that say where the demonstration lives."""
    for option in (
        click.option(
            "--run-dir",
            type=click.Path(file_okay=False, path_type=Path),
            default=Path(".run"),
            show_default=True,
            help="Where it keeps its state and logs.",
        ),
        click.option(
            "--port",
            type=click.IntRange(1, 65534),
            default=8443,
            envvar="SEKISHO_PORT",
            show_default=True,
            show_envvar=True,
            help="The manager's port; appliances use the one after it.",
        ),
    ):
        command = option(command)
    return command


@demo.command()
@where
def up(run_dir: Path, port: int) -> None:
    """Start everything afresh, send the attacks with mode off, detect and prevent, and leave it running.

    Exit status: 0 if every request fared as its mode promises, 1 if not.
    """
    from appliance.lab.demo import DemoSettings, play
    from appliance.lab.demo import up as start
    from appliance.lab.demo.rounds import HEADINGS, MODES, rows

    settings = DemoSettings(run_dir=run_dir, port=port)
    running = start(settings, _say)
    rounds = []
    for mode in MODES:
        _say(f"attacks: sending all of them with mode {mode}")
        rounds.append(play(settings, running.manager, mode))
    click.echo()
    click.echo(table(HEADINGS, rows(rounds)))
    click.echo()
    for played in rounds:
        click.echo(f"mode {played.mode} was live {played.live_after_s:.1f} s after the call that set it")
    problems = [problem for played in rounds for problem in played.problems()]
    for problem in problems:
        click.echo(click.style(f"NOT AS PROMISED  {problem}", fg="red"))
    click.echo(
        f"\npage             {running.manager.url}/\n"
        f"CA fingerprint   sha256:{running.fingerprint}\n"
        f"administrator    admin, password {running.password} (shown this once)\n\n"
        "It stays running; `make stop` takes all of it down."
    )
    if problems:
        raise click.exceptions.Exit(1)


@demo.command()
@where
def down(run_dir: Path, port: int) -> None:
    """Take everything down, whatever state it is in; nothing is left in the kernel."""
    from appliance.lab.demo import DemoSettings
    from appliance.lab.demo import down as stop

    stop(DemoSettings(run_dir=run_dir, port=port), _say)
    _say("nothing of it is left running")


def _say(text: str) -> None:
    click.echo(f"sekisho: {text}")
