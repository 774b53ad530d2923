"""Brings a database to the tables that this version needs."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from manager_api.store.database import Database


def configuration() -> Config:
    """Return Alembic's settings, without a file: the migrations lie beside this module."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def upgrade(database: Database) -> None:
    """Apply every migration that is missing, in one transaction.

    Raises ValueError where a newer version had the database, and what the database raises.
    """
    config = configuration()
    with database.engine.execution_options(begin_for_writing=True).begin() as connection:
        now = MigrationContext.configure(connection).get_current_revision()
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if now is not None and now not in known:
            raise ValueError(
                f"the database belongs to a newer version of the manager (migration {now}); install that "
                "version again, or put back the backup from before the upgrade. Nothing was changed"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
