"""The option that every command of `sekisho-host` has."""

from pathlib import Path

import click

DEFAULT_CONFIG = "/etc/sekisho-host/host.yaml"

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_CONFIG,
    envvar="SEKISHO_HOST_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The helper's configuration.",
)
