"""Brings a database to the tables that this version needs."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from manager_api.store.database import Database


def configuration() -> Config:
    """Return Alembic's settings, without a file: the migrations lie beside this module."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def upgrade(database: Database) -> None:
    """Apply every migration that is missing, in one transaction. Raises what the database raises."""
    config = configuration()
    with database.engine.execution_options(begin_for_writing=True).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
