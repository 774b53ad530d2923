"""`--rules FILE…`: an option that takes every argument up to the next option."""

from collections.abc import Iterable

import click


class ManyCommand(click.Command):
    """A command in which `--rules A B` means `--rules A --rules B`, for options declared `multiple`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        many = {
            name
            for parameter in self.params
            if isinstance(parameter, click.Option) and parameter.multiple
            for name in parameter.opts
        }
        return super().parse_args(ctx, list(_spread(args, many)))


def _spread(args: Iterable[str], many: set[str]) -> Iterable[str]:
    option: str | None = None
    values = 0
    for argument in args:
        if argument.startswith("-"):
            option = argument if argument in many else None
            values = 0
        elif option is not None:
            if values:
                yield option
            values += 1
        yield argument
