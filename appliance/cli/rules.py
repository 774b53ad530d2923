"""`sekisho rules …` and `sekisho replay`: signatures without an appliance."""

import json
from collections.abc import Iterator
from pathlib import Path

import click

from appliance.cli.lazy import LazyGroup
from appliance.cli.many import ManyCommand

CAPTURE_SUFFIXES = frozenset({".pcap", ".pcapng", ".cap"})
# pcap in both byte orders, with micro- and nanoseconds; pcapng.
CAPTURE_MAGICS = frozenset(
    bytes.fromhex(magic) for magic in ("a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1", "0a0d0d0a")
)
HOME_NET = "[192.168.0.0/16,10.0.0.0/8,172.16.0.0/12]"
EXTERNAL_NET = "!$HOME_NET"

FILE = click.Path(dir_okay=False, path_type=Path)

THRESHOLDS = click.option(
    "--threshold-config",
    "threshold_files",
    multiple=True,
    type=FILE,
    help="Thresholds, rate filters and suppressions (threshold.config) for the rules.",
)


@click.group(cls=LazyGroup, places={"update": "appliance.cli.update:update"})
def rules() -> None:
    """Signatures: check what loads, and bring what is live up to date."""


@rules.command()
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@THRESHOLDS
def check(files: tuple[Path, ...], as_json: bool, threshold_files: tuple[Path, ...]) -> None:
    """Say what of each rule FILE loads, and what is refused and why.

    A FILE called threshold.config is read as such.

    Exit status: 0 if all loads, 1 if anything is refused or a file cannot be read.
    """
    from appliance import _engine

    read = _engine.Rules(_names(files), thresholds=_names(threshold_files))
    refused = read.refused()
    if as_json:
        listed = [{"file": r.file, "line": r.line, "sid": r.sid, "reason": r.reason} for r in refused]
        click.echo(json.dumps({"loaded": read.loaded, "refused": listed}, ensure_ascii=False))
    else:
        for r in refused:
            click.echo(f"{r.file}:{r.line}: {_sid(r.sid)}: {r.reason}")
        click.echo(
            f"{read.loaded} loaded, {len(refused)} refused; "
            f"as written, {read.blocking} of the loaded can block"
        )
    if refused:
        raise click.exceptions.Exit(1)


@click.command(cls=ManyCommand)
@click.option("--rules", "rule_files", multiple=True, required=True, type=FILE, help="Rule files.  [FILE…]")
@click.option(
    "--pcap", required=True, type=click.Path(path_type=Path), help="A capture, or a directory of them."
)
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Where events go."
)
@click.option("--ips", is_flag=True, help="Inspect as if inline: at once, and drops take effect.")
@click.option("--home-net", default=HOME_NET, show_default=True, metavar="NETS", help="$HOME_NET.")
@click.option(
    "--external-net", default=EXTERNAL_NET, show_default=True, metavar="NETS", help="$EXTERNAL_NET."
)
@THRESHOLDS
@click.option("--eve-payload", is_flag=True, help="Show in alerts the bytes that matched.")
@click.option("--eve-packet", is_flag=True, help="Show in alerts their packet.")
def replay(
    rule_files: tuple[Path, ...],
    pcap: Path,
    out: Path,
    ips: bool,
    home_net: str,
    external_net: str,
    threshold_files: tuple[Path, ...],
    eve_payload: bool,
    eve_packet: bool,
) -> None:
    """Inspect captures offline and write what was found as EVE JSON.

    A capture's events go to OUT/eve.json. Of a directory each capture below it is inspected with fresh
    state, the rules being compiled once, and its events go to OUT/PATH/eve.json, PATH being the capture's
    below the directory.

    Signatures that do not load, and captures that cannot be read to their end, are named on standard error;
    the rest is inspected. A line there says when the signatures are ready. Exit status: 0 unless rules
    cannot be read, or no capture can.
    """
    from appliance import _engine

    captures = list(_captures(pcap, out))
    if not captures:
        raise click.ClickException(f"{pcap}: no capture in this directory or below it")
    try:
        read = _engine.Rules(
            _names(rule_files),
            home_net=home_net,
            external_net=external_net,
            thresholds=_names(threshold_files),
        )
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    for refusal in read.refused():
        click.echo(f"{refusal.file}:{refusal.line}: {_sid(refusal.sid)}: {refusal.reason}", err=True)
    read.compile()
    read.keep()
    # Who measures takes the time of the inspection from this line on.
    click.echo(f"{read.loaded} signatures are ready", err=True)
    for _, eve in captures:
        eve.parent.mkdir(parents=True, exist_ok=True)
    outcomes = read.replay(
        [(str(capture), str(eve)) for capture, eve in captures],
        ips=ips,
        payload=eve_payload,
        packet=eve_packet,
    )
    for reason, packets in outcomes:
        if reason:
            click.echo(
                f"{reason}{f'; the {packets} packets before were inspected' if packets else ''}", err=True
            )
    # A capture that ends torn was inspected as far as it goes.
    inspected = sum(not reason or packets > 0 for reason, packets in outcomes)
    click.echo(f"{inspected} of {len(captures)} captures inspected; events below {out}", err=True)
    if not inspected:
        raise click.exceptions.Exit(1)


def _captures(pcap: Path, out: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each capture and where its events go; a directory is walked in the order of names."""
    if not pcap.is_dir():
        if not pcap.exists():
            raise click.ClickException(f"{pcap}: no such file or directory")
        yield pcap, out / "eve.json"
        return
    for path in sorted(pcap.rglob("*")):
        if path.is_file() and _is_capture(path):
            yield path, out / path.relative_to(pcap) / "eve.json"


def _is_capture(path: Path) -> bool:
    """Return whether the name or the first bytes say so: captures are often named otherwise."""
    if path.suffix.lower() in CAPTURE_SUFFIXES:
        return True
    with path.open("rb") as file:
        return file.read(4) in CAPTURE_MAGICS


def _names(files: tuple[Path, ...]) -> list[str]:
    return [str(file) for file in files]


def _sid(sid: int | None) -> str:
    return "no sid" if sid is None else f"sid {sid}"
