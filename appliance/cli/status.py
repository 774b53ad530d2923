"""`sekisho status`: how the appliance is, once or again and again."""

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from appliance.cli.config import config_option
from appliance.cli.durations import Duration, in_words
from appliance.cli.rates import rates
from appliance.cli.table import green, in_bytes, red, table

STALE_AFTER_S = 10.0
WATCH_EVERY_S = 3


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.option("--watch", is_flag=True, help="Show it again and again, with rates, until interrupted.")
@click.option(
    "--every",
    "every_s",
    type=Duration(),
    default=WATCH_EVERY_S,
    show_default="3s",
    help="How often, with --watch.",
)
def status(config_path: Path, as_json: bool, watch: bool, every_s: int) -> None:
    """Say how the appliance is: health, queues, live policy, and every byte that passed uninspected.

    Exit status: 0 if it runs and is well, 1 if anything needs attention.
    """
    if watch and as_json:
        raise click.UsageError("--watch and --json exclude each other; Prometheus metrics are for programs")
    found = _read(config_path)
    if watch:
        # Ctrl-C is how one leaves, whatever is being done at that moment.
        with contextlib.suppress(KeyboardInterrupt):
            _watch(config_path, found, every_s)
    elif as_json:
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        click.echo(_text(found))
        if found["running"]:
            click.echo("\n" + rates(None, found))
    if not _is_well(found):
        raise click.exceptions.Exit(1)


def _watch(config_path: Path, found: dict[str, Any], every_s: int) -> None:
    """Show the status, with rates since the one before, until interrupted."""
    before = None
    while True:
        # Control writes it every few seconds; until then there is no rate, and the last one stays.
        text = f"{_text(found)}\n\n{rates(before, found)}" if "inspector" in found else _text(found)
        click.clear()
        click.echo(f"{time.strftime('%H:%M:%S')}  every {in_words(every_s)}, Ctrl-C ends\n\n{text}")
        time.sleep(every_s)
        shown, found = found, _read(config_path)
        if found.get("time_s") != shown.get("time_s"):
            before = shown if shown["running"] and found.get("pid") == shown.get("pid") else None


def _read(config_path: Path) -> dict[str, Any]:
    from appliance import steering
    from appliance.config import read_config
    from appliance.control.status_file import read_status

    config = read_config(config_path)
    found: dict[str, Any] = read_status(config.state / "status.json") or {}
    age_s = time.time() - found.get("time_s", 0)
    found["running"] = bool(found) and age_s < STALE_AFTER_S and Path(f"/proc/{found.get('pid')}").exists()
    # The kernel is asked, not the appliance: a bypass works, and must show, with everything else dead.
    found["bypass"] = [
        {"guest": b.guest, "tap": b.tap, "remaining_s": b.remaining_s}
        for b in steering.bypassed(config.netns)
    ]
    return found


def _is_well(found: Mapping[str, Any]) -> bool:
    inspector, watchdog = found.get("inspector") or {}, found.get("watchdog") or {}
    well = inspector.get("up") and not inspector.get("failure_policy") and watchdog.get("up")
    troubled = found.get("error") or found["bypass"] or (found.get("helper") or {}).get("trouble")
    return bool(found["running"] and well and not troubled)


def _text(found: Mapping[str, Any]) -> str:
    lines = [
        red(
            f"BYPASS  guest {each['guest']} ({each['tap']}) passes uninspected for another "
            f"{in_words(each['remaining_s'])}"
        )
        for each in found["bypass"]
    ]
    if not found["running"]:
        seen = f"; last seen {in_words(time.time() - found['time_s'])} ago" if "time_s" in found else ""
        lines.append(f"appliance  {red('not running')}{seen}")
    if "inspector" in found:
        lines += _parts(found)
    return "\n".join(lines)


def _parts(found: Mapping[str, Any]) -> list[str]:
    inspector, running = found["inspector"], found["running"]
    lines = [f"inspector  {_up(inspector, running)}"]
    if inspector.get("failure_policy"):
        lines.append(f"           {red('it hangs or has ended: the failure policy decides')}")
    lines.append(f"watchdog   {_up(found.get('watchdog') or {'up': False, 'restarts': 0}, running)}")
    if started := found.get("started"):
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started["time_s"]))
        lines.append(f"since      {since}: {started['after']}")
    lines.append(f"policy     version {found['live_version']}")
    lines.append(f"manager    {found['manager']}")
    if helper := found.get("helper"):
        stands = f"{helper['at']}: " + (
            red(f"{helper['trouble']}; its last {helper['guests']} guests stay protected")
            if helper["trouble"]
            else f"followed, {helper['guests']} guests"
        )
        lines.append(f"helper     {stands}")
    if steering := found.get("steering"):
        repairs = red(f"; rules put back {steering['repairs']} times") if steering["repairs"] else ""
        lines.append(f"steering   {steering['backend']}: {steering['why']}{repairs}")
    if connections := found.get("connections"):
        lines.append(f"kernel     {_connections(connections)}")
    spool = found["spool"]
    lost = red(f", {spool['lost']} events lost") if spool["lost"] else ""
    lines.append(
        f"spool      {in_bytes(spool['bytes'])}, {in_bytes(spool['waiting_bytes'])} of it wait{lost}"
    )
    if uses := {what: count for what, count in (inspector.get("failures") or {}).items() if count}:
        lines.append("failures   " + ", ".join(f"{what} {count}" for what, count in sorted(uses.items())))
    if found.get("error"):
        lines.append(f"error      {red(found['error'])}")
    lines += [f"missing    {sentence}" for sentence in found.get("missing", ())]
    refused = [rule for rule in found.get("firewall", ()) if rule["action"] == "deny"]
    if refused:
        rows = [(r["guest"], r["direction"], r["rule"], str(r["packets"])) for r in refused]
        lines += ["", table(("guest", "denied", "by rule", "packets"), rows)]
    return lines


def _connections(found: Mapping[str, int]) -> str:
    troubles = {"given_up": "were forgotten to make room", "refused": "packets came while it was full"}
    said = "".join(red(f", {found[what]:,} {trouble}") for what, trouble in troubles.items() if found[what])
    return f"knows {found['known']:,} of at most {found['at_most']:,} connections{said}"


def _up(part: Mapping[str, Any], running: bool) -> str:
    up = green("up") if part["up"] and running else red("down")
    return f"{up}, restarted {part['restarts']} times"
