"""A rule set becomes live, whole or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.model.policy import RuleFile
from appliance.rulesets import CheckReport, RefusedRule, RuleWarning
from manager_api.domain import rule_sets as domain
from manager_api.domain.policy import referenced
from manager_api.manager import Manager
from manager_api.problems import Problem
from manager_api.store import appliances, policies, rule_sets
from manager_api.store.models import RuleSetVersion
from manager_api.store.settings_json import defaults_of


@dataclass(frozen=True, slots=True)
class Stored:
    """A rule set's live version, whether this call made it, and then what of it is not done."""

    version: RuleSetVersion
    created: bool
    warnings: Sequence[RuleWarning] = ()


def put(manager: Manager, actor: str, name: str, files: Sequence[RuleFile], if_match: str | None) -> Stored:
    """Check the files and make them the live version of the rule set; equal content changes nothing.

    Raises Problem 412 (the live version is another than if_match says) and 422 (refused signatures).
    """
    content = domain.canonical(name, files)
    digest = domain.digest_of(content)
    with manager.database.reading() as session:
        live = rule_sets.live(session, name)
        _check_match(name, live, if_match)
        if live is not None and live.digest == digest:
            session.expunge(live)
            return Stored(live, created=False)
    report = _checked(manager, files)
    if report.refused:
        raise _refused(name, report.loaded, report.refused, replaces=live is not None)
    if not report.signatures:
        raise Problem(422, "The rule set is empty", f"{name!r} holds no signature. Send at least one.")
    with manager.changing(actor) as change:
        live = rule_sets.live(change.session, name)
        _check_match(name, live, if_match)
        if live is not None and live.digest == digest:
            return Stored(live, created=False)
        version = rule_sets.add_version(
            change.session, name, digest, content, report.signatures, change.at, actor
        )
        change.session.flush()
        change.note("rule-set.put", name, version=version.version, digest=digest, signatures=version.loaded)
        for appliance in appliances.active(change.session):
            guests = policies.guests_settings(change.session, appliance.id)
            if name in referenced(defaults_of(appliance), guests):
                change.publish(appliance, f"rule set {name} version {version.version}")
        return Stored(version, created=True, warnings=report.warnings)


def _checked(manager: Manager, files: Sequence[RuleFile]) -> CheckReport:
    try:
        return manager.check([(file.name, file.text.encode()) for file in files])
    except ImportError as error:
        raise Problem(
            503,
            "Rule sets cannot be checked",
            f"The packet engine is not installed ({error}); nothing unchecked is accepted. Build it.",
        ) from error


def _check_match(name: str, live: RuleSetVersion | None, if_match: str | None) -> None:
    if if_match is None:
        return
    current = "" if live is None else live.digest
    if if_match != current and not (if_match == "*" and live is not None):
        raise Problem(
            412,
            "The rule set has changed",
            f"{name!r} is {f'at version {live.version}' if live else 'not there'}; its ETag is not the one "
            "in If-Match. Get it again and decide anew.",
        )


def _refused(name: str, loaded: int, refused: Sequence[RefusedRule], *, replaces: bool) -> Problem:
    listed = [{"file": r.file, "line": r.line, "sid": r.sid, "reason": r.reason[:1_000]} for r in refused]
    first = refused[0]
    kept = "The live version stays" if replaces else "Nothing was stored"
    return Problem(
        422,
        "The rule set is refused",
        f"{len(refused)} of {loaded + len(refused)} signatures in {name!r} do not load, the first in "
        f"{first.file} line {first.line}: {first.reason[:300]}. {kept}; correct or remove them and send the "
        "whole set again.",
        refused=listed,
        refused_count=len(refused),
        loaded=loaded,
    )
