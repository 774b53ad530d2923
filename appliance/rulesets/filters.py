"""The filter of an assignment: which signatures of a rule set it takes.

    cve:* and severity<=1
    classtype:web-* and not (msg~"scan" or sid:2010000)
    metadata.affected_product:"Apache*" and action=drop

A comparison is FIELD OPERATOR VALUE. `:` matches a glob (`*`, `?`), `~` finds a part, `=` and `!=` compare
whole; all three ignore case. `<`, `<=`, `>`, `>=` compare numbers. A field that holds several values
(cve, metadata.KEY) matches when one of them does. `not` binds closer than `and`, `and` than `or`.
"""

import fnmatch
import operator
import re
from collections.abc import Callable
from functools import cache

from lark import Lark, Token, Transformer, UnexpectedInput, UnexpectedToken, v_args
from lark.exceptions import VisitError

from appliance.rulesets.check import Signature
from appliance.rulesets.selection import SelectionError

MAX_FILTER_LENGTH = 2_000
MAX_FILTER_DEPTH = 32
MAX_GLOB_STARS = 8  # each star multiplies the work of a failing match

Predicate = Callable[[Signature], bool]

NUMBER_FIELDS: dict[str, Callable[[Signature], int]] = {
    "sid": lambda s: s.sid,
    "gid": lambda s: s.gid,
    "rev": lambda s: s.rev,
    "severity": lambda s: s.priority,
    "priority": lambda s: s.priority,
}
TEXT_FIELDS: dict[str, Callable[[Signature], tuple[str, ...]]] = {
    "cve": lambda s: s.cves,
    "classtype": lambda s: (s.classtype,),
    "action": lambda s: (s.action,),
    "protocol": lambda s: (s.protocol,),
    "msg": lambda s: (s.msg,),
    "file": lambda s: (s.file,),
}
METADATA_PREFIX = "metadata."

GRAMMAR = r"""
start: either
?either: both (_OR both)*      -> any_of
?both: unary (_AND unary)*     -> all_of
?unary: _NOT unary             -> negated
      | "(" either ")"         -> inner
      | comparison
comparison: FIELD OPERATOR (WORD | QUOTED)

FIELD.1: /[A-Za-z][A-Za-z0-9_.\-]*/
OPERATOR: /<=|>=|!=|==|[:~=<>]/
WORD: /[A-Za-z0-9_.*?\/+\-]+/
QUOTED: /"(?:[^"\\\n]|\\.)*"/
_OR.2: /or(?![\w.\-])/i
_AND.2: /and(?![\w.\-])/i
_NOT.2: /not(?![\w.\-])/i
%ignore /[ \t\r\n]+/
"""


def compile_filter(text: str) -> Predicate:
    """Return the filter as a function of a signature. Raises SelectionError.

    text: at most 2,000 characters, nested at most 32 deep.
    """
    if len(text) > MAX_FILTER_LENGTH:
        raise SelectionError(f"the filter has {len(text)} characters; at most {MAX_FILTER_LENGTH} are read")
    if _depth(text) > MAX_FILTER_DEPTH:
        raise SelectionError(f"the filter nests deeper than {MAX_FILTER_DEPTH}; write it flatter")
    try:
        predicate: Predicate = _ToPredicate().transform(_parser().parse(text))
    except UnexpectedInput as error:
        raise SelectionError(_where(text, error)) from None
    except VisitError as error:
        if isinstance(error.orig_exc, SelectionError):
            raise error.orig_exc from None
        raise
    return predicate


@cache
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", maybe_placeholders=False)


def _depth(text: str) -> int:
    """Return an upper bound of the nesting; quoted text is not looked into, so quotes are dropped first."""
    bare = re.sub(r'"(?:[^"\\\n]|\\.)*"', "", text)
    depth = deepest = 0
    for character in bare:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    return deepest + len(re.findall(r"\bnot\b", bare, re.IGNORECASE))


