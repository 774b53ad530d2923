"""Rule sets: validated whole before they are accepted, versioned, never changed once live."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from appliance.model.policy import Mode, RuleFile, Selection
from appliance.rulesets import SelectionError
from manager_api.auth import Managed, Operator, Viewer
from manager_api.domain import rule_sets as domain
from manager_api.operations import rule_sets as operation
from manager_api.problems import Problem, not_found
from manager_api.routes.answers import PutRuleSetAnswer, RuleRemark, RuleSetAnswer, problems
from manager_api.routes.bodies import RuleSetBody, RuleSetName
from manager_api.store import rule_sets

router = APIRouter(prefix="/rule-sets", tags=["rule sets"], responses=problems(401, 403))
MAX_WARNINGS, MAX_REASON = 1_000, 1_000
VersionNumber = Annotated[int, Path(ge=1, lt=2**31)]
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": RuleSetBody.model_json_schema(ref_template="#/components/schemas/{model}"),
                "example": {
                    "files": [{"name": "local.rules", "text": "drop http any any -> any any (sid:1;)"}]
                },
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}}
                    },
                }
            },
        },
    }
}


async def _files(request: Request) -> list[RuleFile]:
    """Return the files of a JSON or a multipart body. Raises Problem, RequestValidationError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _uploaded(request)
    if kind == "application/json":
        raw = await request.body()
        return await run_in_threadpool(_from_json, raw)
    raise Problem(
        415, "The body's type is not known",
        f"{kind or 'No Content-Type'}: send application/json or multipart/form-data.",
    )  # fmt: skip


async def _uploaded(request: Request) -> list[RuleFile]:
    files = []
    async with request.form(max_files=domain.MAX_FILES, max_fields=10) as form:
        for _field, part in form.multi_items():
            if isinstance(part, UploadFile):
                files.append(
                    {"name": part.filename or "", "text": _decoded(part.filename, await part.read())}
                )
    return _checked({"files": files})


def _from_json(raw: bytes) -> list[RuleFile]:
    try:
        return _checked(msgspec.json.decode(raw))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Problem(
            400, "The body is not JSON", f'{error}. Send {{"files": [{{"name", "text"}}]}}.'
        ) from error


def _checked(body: Any) -> list[RuleFile]:
    try:
        files = RuleSetBody.model_validate(body).files
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**e, "loc": ("body", *e["loc"])} for e in found]) from error
    names = [file.name for file in files]
    names += {name.partition("/")[0] for name in names if "/" in name}
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise Problem(
            422,
            "The rule set is refused",
            f"There are several files or folders named {repeated[0]!r}. Name each differently.",
        )
    return [RuleFile(file.name, file.text) for file in files]


def _decoded(name: str | None, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Problem(
            422, "The rule set is refused",
            f"File {name!r} is not UTF-8 at byte {error.start}. Convert it, for instance with iconv.",
        ) from error  # fmt: skip


@router.put(
    "/{name}",
    status_code=201,
    summary="Make a rule set live",
    openapi_extra=_BODY,
    responses=problems(412, 413, 422, replaced="equal to the live version, which stays"),
)
def put(
    who: Operator,  # first, so that nobody's body is read who may not send one
    name: RuleSetName,
    files: Annotated[list[RuleFile], Depends(_files)],
    manager: Managed,
    response: Response,
    if_match: Annotated[
        str | None, Header(max_length=200, description="ETag of the version to replace.")
    ] = None,
) -> PutRuleSetAnswer:
    """Checks every signature; if one is refused nothing changes and the answer lists each with its line.

    Every appliance to which the rule set is assigned gets the new version at once.
    """
    wanted = None if if_match is None else if_match.strip('"')
    stored = operation.put(manager, who.actor, name, files, wanted)
    response.status_code = 201 if stored.created else 200
    answer = _answer(stored.version, response)
    remarks = [
        RuleRemark(file=each.file, line=each.line, sid=each.sid, reason=each.reason[:MAX_REASON])
        for each in stored.warnings[:MAX_WARNINGS]
    ]
    return PutRuleSetAnswer(**dict(answer), warnings=remarks)


@router.get("", summary="All rule sets")
def everything(manager: Managed, _who: Viewer) -> list[RuleSetAnswer]:
    """The live version of each, by name."""
    with manager.database.reading() as session:
        return [RuleSetAnswer.of(row) for row in rule_sets.all_live(session)]


@router.get("/{name}", summary="A rule set's live version", responses=problems(404))
def one(name: RuleSetName, manager: Managed, _who: Viewer, response: Response) -> RuleSetAnswer:
    """Its ETag can be sent with a later PUT."""
    with manager.database.reading() as session:
        live = rule_sets.live(session, name)
        if live is None:
            raise _missing(name)
        return _answer(live, response)


@router.get("/{name}/versions", summary="A rule set's versions", responses=problems(404))
def versions(name: RuleSetName, manager: Managed, _who: Viewer) -> list[RuleSetAnswer]:
    """Newest first."""
    with manager.database.reading() as session:
        rows = rule_sets.versions(session, name)
    if not rows:
        raise _missing(name)
    return [RuleSetAnswer.of(row) for row in rows]


@router.get("/{name}/versions/{version}", summary="One version's content", responses=problems(404))
def content(name: RuleSetName, version: VersionNumber, manager: Managed, _who: Viewer) -> Response:
    """RuleSetContent: `{name, files: [{name, text}]}`; its `files` can be sent in a PUT to go back to it."""
    with manager.database.reading() as session:
        row = rule_sets.version(session, name, version)
        found = None if row is None else rule_sets.content(session, row.digest)
    if found is None:
        raise not_found("version", f"{name} {version}", f"GET /api/v1/rule-sets/{name}/versions lists them.")
    return Response(found, media_type="application/json")


@router.get("/{name}/signatures", summary="What a selection takes", responses=problems(404, 422))
def signatures(
    name: RuleSetName,
    manager: Managed,
    _who: Viewer,
    mode: Annotated[Mode, Query(description="Count what can block under this mode.")] = Mode.PREVENT,
    filter: Annotated[str | None, Query(max_length=2_000, examples=["cve:* and severity<=1"])] = None,
    limit: Annotated[int, Query(ge=0, le=10_000)] = 100,
) -> dict[str, Any]:
    """How many live signatures a filter takes, how many of those can block under a mode, and the first."""
    with manager.database.reading() as session:
        live = rule_sets.live(session, name)
        if live is None:
            raise _missing(name)
        known = rule_sets.signatures(session, live.digest)
    try:
        taken = domain.selected(Selection(filter=filter), known)
    except SelectionError as error:
        raise Problem(422, "The filter cannot be used", str(error)) from error
    return {
        "version": live.version,
        "mode": mode.value,
        "taken": len(taken),
        "can_block": domain.count_blocking(taken, mode),
        "signatures": msgspec.to_builtins(taken[:limit]),
    }


def _answer(row: Any, response: Response) -> RuleSetAnswer:
    response.headers["ETag"] = f'"{row.digest}"'
    return RuleSetAnswer.of(row)


def _missing(name: str) -> Problem:
    return not_found("rule set", name, "GET /api/v1/rule-sets lists those there are.")
