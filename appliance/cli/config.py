"""The option that names the appliance's configuration."""

from pathlib import Path

import click

from appliance.service import CONFIG

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=CONFIG,
    envvar="SEKISHO_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The appliance's configuration.",
)