def _where(text: str, error: UnexpectedInput) -> str:
    position = error.pos_in_stream
    at_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
    if at_end or position is None or not 0 <= position < len(text):
        return f"the filter ends too early: {text!r}; a comparison such as severity<=1 is expected"
    return (
        f"the filter cannot be read at character {position + 1}, before {text[position : position + 20]!r}; "
        "a comparison is FIELD OPERATOR VALUE, such as cve:* or severity<=1"
    )


@v_args(inline=True)
class _ToPredicate(Transformer[Token, Predicate]):
    """Turns the syntax tree into one function."""

    def start(self, whole: Predicate) -> Predicate:
        return whole

    def inner(self, whole: Predicate) -> Predicate:
        return whole

    def any_of(self, *parts: Predicate) -> Predicate:
        return lambda signature: any(part(signature) for part in parts)

    def all_of(self, *parts: Predicate) -> Predicate:
        return lambda signature: all(part(signature) for part in parts)

    def negated(self, part: Predicate) -> Predicate:
        return lambda signature: not part(signature)

    def comparison(self, field: str, comparator: str, value: str) -> Predicate:
        name, sign, text = str(field).lower(), str(comparator), _unquote(str(value))
        if name in NUMBER_FIELDS:
            return _compare_number(name, sign, text)
        if name in TEXT_FIELDS:
            return _compare_text(name, TEXT_FIELDS[name], sign, text)
        if name.startswith(METADATA_PREFIX):
            key = name.removeprefix(METADATA_PREFIX)
            return _compare_text(name, lambda signature: _metadata(signature, key), sign, text)
        known = ", ".join((*sorted({*NUMBER_FIELDS, *TEXT_FIELDS}), "metadata.KEY"))
        raise SelectionError(f"a signature has no field {name!r}; fields are {known}")


def _metadata(signature: Signature, key: str) -> tuple[str, ...]:
    return tuple(v for name, values in signature.metadata.items() if name.lower() == key for v in values)


def _unquote(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _compare_number(name: str, sign: str, value: str) -> Predicate:
    comparisons: dict[str, Callable[[int, int], bool]] = {
        ":": operator.eq,
        "=": operator.eq,
        "==": operator.eq,
        "!=": operator.ne,
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
    }
    if sign not in comparisons:
        raise SelectionError(f"{name} is a number and cannot be compared by {sign}; use = or <=")
    if not re.fullmatch(r"[0-9]{1,10}", value):
        raise SelectionError(f"{name} is compared with {value!r}, which is no whole number")
    compare, field, number = comparisons[sign], NUMBER_FIELDS[name], int(value)
    return lambda signature: compare(field(signature), number)


def _compare_text(
    name: str, field: Callable[[Signature], tuple[str, ...]], sign: str, value: str
) -> Predicate:
    wanted = value.lower()
    match sign:
        case ":":
            glob = _glob(name, wanted)
            return lambda signature: any(glob(held.lower()) for held in field(signature))
        case "~":
            return lambda signature: any(wanted in held.lower() for held in field(signature))
        case "=" | "==":
            return lambda signature: any(wanted == held.lower() for held in field(signature))
        case "!=":
            return lambda signature: all(wanted != held.lower() for held in field(signature))
        case _:
            raise SelectionError(f"{name} is text and cannot be compared by {sign}; use : = != or ~")


def _glob(name: str, pattern: str) -> Callable[[str], bool]:
    if pattern.count("*") > MAX_GLOB_STARS:
        raise SelectionError(f"{name}: a pattern has at most {MAX_GLOB_STARS} stars")
    if name == "cve" and pattern not in ("", "*"):
        # References say `2021-44228`, people say `CVE-2021-44228`: both mean the same.
        stripped = _glob("cve without prefix", pattern.removeprefix("cve-"))
        return lambda held: stripped(held.removeprefix("cve-"))
    compiled = re.compile(fnmatch.translate(pattern.replace("[", "[[]")))
    return lambda held: compiled.match(held) is not None
