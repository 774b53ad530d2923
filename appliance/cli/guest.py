"""`sekisho guest`: asks the host helper on this machine."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import click

from appliance.cli.table import green, red, table
from appliance.model.faults import SystemFault

DEFAULT_SOCKET = "/run/sekisho-host/sekisho-host.sock"
ANSWER_S = 120.0


@click.group()
@click.option(
    "--socket", "path", default=DEFAULT_SOCKET, envvar="SEKISHO_HOST_SOCKET", show_default=True,
    help="Where sekisho-host listens.",
)  # fmt: skip
@click.pass_context
def guest(ctx: click.Context, path: str) -> None:
    """The guests of this KVM host: which there are, and which are led through the appliance.

    `sekisho-host` does it; only root may ask.
    """
    ctx.obj = path


@guest.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.pass_obj
def list_(path: str, as_json: bool) -> None:
    """List guests and their vNICs, with the addresses each announced in the last hour."""
    report = _ask(path, {"do": "guests"})
    if as_json:
        click.echo(json.dumps(report, indent=1, ensure_ascii=False))
        return
    click.echo(table(("guest", "state", "mac", "tap", "bridge", "addresses", "protection"), _rows(report)))
    for each in report["guests"]:
        if each["trouble"]:
            click.echo(red(f"\n{each['name']}: {each['trouble']}"))


@guest.command()
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Only say what would change, and what it would cut into.")
@click.option("--persistent", is_flag=True, help="Write it into the guest's stored definition, too.")
@click.pass_obj
def protect(path: str, name: str, dry_run: bool, persistent: bool) -> None:
    """Lead the traffic of the running guest NAME (or UUID) through the appliance.

    Its connections go on. Frames are seen to come out of the appliance, or the guest is connected as it was.
    A guest stays protected when it is stopped, started, renamed or given another vNIC.
    """
    _say(_ask(path, {"do": "protect", "guest": name, "dry_run": dry_run, "persistent": persistent}))


@guest.command()
@click.argument("name", required=False)
@click.option("--all", "everyone", is_flag=True, help="Every protected guest.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--persistent", is_flag=True, help="In the guest's stored definition, too.")
@click.pass_obj
def unprotect(path: str, name: str | None, everyone: bool, dry_run: bool, persistent: bool) -> None:
    """Connect the guest NAME (or UUID), or all, as if there were no appliance."""
    if (name is None) != everyone:
        raise click.UsageError("give a NAME or --all")
    _say(_ask(path, {"do": "unprotect", "guest": name, "dry_run": dry_run, "persistent": persistent}))


@guest.command()
@click.option("--after", default=0, help="Only events with a higher number.")
@click.pass_obj
def events(path: str, after: int) -> None:
    """Print what happens to guests, a JSON object a line, until interrupted."""
    for event in _answers(path, {"do": "events", "after": after}, None):
        click.echo(json.dumps(event))


def _rows(report: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for each in report["guests"]:
        state = "running" if each["running"] else "off"
        for vnic in each["vnics"] or [
            dict.fromkeys(("mac", "tap", "bridge", "obstacle")) | {"addresses": ()}
        ]:
            addresses = ", ".join(vnic["addresses"]) or "-"
            yield (
                each["name"], state, vnic["mac"] or "-", vnic["tap"] or "-", vnic["bridge"] or "-", addresses,
                _protection(each, vnic),
            )  # fmt: skip


def _protection(guest: dict[str, Any], vnic: dict[str, Any]) -> str:
    if guest["appliance"]:
        return "is the appliance"
    if vnic["obstacle"]:
        return red(f"unprotected: {vnic['obstacle']}")
    if not guest["protected"]:
        return "none"
    if not guest["running"]:
        return "when it starts"
    if vnic.get("held"):
        return red("held: nothing passes before the appliance knows it")
    return green("led through") if vnic.get("led_through") else red("NOT led through")


def _say(report: dict[str, Any]) -> None:
    for sentence in report.get("would", ()):
        click.echo(f"would: {sentence}")
    for sentence in report.get("done", ()):
        click.echo(sentence)
    for sentence in report.get("refused", ()):
        click.echo(red(sentence))


def _ask(path: str, request: dict[str, Any]) -> dict[str, Any]:
    return next(_answers(path, request, ANSWER_S))


def _answers(path: str, request: dict[str, Any], timeout_s: float | None) -> Iterator[dict[str, Any]]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            raise SystemFault(f"{path}: sekisho-host is not running on this machine") from None
        except PermissionError:
            raise SystemFault(f"{path}: only root may ask sekisho-host") from None
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as lines:
            for line in lines:
                answer = json.loads(line)
                if not answer["ok"]:
                    raise SystemFault(str(answer["error"]))
                yield answer["report"]
    raise SystemFault("sekisho-host ended without an answer")
