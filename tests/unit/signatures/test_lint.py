"""What each of our own signatures must say of itself, and the cases that prove it."""

import re
from collections import Counter
from datetime import date
from urllib.parse import unquote_to_bytes

import pytest

from appliance.lab.definitions import AttackFile, load_attacks
from tests.tools import cases
from tests.tools.signatures import SIGNATURES, Signature, read_all

KEYWORDS = """
msg reference classtype sid rev gid priority metadata flow flowbits urilen bsize dsize isdataat
content nocase depth offset distance within startswith endswith fast_pattern pcre
http.method http.uri http.uri.raw http.request_line http.request_body http.host http.user_agent http.cookie
http.content_type http.header http.header.raw http.header_names http.stat_code
"""
CLASSTYPES = {
    "attempted-admin",
    "attempted-user",
    "web-application-attack",
    "attempted-recon",
    "attempted-dos",
}
SHORT_FAST_PATTERNS = {
    # Where nothing longer is in every form of the exploit; everyday requests rarely hold these.
    b"${", b"7b", b"%7b", b"24{", b"()", b"%2e", b"%2%", b"%{", b"/${", b"[#", b"%23", b"?-", b"%ad",
    b"\x00\x03\x01",
}  # fmt: skip
ALL = read_all()
CASES = {case.name: case for case in cases.read_all()}


each = pytest.mark.parametrize("signature", ALL, ids=lambda s: str(s.sid))


def silent_cases(signature: Signature) -> list[cases.Written]:
    return [c for c in CASES.values() if c.rules.resolve() == signature.file and c.name.endswith("near-miss")]


def test_sids_are_unique() -> None:
    assert [sid for sid, count in Counter(s.sid for s in ALL).items() if count > 1] == []


@each
def test_sid_is_in_our_range(signature: Signature) -> None:
    assert 9_000_001 <= signature.sid <= 9_099_999
    assert int(signature.one("rev")) >= 1


@each
def test_uses_known_keywords_only(signature: Signature) -> None:
    assert {key for key, _ in signature.options} <= set(KEYWORDS.split())


@each
def test_message_names_the_thing_in_one_line(signature: Signature) -> None:
    message = signature.one("msg").strip('"')
    assert re.fullmatch(r"SEKISHO [A-Za-z0-9][A-Za-z0-9 .,_()/+-]{10,90}[A-Za-z0-9)]", message), message
    assert [s.sid for s in ALL if s.one("msg") == signature.one("msg")] == [signature.sid]


@each
def test_names_its_cve_for_people_and_for_selection(signature: Signature) -> None:
    cves = [value.removeprefix("cve,") for value in signature.all("reference") if value.startswith("cve,")]
    assert cves and all(re.fullmatch(r"\d{4}-\d{4,7}", cve) for cve in cves)
    assert signature.metadata["cve"] == ["CVE_" + cve.replace("-", "_") for cve in cves]


@each
def test_metadata_is_complete(signature: Signature) -> None:
    metadata = signature.metadata
    created, updated = (
        date.fromisoformat(metadata[key][0].replace("_", "-")) for key in ("created_at", "updated_at")
    )
    assert created <= updated
    assert metadata["licence"] == ["Apache_2_0"] and metadata["provenance"] == ["sekisho"]
    assert all(re.fullmatch(r"\w+", value) for key in ("product", "service") for value in metadata[key])
    assert signature.one("classtype") in CLASSTYPES


@each
def test_flow_is_established_and_has_a_direction(signature: Signature) -> None:
    if " udp " not in signature.text[:12]:
        assert signature.one("flow") in {"established,to_server", "established,to_client"}


@each
def test_fast_pattern_is_chosen_and_selective(signature: Signature) -> None:
    fast = signature.fast_pattern
    assert len(fast) >= 4 or fast.lower() in SHORT_FAST_PATTERNS, fast


@each
def test_expression_follows_a_content(signature: Signature) -> None:
    names = [key for key, _ in signature.options]
    if "pcre" in names:
        assert "content" in names[: names.index("pcre")]


@each
def test_fires_in_a_case(signature: Signature) -> None:
    assert [c.name for c in CASES.values() if c.rules.resolve() == signature.file and c.alerts[signature.sid]]


@each
def test_has_a_near_miss_that_holds_its_fast_pattern(signature: Signature) -> None:
    near = silent_cases(signature)
    assert near and not any(case.alerts for case in near)
    seen = b"".join(case.pcap.read_bytes() for case in near).lower()
    fast = signature.fast_pattern.lower()
    assert fast in seen or fast in unquote_to_bytes(seen), fast


@pytest.mark.parametrize("file", load_attacks(), ids=lambda f: f.stem)
def test_attack_file_is_sound(file: AttackFile) -> None:
    ours = {s.sid for s in ALL if s.file == SIGNATURES / file.attack.signatures}
    assert {request.kind for request in file.attack.requests} >= {"ordinary", "exploit", "near-miss"}
    for request in file.attack.requests:
        hostile = request.kind in {"exploit", "obfuscated"}
        assert bool(request.sids) == hostile, request.name
        assert set(request.sids) <= ours, request.name


def test_every_signature_file_is_in_the_readme() -> None:
    readme = (SIGNATURES / "README.md").read_text()
    assert [f.name for f in SIGNATURES.glob("*.rules") if f"`{f.name}`" not in readme] == []


def test_log4shell_expressions_share_their_definitions() -> None:
    found = [
        re.search(r"\(\?\(DEFINE\).*?\(\?<w>.*?\)\*\)\)", s.text) for s in ALL if s.file.stem == "log4shell"
    ]
    assert len({match[0] for match in found if match}) == 1
