"""The filter grammar: what it picks, what it refuses, and that nothing but SelectionError comes out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.policy import Mode, Selection
from appliance.rulesets import SelectionError, Signature, can_block, select
from appliance.rulesets.filters import compile_filter

LOG4SHELL = Signature(
    sid=2034647,
    msg="ET EXPLOIT Apache log4j RCE Attempt (CVE-2021-44228)",
    action="alert",
    protocol="http",
    classtype="attempted-admin",
    priority=1,
    cves=("2021-44228",),
    metadata={"affected_product": ("Apache_HTTP_Server", "Log4j"), "signature_severity": ("Major",)},
)
SCAN = Signature(
    sid=2010000, msg="ET SCAN nmap", action="drop", protocol="tcp", classtype="web-scan", priority=3
)


@pytest.mark.parametrize(
    ("takes", "text"),
    [
        ({LOG4SHELL.sid}, "cve:*"),
        ({LOG4SHELL.sid}, "cve:CVE-2021-44228"),
        ({LOG4SHELL.sid}, "cve:2021-*"),
        ({LOG4SHELL.sid}, "cve:* and severity<=1"),
        (set(), "cve:* and severity>1"),
        ({SCAN.sid}, "not cve:*"),
        ({SCAN.sid}, 'msg~"NMAP"'),
        ({SCAN.sid}, "sid=2010000"),
        ({LOG4SHELL.sid}, "sid!=2010000"),
        ({LOG4SHELL.sid, SCAN.sid}, "cve:* or classtype:web-*"),
        ({LOG4SHELL.sid}, "classtype:attempted-* and not (msg~nmap or sid=1)"),
        ({LOG4SHELL.sid}, 'metadata.affected_product:"apache*"'),
        ({SCAN.sid}, "metadata.affected_product!=log4j"),
        ({SCAN.sid}, "action=DROP"),
        ({LOG4SHELL.sid}, "protocol=http"),
        ({SCAN.sid}, "not cve:* or cve:* and severity>1"),
        (set(), "(not cve:* or cve:*) and severity=2"),
    ],
)
def test_filter_takes_exactly(takes: set[int], text: str) -> None:
    predicate = compile_filter(text)
    assert {s.sid for s in (LOG4SHELL, SCAN) if predicate(s)} == takes


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("ends too early", ""),
        ("ends too early", "cve:* and"),
        ("cannot be read at character 5", "cve *"),
        ("cannot be read at character 7", "cve:* && severity<=1"),
        ("no field 'colour'", "colour:red"),
        ("no whole number", "severity<=high"),
        ("cannot be compared by ~", "sid~12"),
        ("cannot be compared by <", "msg<abc"),
        ("nests deeper", "(" * 40 + "cve:*" + ")" * 40),
        ("nests deeper", "not " * 40 + "cve:*"),
        ("at most 2000", "cve:* or " * 400 + "cve:*"),
        ("at most 8 stars", 'msg:"' + "*a" * 20 + '"'),
    ],
)
def test_refuses_with_reason(reason: str, text: str) -> None:
    with pytest.raises(SelectionError, match="(?s)" + reason):
        compile_filter(text)


def test_every_prefix_of_a_filter_reads_or_is_refused() -> None:
    text = 'cve:* and severity<=1 or not (msg~"a \\"b\\"" and metadata.x:"y*")'
    for end in range(len(text) + 1):
        try:
            compile_filter(text[:end])(LOG4SHELL)
        except SelectionError:
            continue


@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from(
                [
                    "cve",
                    "sid",
                    "msg",
                    ":",
                    "~",
                    "<=",
                    "=",
                    "*",
                    "1",
                    '"a"',
                    "and",
                    "or",
                    "not",
                    "(",
                    ")",
                    "metadata.x",
                ]
            ),
            max_size=30,
        ).map(" ".join),
    )
)
def test_any_text_reads_or_raises_selection_error(text: str) -> None:
    try:
        predicate = compile_filter(text)
    except SelectionError:
        return
    assert predicate(LOG4SHELL) in (True, False)


COMPARISONS = st.sampled_from(["cve:*", "sid=2010000", "severity<=1", 'msg~"et"', "action=drop"])


@given(COMPARISONS, COMPARISONS, st.sampled_from([LOG4SHELL, SCAN]))
def test_operators_are_those_of_logic(a: str, b: str, signature: Signature) -> None:
    left, right = compile_filter(a)(signature), compile_filter(b)(signature)
    assert compile_filter(f"{a} and {b}")(signature) == (left and right)
    assert compile_filter(f"{a} or {b}")(signature) == (left or right)
    assert compile_filter(f"not ({a} and {b})")(signature) == (not (left and right))
    assert compile_filter(f"not {a} and {b}")(signature) == ((not left) and right)


def test_selection_is_all_listed_or_filtered() -> None:
    both = (LOG4SHELL, SCAN)
    assert select(Selection(), both) is None
    assert select(Selection(sids=(5, 6)), both) == (5, 6)
    assert select(Selection(filter="cve:*"), both) == (LOG4SHELL.sid,)
    assert select(Selection(sids=(SCAN.sid,), filter="cve:*"), both) == ()


@pytest.mark.parametrize(
    ("blocks", "action", "mode"),
    [
        (False, "drop", Mode.OFF),
        (False, "drop", Mode.DETECT),
        (True, "drop", Mode.AS_WRITTEN),
        (True, "reject", Mode.AS_WRITTEN),
        (False, "alert", Mode.AS_WRITTEN),
        (True, "alert", Mode.PREVENT),
        (False, "pass", Mode.PREVENT),
    ],
)
def test_can_block(blocks: bool, action: str, mode: Mode) -> None:
    assert can_block(action, mode) is blocks
