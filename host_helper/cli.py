"""`sekisho-host`: the helper itself, its certificate, and the hypervisor's hook."""

import asyncio
import json
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import click

from appliance.cli.faults import FaultsInWords
from appliance.cli.lazy import LazyGroup
from appliance.model.faults import PolicyError, SystemFault
from appliance.ready import alive_every_s, tell_alive
from host_helper.cli_config import config_option

HOOK_ANSWER_S = 20.0


PLACES = {
    "guest": "appliance.cli.guest:guest",
    "withdraw": "host_helper.withdraw:withdraw",
}


class SekishoHost(FaultsInWords, LazyGroup):
    """The helper's commands."""


@click.group(
    cls=SekishoHost,
    places=PLACES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def main() -> None:
    """The part of Sekisho that speaks to the hypervisor, on the KVM host.

    It lists guests, leads their traffic through the appliance and tells of their lives; it looks into no
    packet. `sekisho-host guest` asks it on this machine, as `sekisho guest` does.
    """


@main.command()
@config_option
def serve(config_path: Path) -> None:
    """Run the helper until SIGTERM or SIGINT. Protected guests stay as they are when it ends."""
    from appliance import logs
    from host_helper.config import read_config
    from host_helper.helper import Helper
    from host_helper.server import Server

    logs.set_up("sekisho-host")
    config = read_config(config_path)
    helper = Helper(config, _source(config))
    asyncio.run(_serve(helper, Server(config, helper)))


async def _serve(helper: Any, server: Any) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tasks = [asyncio.create_task(each) for each in (helper.run(), server.run(), _beat())]
    waiting = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([*tasks, waiting], return_when=asyncio.FIRST_COMPLETED)
    for task in (*tasks, waiting):
        task.cancel()
    await asyncio.gather(*tasks, waiting, return_exceptions=True)
    for task in done - {waiting}:
        task.result()


async def _beat() -> None:
    """Tell the service manager that this loop turns; it starts us anew when it does not."""
    while True:
        tell_alive()
        await asyncio.sleep(alive_every_s())


def _source(config: Any) -> Any:
    if config.guests is not None:
        from host_helper.static_source import StaticSource

        return StaticSource(Path(config.guests))
    try:
        from host_helper.libvirt_source import LibvirtSource
    except ImportError as error:
        raise PolicyError(
            f"libvirt's Python binding is not installed ({error}); install sekisho[libvirt], or set `guests`"
        ) from None
    return LibvirtSource(config.libvirt)


@main.command()
@config_option
def bridges(config_path: Path) -> None:
    """Make the pair bridges, which must be there before the appliance starts."""
    from host_helper.config import read_config
    from host_helper.links import ensure_pair_bridge

    for segment in pair.segments if (pair := read_config(config_path).pair) else ():
        for name in segment.pairs:
            ensure_pair_bridge(name)


@main.command("request")
@config_option
@click.argument("names", nargs=-1, required=True)
def request_(config_path: Path, names: tuple[str, ...]) -> None:
    """Print a request for a certificate for NAMES (names and addresses that the helper is dialled by).

    `sekisho-manager host-certificate` signs it.
    """
    from host_helper.config import read_config
    from host_helper.identity import signing_request

    click.echo(signing_request(read_config(config_path).state / "identity", names), nl=False)


@main.command()
@config_option
@click.option(
    "--ca", type=click.Path(exists=True, path_type=Path), required=True, help="The manager's CA, PEM."
)
@click.argument("certificate", type=click.Path(exists=True, path_type=Path))
def accept(config_path: Path, ca: Path, certificate: Path) -> None:
    """Take the CERTIFICATE that the manager signed into use, at the next start."""
    from host_helper.config import read_config
    from host_helper.identity import keep

    keep(read_config(config_path).state / "identity", certificate.read_bytes(), ca.read_bytes())


@main.command(context_settings={"ignore_unknown_options": True})
@config_option
@click.argument("domain")
@click.argument("operation")
@click.argument("sub_operation", default="-")
@click.argument("extra", default="-")
def hook(config_path: Path, domain: str, operation: str, sub_operation: str, extra: str) -> None:
    """What /etc/libvirt/hooks/qemu calls; libvirt waits for it.

    Before a protected guest runs its first instruction its traffic is led through; one that comes from
    another host is first taken off that host's bridges, in the XML that libvirt takes from here. With
    `refuse_unprotected_start` a guest for which that fails does not start; else it does, and the log says so.
    """
    from host_helper.config import read_config

    asks = {("start", "begin"): "starting", ("migrate", "begin"): "arriving"}.get((operation, sub_operation))
    if asks is None:
        return
    config = read_config(config_path)
    try:
        report = _tell(config.socket, {"do": asks, "xml": sys.stdin.read()})
        click.echo(report.get("xml") or "", nl=False)
    except (SystemFault, OSError) as error:
        click.echo(f"sekisho-host: guest {domain} starts without its protection in place: {error}", err=True)
        if config.refuse_unprotected_start:
            raise click.exceptions.Exit(1) from None


def _tell(path: str, request: dict[str, Any]) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(HOOK_ANSWER_S)
        connection.connect(path)
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as lines:
            answer = json.loads(lines.readline() or b'{"ok": false, "error": "no answer"}')
    if not answer["ok"]:
        raise SystemFault(str(answer["error"]))
    return dict(answer["report"])


if __name__ == "__main__":
    main()
