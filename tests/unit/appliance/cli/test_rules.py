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
    assert "2 of 3 captures inspected" in result.stderr.partition("signatures are ready")[2]
    written = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("eve.json"))
    assert written[-2:] == ["below/good.pcap/eve.json", "below/without-suffix/eve.json"]
    alone = [*arguments[:4], str(captures / "broken.pcap"), *arguments[5:]]
    assert CliRunner().invoke(main, alone).exit_code == 1


def test_check_names_the_line_of_a_threshold_that_cannot_be_read(rules: Path, tmp_path: Path) -> None:
    rules.write_text(GOOD)
    config = tmp_path / "thresholds.txt"
    config.write_text("# mine\nsuppress gen_id 1, sig_id 1\nsuppress gen_id 1 sig_id 2\n")
    arguments = ["rules", "check", str(rules), "--threshold-config", str(config), "--json"]
    result = CliRunner().invoke(main, arguments)
    report = json.loads(result.stdout)
    assert (result.exit_code, report["loaded"]) == (1, 1)
    assert [(r["file"], r["line"]) for r in report["refused"]] == [(str(config), 3)]


def datagrams(path: Path, count: int) -> None:
    """Write a capture of raw IP packets a second apart, each a UDP datagram that says x."""
    packet = bytes.fromhex("45 00 00 1d 00 00 40 00 40 11 00 00 0a000001 0a000002 0400 0500 0009 0000") + b"x"
    record = [
        n.to_bytes(4, "little") + bytes(4) + len(packet).to_bytes(4, "little") * 2 for n in range(count)
    ]
    header = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 ffff0000 65000000")
    path.write_bytes(header + b"".join(head + packet for head in record))


def alerts(out: Path) -> int:
    return sum('"event_type":"alert"' in line for line in (out / "eve.json").read_text().splitlines())


@pytest.mark.parametrize(
    ("expected", "config"),
    [
        (9, ""),
        (0, "suppress gen_id 1, sig_id 1"),
        (0, "suppress gen_id 1, sig_id 0, track by_src, ip $HOME_NET"),
        (9, "suppress gen_id 1, sig_id 1, track by_dst, ip [10.0.0.1,10.0.1.0/24]"),
        (2, "threshold gen_id 1, sig_id 1, type limit, track by_src, count 2, seconds 60"),
        (3, "event_filter gen_id 0, sig_id 0, type threshold, track by_rule, count 3, seconds 60"),
        (2, "rate_filter gen_id 1, sig_id 1, track by_src, count 2, seconds 60, new_action pass, timeout 60"),
    ],
)
def test_replay_speaks_as_often_as_threshold_config_says(tmp_path: Path, expected: int, config: str) -> None:
    (tmp_path / "a.rules").write_text('alert udp any any -> any any (content:"x"; sid:1;)\n')
    (tmp_path / "threshold.config").write_text(config)
    datagrams(tmp_path / "a.pcap", 9)
    arguments = ["replay", "--pcap", str(tmp_path / "a.pcap"), "--out", str(tmp_path / "out")]
    arguments += ["--rules", str(tmp_path / "a.rules")]
    option = CliRunner().invoke(main, [*arguments, "--threshold-config", str(tmp_path / "threshold.config")])
    assert (option.exit_code, alerts(tmp_path / "out")) == (0, expected)
    by_name = CliRunner().invoke(main, [*arguments, str(tmp_path / "threshold.config")])
    assert (by_name.exit_code, alerts(tmp_path / "out")) == (0, expected)


def test_replay_inspects_what_precedes_a_torn_record(rules: Path, tmp_path: Path) -> None:
    rules.write_text('alert udp any any -> any any (content:"x"; sid:1;)\n')
    capture = tmp_path / "torn.pcap"
    datagrams(capture, 3)
    capture.write_bytes(capture.read_bytes() + bytes(8) + b"\xff\xff\xff\x7f" * 2)
    arguments = ["replay", "--rules", str(rules), "--pcap", str(capture), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, alerts(tmp_path / "out")) == (0, 3)
    assert "torn.pcap" in result.stderr and "the 3 packets before were inspected" in result.stderr
