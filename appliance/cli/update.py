"""`sekisho rules update`: new rules fetched, checked, compared with what is live, and pushed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import msgspec

from appliance.model.faults import SystemFault
from appliance.rulesets import RefusedRule, RuleWarning, check_files
from appliance.rulesets.update import (
    THRESHOLDS,
    Difference,
    RuleChange,
    RuleSetClient,
    RuleSetLive,
    Sifted,
    Sources,
    compare,
    data_sets,
    fetch,
    local_files,
    passed_over,
    sift,
)
from appliance.rulesets.update.fetch import FILTERS

DATA_DIR = Path("/var/lib/sekisho/rules")
CONFIG_DIR = Path("/etc/sekisho/rules")
SHOWN = 20
PATH = click.Path(path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
Files = tuple[tuple[str, bytes], ...]


@click.command()
@click.option("--source", "names", multiple=True, metavar="NAME",
              help="A source of the public index, such as et/open.")  # fmt: skip
@click.option("--url", "urls", multiple=True, help="An archive of rules, or a rule file, by its address.")
@click.option("--local", multiple=True, type=PATH, help="A rule file, or a directory of them.")
@click.option("--bundle", "bundles", multiple=True, type=PATH,
              help="An archive on disk, or a directory of them: the mirror of a closed site.")  # fmt: skip
@click.option("--offline", is_flag=True, help="Fetch nothing: take sources as they were fetched last.")
@click.option("--config-dir", type=PATH, default=CONFIG_DIR, show_default=True,
              help="Where enable.conf, disable.conf, modify.conf and drop.conf are.")  # fmt: skip
@click.option("--data-dir", type=PATH, default=DATA_DIR, show_default=True,
              help="Where what was fetched is kept.")  # fmt: skip
@click.option("--threshold-config", type=FILE,
              help="Thresholds and suppressions to push along; by default those that are live.")  # fmt: skip
@click.option("--output", type=FILE,
              help="Write the rules that load to this file, and their data sets beside it.")  # fmt: skip
@click.option("--manager", metavar="URL", help="Push the rules to this manager, https://HOST:PORT.")
@click.option("--rule-set", default="emerging", show_default=True, help="The rule set's name on the manager.")
@click.option("--key-file", type=FILE, help="A file with an API key that may write rule sets.")
@click.option("--ca", type=FILE, help="The manager's CA certificate, in PEM.")
@click.option("--strict", is_flag=True, help="Change nothing if any rule is refused.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def update(**given: Any) -> None:
    """Fetch rules with suricata-update and make them live.

    suricata-update merges what the sources give and applies enable.conf, disable.conf, modify.conf and
    drop.conf. What our engine does not load is taken out and named; the rest is compared with what is live
    on the manager (without one: with --output as it is now) and replaces it. Without any source it is
    et/open.

    A rule set on a manager stays assigned as it was: new signatures act in the mode of its assignment.

    Exit status: 0 if the new rules are live (or already were), 1 if not.
    """
    manager = _manager(given)
    _refuse_what_would_be_lost(given)
    sources = Sources(
        names=given["names"],
        urls=given["urls"],
        local=given["local"],
        bundles=given["bundles"],
        offline=given["offline"],
        filters={kind: path for kind in FILTERS if (path := given["config_dir"] / f"{kind}.conf").is_file()},
    )
    if not given["as_json"]:
        click.echo("suricata-update fetches and merges the rules; large sets take a minute", err=True)
    local = tuple(local_files(given["local"]))
    live = manager.live() if manager else _file_live(given["output"])
    files = live.files if live else ()
    fetched = fetch(sources, given["data_dir"])
    for said in fetched.said:
        click.echo(f"suricata-update: {said}", err=True)
    sifted = sift([*fetched.files, *_thresholds(given["threshold_config"], files)])
    sifted = replace(sifted, refused=(*passed_over(local, fetched.files), *sifted.refused))
    difference = compare((check_files(files), files), (sifted.report, sifted.files), sifted.refused)
    refused = given["strict"] and bool(sifted.refused)
    done = "" if given["dry_run"] or refused else _apply(given, manager, live, sifted, difference)
    if given["as_json"]:
        click.echo(json.dumps(_as_json(sifted, difference, bool(done)), ensure_ascii=False))
    else:
        _print(sifted, difference)
        click.echo(done or "nothing was changed" + (": --strict, and rules are refused" if refused else ""))
    if refused:
        raise click.exceptions.Exit(1)


def _refuse_what_would_be_lost(given: dict[str, Any]) -> None:
    if given["threshold_config"] is not None and given["manager"] is None and given["output"] is not None:
        raise click.UsageError(
            "--threshold-config goes to a manager; with --output, give it to who uses the file: "
            "rules check and replay have the same option"
        )
    if not given["config_dir"].is_dir() and given["config_dir"] != CONFIG_DIR:
        raise click.UsageError(f"--config-dir {given['config_dir']}: no such directory")


def _manager(given: dict[str, Any]) -> RuleSetClient | None:
    if given["manager"] is None:
        if given["output"] is None and not given["dry_run"]:
            raise click.UsageError("say where the rules go: --manager URL with --key-file, or --output FILE")
        return None
    if not given["manager"].startswith("https://"):
        # The key would be read on the way.
        raise click.UsageError(f"--manager {given['manager']}: write https://HOST:PORT")
    if given["key_file"] is None:
        raise click.UsageError("--manager needs --key-file, a file that holds an API key")
    key = given["key_file"].read_text().strip()
    return RuleSetClient(given["manager"], key, given["ca"], given["rule_set"])


def _thresholds(given: Path | None, live: Files) -> Files:
    """Return the file of thresholds that goes with the rules: the one given, or else the one that is live."""
    if given is not None:
        return ((THRESHOLDS, given.read_bytes()),)
    return tuple((name, text) for name, text in live if name == THRESHOLDS)


def _file_live(output: Path | None) -> RuleSetLive | None:
    if output is None or not output.exists():
        return None
    rules = output.read_bytes()
    named = ((name, output.parent / name) for name in sorted(data_sets(rules)))
    data = ((name, path.read_bytes()) for name, path in named if path.is_file())
    return RuleSetLive(0, "", (("live.rules", rules), *data))


def _apply(
    given: dict[str, Any],
    manager: RuleSetClient | None,
    live: RuleSetLive | None,
    sifted: Sifted,
    difference: Difference,
) -> str:
    """Make the rules live where asked; return what was done."""
    if not sifted.report.signatures:
        raise SystemFault("the sources give no rule that loads; what is live stays")
    done = []
    if given["output"] is not None:
        done.append(_write(given["output"], sifted.files))
    same = live is not None and _beside_rules(live.files) == _beside_rules(sifted.files)
    if manager is not None and live is not None and difference.is_empty and same:
        done.append(f"live already, as version {live.version} of {given['rule_set']}")
    elif manager is not None:
        answer = manager.put(sifted.files, live)
        done.append(f"live as version {answer['version']} of {given['rule_set']}")
    return "; ".join(done)


def _write(output: Path, files: Files) -> str:
    """Write data sets, then the rules that name them, and delete those that none names any more."""
    former = data_sets(output.read_bytes()) if output.exists() else set()
    rules = b"\n".join(text.rstrip(b"\n") for name, text in files if name.endswith(".rules")) + b"\n"
    named = data_sets(rules)
    for name, text in files:
        if name in named:
            (output.parent / name).parent.mkdir(exist_ok=True)
            (output.parent / name).write_bytes(text)
    output.write_bytes(rules)
    # Rules of others may lie in the same folder, and their data in the same one.
    for others in output.parent.glob("*.rules"):
        former -= data_sets(others.read_bytes())
    for name in former - named:
        (output.parent / name).unlink(missing_ok=True)
    return f"written to {output}" + (", its data sets beside it" if named else "")


def _beside_rules(files: Files) -> Files:
    """Return thresholds and data."""
    return tuple(sorted((name, text) for name, text in files if not name.endswith(".rules")))


def _print(sifted: Sifted, difference: Difference) -> None:
    for word, changes in (
        ("added", difference.added),
        ("removed", difference.removed),
        ("changed", difference.changed),
    ):
        _some(word, [_line(change) for change in changes])
    _some("refused", [_refusal(rule) for rule in sifted.refused])
    _some("newly refused", [_refusal(rule) for rule in difference.newly_refused])
    _some("warned of", [_refusal(rule) for rule in sifted.report.warnings])
    blocking = sum(s.action in ("drop", "reject") for s in sifted.report.signatures)
    click.echo(
        f"{sifted.report.loaded} load, {len(sifted.refused)} are refused; as written, {blocking} can block"
    )


def _some(word: str, lines: list[str]) -> None:
    if not lines:
        return
    click.echo(f"{len(lines)} {word}")
    for line in lines[:SHOWN]:
        click.echo(f"  {line}")
    if len(lines) > SHOWN:
        click.echo(f"  and {len(lines) - SHOWN} more; --json names all")


def _line(change: RuleChange) -> str:
    old, new = change.old_rev, change.new_rev
    now = old if new is None else new
    rev = f"rev {old} to {new}" if None not in (old, new) and old != new else f"rev {now}"
    actions = (change.old_action, change.new_action)
    action = f", {actions[0]} to {actions[1]}" if None not in actions and actions[0] != actions[1] else ""
    return f"sid {change.sid} {rev}{action}  {change.msg}"


def _refusal(rule: RefusedRule | RuleWarning) -> str:
    return f"{'no sid' if rule.sid is None else f'sid {rule.sid}'}  {rule.reason}"


def _as_json(sifted: Sifted, difference: Difference, applied: bool) -> dict[str, Any]:
    return {
        "loaded": sifted.report.loaded,
        "applied": applied,
        "refused": msgspec.to_builtins(sifted.refused),
        "warnings": msgspec.to_builtins(sifted.report.warnings),
        **msgspec.to_builtins(difference),
    }
