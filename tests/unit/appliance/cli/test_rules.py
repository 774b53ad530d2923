"""`rules check` and `replay` as people call them: exit status, JSON form, where files go."""

import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

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
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"loaded": 1, "refused": [], "warnings": []})


def checked(*arguments: str | Path) -> dict[str, Any]:
    result = CliRunner().invoke(main, ["rules", "check", "--json", *map(str, arguments)])
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def test_check_warns_of_what_loads_and_is_not_done(tmp_path: Path) -> None:
    path = tmp_path / "warned.rules"
    options = [
        "classtype:odd; sid:1;",
        "reference:odd,1; sid:2;",
        "filestore; sid:3;",
        "dns.query; dataset:set,s,type string,save learned.lst; sid:4;",
        "dns.query; dataset:set,t,type string,state learned.lst; sid:5;",
        "classtype:trojan-activity; reference:URL,example.com; reference:mcafee,1; sid:6;",
    ]
    protocols = ["tcp", "tcp", "http", "dns", "dns", "tcp"]
    lines = [f"alert {p} any any -> any any ({o})\n" for p, o in zip(protocols, options, strict=True)]
    path.write_text("".join(lines))
    config = tmp_path / "threshold.config"
    rate = "track by_src, count 1, seconds 60, new_action drop, timeout 9"
    config.write_text(
        "suppress gen_id 1, sig_id 1\nsuppress gen_id 1, sig_id 99\n"
        f"rate_filter gen_id 1, sig_id 1, {rate}\nrate_filter gen_id 1, sig_id 1, {rate}\n"
    )
    report = checked(path, config)
    assert (report["loaded"], report["refused"]) == (6, [])
    found = [(Path(w["file"]).name, w["line"], w["sid"]) for w in report["warnings"]]
    expected = [("warned.rules", n, n) for n in range(1, 6)]
    assert found == [*expected, ("threshold.config", 2, 99), ("threshold.config", 4, 1)]
    text = CliRunner().invoke(main, ["rules", "check", str(path)])
    assert (text.exit_code, text.stdout.count(": warning: ")) == (0, 5)


@pytest.mark.parametrize(
    ("said", "content"),
    [
        ("it is not text", b"\x7fELF\x02\x01\x01\x00" + b"\n\x00x" * 500),
        ("it is UTF-16", GOOD.encode("utf-16")),
        ("its lines end with CR alone", b"# old\r" + GOOD.replace("\n", "\r").encode() * 2),
        ("unpack it, or give it to `sekisho rules update --bundle`", b"PK\x03\x04\x14\0\0\0"),
    ],
)
def test_check_says_once_that_a_file_holds_no_rules(tmp_path: Path, said: str, content: bytes) -> None:
    path = tmp_path / "odd.rules"
    path.write_bytes(content)
    (refused,) = checked(path)["refused"]
    assert said in refused["reason"]


def test_a_line_whose_end_is_read_in_two_parts_does_not_end_with_cr_alone(rules: Path) -> None:
    rules.write_bytes(b"#".ljust(4_095, b"x") + b"\r\n" + GOOD.encode())
    assert checked(rules)["refused"] == []
    rules.write_bytes(GOOD.rstrip("\n").encode() + b"\r")
    assert checked(rules)["refused"] == []


def test_the_mark_that_editors_put_before_utf8_is_passed_over(rules: Path) -> None:
    rules.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert checked(rules) == {"loaded": 1, "refused": [], "warnings": []}


def test_rules_that_gzip_packed_are_read_and_archives_named(tmp_path: Path) -> None:
    packed = tmp_path / "a.rules.gz"
    packed.write_bytes(gzip.compress(GOOD.encode()))
    assert checked(packed) == {"loaded": 1, "refused": [], "warnings": []}
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as archive:
        archive.add(packed, "rules/a.rules")
    (refused,) = checked(tmp_path / "b.tar.gz")["refused"]
    assert "it is an archive" in refused["reason"]


