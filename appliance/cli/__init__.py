"""The command `sekisho`."""

from appliance.cli.main import main

__all__ = ["main"]
