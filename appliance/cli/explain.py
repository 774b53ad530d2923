"""`sekisho explain`: why was this packet dropped?"""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from appliance.cli.config import config_option
from appliance.cli.durations import in_words
from appliance.cli.table import green, red

SHOWN = 5


@click.command()
@config_option
@click.argument("flow")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.option("--all", "show_all", is_flag=True, help=f"Show more than the newest {SHOWN} causes.")
def explain(config_path: Path, flow: str, as_json: bool, show_all: bool) -> None:
    """Say why packets of FLOW were dropped: by which signature, firewall rule, guard or failure policy.

    FLOW is `10.0.0.5:443 -> 10.0.0.7:51234` (either direction, ports optional), `[fd00::5]:443 -> fd00::7`,
    one address, or a flow_id of an event.

    Exit status: 0 if Sekisho dropped packets of it, 1 if it is not known to have.
    """
    from appliance.explain import explain as explain_flow
    from appliance.model.flow import parse_flow

    wanted = parse_flow(flow)
    found = explain_flow(_sources(config_path), wanted, time.time())
    if as_json:
        click.echo(
            json.dumps({**asdict(found), "is_dropped": found.is_dropped}, indent=1, ensure_ascii=False)
        )
    else:
        click.echo(_text(str(wanted), found, show_all))
    if not found.is_dropped:
        raise click.exceptions.Exit(1)


def _sources(config_path: Path) -> Any:
    from appliance.config import read_config
    from appliance.control.generations import Generations
    from appliance.explain import Sources
    from appliance.hypervisor import read_inventory
    from appliance.model.policy import PolicyDocument

    config = read_config(config_path)
    return Sources(
        spool=config.spool_dir,
        audit=config.state / "audit.jsonl",
        inventory=read_inventory(config),
        document=Generations(config.state / "live").current_document() or PolicyDocument(0),
        netns=config.netns,
    )


def _text(wanted: str, found: Any, show_all: bool) -> str:
    sure = [cause for cause in found.causes if cause.is_sure]
    perhaps = [cause for cause in found.causes if not cause.is_sure]
    lines = [f"{wanted}: {red('dropped by Sekisho') if sure else green('not dropped by Sekisho')}"]
    if not sure:
        lines[0] += ", as far as is known here"
    if perhaps:
        lines += ["", "At these times packets were dropped, and it is not known whose:"]
    shown = found.causes if show_all else found.causes[:SHOWN]
    for cause in shown:
        lines += ["", *_cause(cause)]
    if len(found.causes) > len(shown):
        lines += ["", f"{len(found.causes) - len(shown)} more with --all"]
    lines += ["", *found.notes] if found.notes else []
    lines += ["", _horizon(found.since_s)]
    return "\n".join(lines)


def _cause(cause: Any) -> list[str]:
    lines = [f"by      {click.style(cause.by, bold=True)}"]
    if cause.detail:
        lines.append(f"why     {cause.detail}")
    if cause.flow:
        lines.append(f"flow    {cause.flow}")
    if cause.when_s:
        ago = in_words(max(0, time.time() - cause.when_s))
        lines.append(
            f"when    {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(cause.when_s))} ({ago} ago)"
        )
    lines += [f"{'to do' if number == 0 else '':8}{remedy}" for number, remedy in enumerate(cause.remedy)]
    return lines


def _horizon(since_s: float | None) -> str:
    memory = "The kernel remembers for an hour whom the firewall denied, and for a day what the guard saw"
    if since_s is None:
        return f"{memory}; there are no events on this disk."
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since_s))
    return f"{memory}; events on this disk go back to {since}, older ones are at the manager."