def test_few_bytes_that_unpack_to_very_many_end_as_one_refusal(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.rules.gz"
    with gzip.open(bomb, "wb", 1) as file:
        for _ in range(257):
            file.write(b"\n" * (1 << 20))
    (refused,) = checked(bomb)["refused"]
    assert "longer than 268435456 bytes" in refused["reason"]


def test_a_directory_of_rules_is_refused_with_the_way_out(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["rules", "check", str(tmp_path)])
    assert (result.exit_code, f"name the files in it: {tmp_path}/*.rules" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("said", "options"),
    [
        ("the closing quote is missing; a ';' within quotes is written '\\;'", 'msg:"a;b"; content:"a"'),
        ("the closing quote is missing", 'msg:"a"; content:"a;b"'),
        ("the closing quote is missing", 'msg:"a"; pcre:"/a;b/"'),
        ("a ';' is missing behind the closing quote", 'content:"a" nocase'),
        ("is a ';' missing?", 'content:"a"; nocase depth:5'),
        ("at offset 3:", 'pcre:"/a(b/"'),
        ("no scripts are run", "lua:a.lua"),
        ("data set", "geoip:src,DE"),
        ("data set", "iprep:src,A,>,1"),
        ("drop or reject", 'content:"a"; replace:"b"'),
        ("'strng' is none of the types string,", "dns.query; dataset:isset,a,type strng,load x"),
        ("'sets' is none of isset,", "dns.query; dataset:sets,a,type string"),
        ("file 'x': No such file", "dns.query; dataset:isset,a,type string,load x"),
    ],
)
def test_a_refusal_says_the_reason_and_the_way_out(tmp_path: Path, said: str, options: str) -> None:
    path = tmp_path / "a.rules"
    path.write_text(f"alert ip any any -> any any ({options}; sid:1;)\n")
    (refused,) = checked(path)["refused"]
    assert said in refused["reason"]


def test_what_stands_in_threshold_config_is_no_rule_and_says_where_it_belongs(tmp_path: Path) -> None:
    path = tmp_path / "thresholds.conf"
    path.write_text("suppress gen_id 1, sig_id 1\n")
    (refused,) = checked(path)["refused"]
    assert "--threshold-config" in refused["reason"]


def test_a_rate_filter_that_drops_can_block(rules: Path, tmp_path: Path) -> None:
    rules.write_text(GOOD)
    config = tmp_path / "threshold.config"
    rate = "rate_filter gen_id 1, sig_id 1, track by_src, count 9, seconds 9, new_action {}, timeout 9\n"
    for action, blocking in (("drop", 1), ("pass", 0)):
        config.write_text(rate.format(action))
        result = CliRunner().invoke(main, ["rules", "check", str(rules), str(config)])
        assert f"{blocking} of the loaded can block" in result.stdout


def test_rules_may_name_variables_that_are_given(tmp_path: Path) -> None:
    path = tmp_path / "a.rules"
    path.write_text("alert udp $MINE $MY_PORTS -> $HTTP_SERVERS $HTTP_PORTS (sid:1;)\n")
    given = ["--var", "MINE=10.0.0.1", "--var", "MY_PORTS=[1024:,!2000]", "--var", "HTTP_SERVERS=$MINE"]
    assert checked(path)["loaded"] == 0
    assert checked(path, *given)["loaded"] == 1
    datagrams(tmp_path / "a.pcap", 1)
    arguments = ["replay", "--rules", str(path), "--pcap", str(tmp_path / "a.pcap"), "--out", str(tmp_path)]
    for ports, expected in (("80", 0), ("[80,1280]", 1)):
        some = ["--var", f"HTTP_PORTS={ports}", "--var", "HTTP_SERVERS=any", *given[:4]]
        assert CliRunner().invoke(main, [*arguments, *some]).exit_code == 0
        assert alerts(tmp_path) == expected


@pytest.mark.parametrize("given", ["A", "A=", "=1", "HTTP_PORTS=10.0.0.1", "HOME_NET=80", "A=$B"])
def test_a_variable_that_stands_for_nothing_is_refused(rules: Path, given: str) -> None:
    result = CliRunner().invoke(main, ["rules", "check", str(rules), "--var", given])
    assert result.exit_code in (1, 2)
    assert given.split("=")[0] in result.stderr


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


def test_a_capture_that_gzip_packed_is_read(rules: Path, tmp_path: Path) -> None:
    rules.write_text('alert udp any any -> any any (content:"x"; sid:1;)\n')
    datagrams(tmp_path / "a.pcap", 3)
    captures = tmp_path / "captures"
    captures.mkdir()
    (captures / "a.pcap.gz").write_bytes(gzip.compress((tmp_path / "a.pcap").read_bytes()))
    arguments = ["replay", "--rules", str(rules), "--pcap", str(captures), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert alerts(tmp_path / "out" / "a.pcap.gz") == 3


def test_several_captures_are_all_inspected_each_with_its_own_events(rules: Path, tmp_path: Path) -> None:
    rules.write_text('alert udp any any -> any any (content:"x"; sid:1;)\n')
    (tmp_path / "below").mkdir()
    for name, count in (("a.pcap", 1), ("b.pcap", 2), ("below/c.pcap", 3)):
        datagrams(tmp_path / name, count)
    given = [str(tmp_path / name) for name in ("a.pcap", "b.pcap", "below")]
    arguments = ["replay", "--rules", str(rules), "--out", str(tmp_path / "out"), "--pcap", *given]
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, "3 of 3 captures inspected" in result.stderr) == (0, True), result.output
    written = {name: alerts(tmp_path / "out" / name) for name in ("a.pcap", "b.pcap", "below/c.pcap")}
    assert written == {"a.pcap": 1, "b.pcap": 2, "below/c.pcap": 3}


def test_a_capture_is_called_as_it_was_given_whatever_it_links_to(rules: Path, tmp_path: Path) -> None:
    datagrams(tmp_path / "a.pcap", 1)
    given = [tmp_path / "monday.pcap", tmp_path / "tuesday.pcap"]
    for path in given:
        path.symlink_to(tmp_path / "a.pcap")
    arguments = ["replay", "--rules", str(rules), "--out", str(tmp_path / "out"), "--pcap", *map(str, given)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["monday.pcap", "tuesday.pcap"]


def test_captures_of_one_name_do_not_write_over_each_other(rules: Path, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    given = [tmp_path / "a.pcap", tmp_path / "below" / "a.pcap"]
    for path in given:
        datagrams(path, 1)
    arguments = ["replay", "--rules", str(rules), "--out", str(tmp_path / "out"), "--pcap", *map(str, given)]
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, "both would write below" in result.stderr) == (1, True)
    assert not (tmp_path / "out").exists()


def test_replay_says_that_no_signature_loaded(rules: Path, tmp_path: Path) -> None:
    rules.write_text("# none\n")
    datagrams(tmp_path / "a.pcap", 1)
    arguments = ["replay", "--rules", str(rules), "--pcap", str(tmp_path / "a.pcap"), "--out", str(tmp_path)]
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, "no signature loaded" in result.stderr) == (0, True)


def test_replay_inspects_what_precedes_a_torn_record(rules: Path, tmp_path: Path) -> None:
    rules.write_text('alert udp any any -> any any (content:"x"; sid:1;)\n')
    capture = tmp_path / "torn.pcap"
    datagrams(capture, 3)
    capture.write_bytes(capture.read_bytes() + bytes(8) + b"\xff\xff\xff\x7f" * 2)
    arguments = ["replay", "--rules", str(rules), "--pcap", str(capture), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, alerts(tmp_path / "out")) == (0, 3)
    assert "torn.pcap" in result.stderr and "the 3 packets before were inspected" in result.stderr
