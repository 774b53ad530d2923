"""`rules check` and `replay` as people call them: exit status, JSON form, where files go."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli import main

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)

GOOD = 'alert tcp any any -> any any (msg:"good"; content:"x"; sid:1; rev:1;)\n'
BAD = 'alert tcp any any -> any any (msg:"bad"; nonsense:1; sid:2; rev:1;)\n'


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "test.rules"
    path.write_text(GOOD + BAD)
    return path


def test_check_prints_what_is_refused_as_json_and_exits_1(rules: Path) -> None:
    result = CliRunner().invoke(main, ["rules", "check", str(rules), "--json"])
    report = json.loads(result.stdout)
    assert (result.exit_code, report["loaded"]) == (1, 1)
    (refused,) = report["refused"]
    assert set(refused) == {"file", "line", "sid", "reason"}
    assert (refused["file"], refused["line"], refused["sid"]) == (str(rules), 2, 2)
    assert "nonsense" in refused["reason"]


def test_check_exits_0_when_all_loads(tmp_path: Path) -> None:
    path = tmp_path / "good.rules"
    path.write_text(GOOD)
    result = CliRunner().invoke(main, ["rules", "check", str(path), "--json"])
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"loaded": 1, "refused": []})


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"alert", b"(" * 10_000, b"alert tcp any any" + b"\\\n" * 9]
)
def test_check_survives_any_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hostile.rules"
    path.write_bytes(content)
    result = CliRunner().invoke(main, ["rules", "check", str(path), "--json"])
    assert result.exit_code in (0, 1)
    assert json.loads(result.stdout)["loaded"] == 0


def test_missing_file_is_named_without_traceback(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["rules", "check", str(tmp_path / "none.rules")])
    assert result.exit_code == 1
    assert "none.rules: No such file" in result.stderr
    assert "Traceback" not in result.output


def test_replay_of_a_missing_capture_says_so(rules: Path, tmp_path: Path) -> None:
    arguments = ["replay", "--rules", str(rules), "--pcap", str(tmp_path / "no.pcap"), "--out", str(tmp_path)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "no.pcap: no such file" in result.stderr


def test_replay_of_a_directory_inspects_the_rest_when_a_capture_is_broken(
    rules: Path, tmp_path: Path
) -> None:
    captures = tmp_path / "captures" / "below"
    captures.mkdir(parents=True)
    header = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 ffff0000 01000000")
    (captures / "good.pcap").write_bytes(header)
    (captures / "without-suffix").write_bytes(header)
    (captures / "broken.pcap").write_bytes(b"nonsense")
    (captures / "notes.txt").write_text("no capture")
    arguments = [
        "replay",
        "--rules",
        str(rules),
        "--pcap",
        str(captures.parent),
        "--out",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("broken.pcap") == 1
    assert "2 of 3 captures inspected" in result.stderr
    written = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("eve.json"))
    assert written[-2:] == ["below/good.pcap/eve.json", "below/without-suffix/eve.json"]
    alone = [*arguments[:4], str(captures / "broken.pcap"), *arguments[5:]]
    assert CliRunner().invoke(main, alone).exit_code == 1
