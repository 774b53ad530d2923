"""`sekisho rules …` and `sekisho replay`: signatures without an appliance."""

import json
from collections.abc import Iterator
from pathlib import Path

import click

from appliance.cli.many import ManyCommand
from appliance.cli.update import update

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


@click.group()
def rules() -> None:
    """Signatures: check what loads, and bring what is live up to date."""


rules.add_command(update)


@rules.command()
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@THRESHOLDS
def check(files: tuple[Path, ...], as_json: bool, threshold_files: tuple[Path, ...]) -> None:
    """Say what of each rule FILE loads, and what is refused and why.

    A FILE called threshold.config is read as such.

    Exit status: 0 if all loads, 1 if anything is refused or a file cannot be read.
    """
    from appliance.rulesets import check_files, read_attachments

    texts = _read(files)
    report = check_files(texts, read_attachments(texts), _read(threshold_files))
    if as_json:
        refused = [{"file": r.file, "line": r.line, "sid": r.sid, "reason": r.reason} for r in report.refused]
        click.echo(json.dumps({"loaded": report.loaded, "refused": refused}, ensure_ascii=False))
    else:
        for r in report.refused:
            click.echo(f"{r.file}:{r.line}: {_sid(r.sid)}: {r.reason}")
        blocking = sum(s.action in ("drop", "reject") for s in report.signatures)
        click.echo(
            f"{report.loaded} loaded, {len(report.refused)} refused; "
            f"as written, {blocking} of the loaded can block"
        )
    if report.refused:
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
    the rest is inspected. Exit status: 0 unless rules cannot be read, or no capture can.
    """
    from appliance import _engine
    from appliance.rulesets import read_attachments

    texts = _read(rule_files)
    captures = list(_captures(pcap, out))
    if not captures:
        raise click.ClickException(f"{pcap}: no capture in this directory or below it")
    attachments = read_attachments(texts)
    thresholds = _read(threshold_files)
    for refusal in _engine.check_rules(texts, attachments, thresholds)[1]:
        click.echo(f"{refusal.file}:{refusal.line}: {_sid(refusal.sid)}: {refusal.reason}", err=True)
    for _, eve in captures:
        eve.parent.mkdir(parents=True, exist_ok=True)
    try:
        outcomes = _engine.replay(
            texts,
            [(str(capture), str(eve)) for capture, eve in captures],
            ips=ips,
            home_net=home_net,
            external_net=external_net,
            attachments=attachments,
            thresholds=thresholds,
            payload=eve_payload,
            packet=eve_packet,
        )
    except ValueError as error:
        raise click.ClickException(str(error)) from None
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


def _read(files: tuple[Path, ...]) -> list[tuple[str, bytes]]:
    return [(str(file), file.read_bytes()) for file in files]


def _sid(sid: int | None) -> str:
    return "no sid" if sid is None else f"sid {sid}"
