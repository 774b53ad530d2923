"""`sekisho rules …` and `sekisho replay`: signatures without an appliance."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.cli.lazy import LazyGroup
from appliance.cli.many import ManyCommand

if TYPE_CHECKING:
    from appliance import _engine

CAPTURE_SUFFIXES = frozenset({".pcap", ".pcapng", ".cap"})
# pcap in both byte orders, with micro- and nanoseconds; pcapng.
CAPTURE_MAGICS = frozenset(
    bytes.fromhex(magic) for magic in ("a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1", "0a0d0d0a")
)
HOME_NET = "[192.168.0.0/16,10.0.0.0/8,172.16.0.0/12]"
EXTERNAL_NET = "!$HOME_NET"

FILE = click.Path(path_type=Path)

THRESHOLDS = click.option(
    "--threshold-config",
    "threshold_files",
    multiple=True,
    type=FILE,
    help="Thresholds, rate filters and suppressions (threshold.config) for the rules.",
)


VARIABLES = click.option(
    "--var",
    "variables",
    multiple=True,
    metavar="NAME=VALUE",
    help="What $NAME stands for in the headers of rules: addresses or ports, such as HTTP_PORTS=[80,8080].",
)


@click.group(cls=LazyGroup, places={"update": "appliance.cli.update:update"})
def rules() -> None:
    """Signatures: check what loads, and bring what is live up to date."""


@rules.command()
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@THRESHOLDS
@VARIABLES
def check(
    files: tuple[Path, ...], as_json: bool, threshold_files: tuple[Path, ...], variables: tuple[str, ...]
) -> None:
    """Say what of each rule FILE loads, what is refused and why, and what of what loads is not done.

    A FILE called threshold.config is read as such. One that gzip compressed is unpacked.

    Exit status: 0 if all loads, 1 if anything is refused or a file cannot be read.
    """
    read = _read(files, threshold_files, dict(_variable(given) for given in variables))
    refused, warnings = read.refused(), read.warnings()
    if as_json:
        report = {"loaded": read.loaded, "refused": _listed(refused), "warnings": _listed(warnings)}
        click.echo(json.dumps(report, ensure_ascii=False))
    else:
        said = [(warning, "warning: ") for warning in warnings] + [(refusal, "") for refusal in refused]
        order = {str(file): place for place, file in enumerate((*files, *threshold_files))}
        for remark, kind in sorted(said, key=lambda each: (order.get(each[0].file, 0), each[0].line)):
            click.echo(f"{_place(remark)}: {kind}{remark.reason}")
        if not (read.loaded or refused):
            click.echo(f"no rule in {', '.join(order)}")
        click.echo(
            f"{read.loaded} loaded, {len(refused)} refused; "
            f"as written, {read.blocking} of the loaded can block"
        )
    if refused:
        raise click.exceptions.Exit(1)


@click.command(cls=ManyCommand)
@click.option("--rules", "rule_files", multiple=True, required=True, type=FILE, help="Rule files.  [FILE…]")
@click.option(
    "--pcap",
    "pcaps",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="Captures, or directories of them.  [PATH…]",
)
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Where events go."
)
@click.option("--ips", is_flag=True, help="Inspect as if inline: at once, and drops take effect.")
@click.option("--home-net", default=HOME_NET, show_default=True, metavar="NETS", help="$HOME_NET.")
@click.option(
    "--external-net", default=EXTERNAL_NET, show_default=True, metavar="NETS", help="$EXTERNAL_NET."
)
@VARIABLES
@THRESHOLDS
@click.option("--eve-payload", is_flag=True, help="Show in alerts the bytes that matched.")
@click.option("--eve-packet", is_flag=True, help="Show in alerts their packet.")
def replay(
    rule_files: tuple[Path, ...],
    pcaps: tuple[Path, ...],
    out: Path,
    ips: bool,
    home_net: str,
    external_net: str,
    variables: tuple[str, ...],
    threshold_files: tuple[Path, ...],
    eve_payload: bool,
    eve_packet: bool,
) -> None:
    """Inspect captures offline and write what was found as EVE JSON.

    A capture's events go to OUT/eve.json. Of a directory each capture below it is inspected with fresh
    state, the rules being compiled once, and its events go to OUT/PATH/eve.json, PATH being the capture's
    below the directory. Where several captures or directories are given, each has its own directory below
    OUT, called as it is.

    Connections are followed as by Suricata, with --ips as by its IPS mode, and checksums are not looked at,
    as with its `-k none`: captures often have none. Between guests both are stricter.

    Rules and captures that gzip compressed are unpacked. Signatures that do not load, what of the others is
    not done, and captures that cannot be read to their end are named on standard error; the rest is
    inspected. A line there says when the signatures are ready. Exit status: 0 unless rules cannot be read,
    or no capture can.
    """
    captures = [capture for pcap, below in _outputs(pcaps, out) for capture in _captures(pcap, below)]
    nets = {"HOME_NET": home_net, "EXTERNAL_NET": external_net}
    read = _read(rule_files, threshold_files, nets | dict(_variable(given) for given in variables))
    for refusal in read.refused():
        click.echo(f"{_place(refusal)}: {refusal.reason}", err=True)
    for warning in read.warnings():
        click.echo(f"{_place(warning)}: warning: {warning.reason}", err=True)
    if not read.loaded:
        click.echo("no signature loaded: nothing in the captures can raise an alert", err=True)
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


def _outputs(pcaps: tuple[Path, ...], out: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each of `pcaps` and the directory of its events; raises ClickException where two share one."""
    if len(pcaps) == 1:
        yield pcaps[0], out
        return
    taken: dict[str, Path] = {}
    for pcap in pcaps:
        # `.` and `..` have no name of their own.
        name = pcap.name if pcap.name not in ("", "..") else pcap.resolve().name
        if name in taken:
            raise click.ClickException(
                f"{taken[name]} and {pcap}: both would write below {out / name}; rename one"
            )
        taken[name] = pcap
        yield pcap, out / name


