"""`--rules A B --pcap X` reads like `--rules A --rules B --pcap X`."""

import click
import pytest
from click.testing import CliRunner

from appliance.cli.many import ManyCommand


@click.command(cls=ManyCommand)
@click.option("--rules", multiple=True)
@click.option("--out")
@click.option("--ips", is_flag=True)
def command(rules: tuple[str, ...], out: str | None, ips: bool) -> None:
    click.echo(f"{','.join(rules)} {out} {ips}")


@pytest.mark.parametrize(
    ("printed", "arguments"),
    [
        ("a None False", "--rules a"),
        ("a,b,c o True", "--rules a b c --out o --ips"),
        ("a,b,c o False", "--rules a b --out o --rules c"),
        ("a,b None True", "--rules=a --ips --rules b"),
    ],
)
def test_takes_every_argument_up_to_the_next_option(printed: str, arguments: str) -> None:
    assert CliRunner().invoke(command, arguments).output.strip() == printed


def test_argument_after_another_option_is_refused() -> None:
    assert CliRunner().invoke(command, "--rules a --out o stray").exit_code == 2
