"""What an error looks like to who typed a command."""

import os
import sys
from typing import Any

import click

from appliance.model.faults import PolicyError, SystemFault


class FaultsInWords(click.Group):
    """Turns the faults that a command may meet into one line and an exit status, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Invoke the command. Raises click.ClickException."""
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