def _captures(pcap: Path, out: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each capture and where its events go; a directory is walked in the order of names."""
    if not pcap.is_dir():
        if not pcap.exists():
            raise click.ClickException(f"{pcap}: no such file or directory")
        yield pcap, out / "eve.json"
        return
    found = [path for path in sorted(pcap.rglob("*")) if path.is_file() and _is_capture(path)]
    if not found:
        raise click.ClickException(f"{pcap}: no capture in this directory or below it")
    for path in found:
        yield path, out / path.relative_to(pcap) / "eve.json"


def _is_capture(path: Path) -> bool:
    """Return whether the name or the first bytes say so: captures are often named otherwise."""
    if Path(path.name.lower().removesuffix(".gz")).suffix in CAPTURE_SUFFIXES:
        return True
    with path.open("rb") as file:
        return file.read(4) in CAPTURE_MAGICS


def _read(
    files: tuple[Path, ...], threshold_files: tuple[Path, ...], variables: Mapping[str, str]
) -> "_engine.Rules":
    from appliance import _engine

    for path in (*files, *threshold_files):
        if path.is_dir():
            raise click.ClickException(f"{path}: a directory; name the files in it: {path}/*.rules")
    try:
        return _engine.Rules(
            [str(file) for file in files],
            variables=list(variables.items()),
            thresholds=[str(file) for file in threshold_files],
        )
    except ValueError as error:
        raise click.ClickException(str(error)) from None


def _variable(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not (name and equals and value):
        raise click.UsageError(f"--var {given}: write NAME=VALUE, such as HTTP_PORTS=[80,8080]")
    return name.removeprefix("$"), value


def _listed(remarks: "list[_engine.Remark]") -> list[dict[str, str | int | None]]:
    return [{"file": r.file, "line": r.line, "sid": r.sid, "reason": r.reason} for r in remarks]


def _place(remark: "_engine.Remark") -> str:
    return f"{remark.file}:{remark.line}: {'no sid' if remark.sid is None else f'sid {remark.sid}'}"
