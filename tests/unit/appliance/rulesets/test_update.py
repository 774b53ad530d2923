"""`rules update` against a real suricata-update, our engine and a real manager; no network."""

import json
import random
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from appliance.cli.main import main
from appliance.rulesets import check_files
from appliance.rulesets.store import RuleSetStore
from appliance.rulesets.update import compare, sift
from tests.manager_fixture import running_manager

_engine = pytest.importorskip(
    "appliance._engine", reason="the packet engine is not built", exc_type=ImportError
)
needs_program = pytest.mark.skipif(
    shutil.which("suricata-update") is None, reason="suricata-update is not installed; make deps does"
)
ONE = 'alert tcp any any -> any any (msg:"one"; content:"one"; sid:1; rev:{rev};)'
TWO = 'alert tcp any any -> any any (msg:"two"; content:"two"; sid:2; rev:1;)'
BAD = 'alert tcp any any -> any any (msg:"bad"; nonsense:1; sid:3; rev:1;)'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with a rule directory `local`, a `config` without filters, and a `data` directory."""
    for name in ("local", "config"):
        (tmp_path / name).mkdir()
    rules(tmp_path, ONE.format(rev=1), TWO)
    return tmp_path


def rules(site: Path, *lines: str) -> None:
    (site / "local" / "site.rules").write_text("".join(f"{line}\n" for line in lines))


def run(site: Path, *arguments: str) -> Result:
    fixed = ["--data-dir", str(site / "data"), "--config-dir", str(site / "config")]
    return CliRunner().invoke(main, ["rules", "update", *fixed, *arguments])


def report(site: Path, *arguments: str) -> dict[str, Any]:
    result = run(site, "--local", str(site / "local"), "--json", *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.output)
    return found


def sids(changes: list[dict[str, Any]]) -> list[int]:
    return [change["sid"] for change in changes]


@needs_program
def test_says_what_was_added_removed_changed_and_newly_refused(site: Path) -> None:
    out = ("--output", str(site / "live.rules"))
    assert sids(report(site, *out)["added"]) == [1, 2]
    rules(site, ONE.format(rev=2), TWO.replace("content", "no-such-keyword"), BAD)
    second = report(site, *out)
    assert sids(second["changed"]) == [1]
    assert sids(second["removed"]) == [2]
    assert sids(second["newly_refused"]) == [2]
    assert sorted(sids(second["refused"])) == [2, 3]
    assert second["loaded"] == 1
    assert report(site, *out)["changed"] == []


@needs_program
def test_a_data_directory_may_be_named_from_where_one_is(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(site)
    assert sids(report(site, "--data-dir", "here", "--output", "live.rules")["added"]) == [1, 2]
    assert (site / "here").is_dir()


@needs_program
def test_a_dry_run_and_strict_change_nothing(site: Path) -> None:
    out = site / "live.rules"
    report(site, "--output", str(out), "--dry-run")
    assert not out.exists()
    rules(site, ONE.format(rev=1), BAD)
    result = run(site, "--local", str(site / "local"), "--output", str(out), "--strict")
    assert result.exit_code == 1
    assert "nothing was changed" in result.output
    assert "nonsense" in result.output
    assert not out.exists()


@needs_program
def test_the_filters_of_suricata_update_apply(site: Path) -> None:
    (site / "config" / "disable.conf").write_text("2\n")
    (site / "config" / "drop.conf").write_text("1\n")
    out = site / "live.rules"
    assert sids(report(site, "--output", str(out))["added"]) == [1]
    (signature,) = check_files([("live.rules", out.read_bytes())]).signatures
    assert signature.action == "drop"


@needs_program
def test_a_directory_of_archives_is_a_mirror(site: Path) -> None:
    mirror = site / "mirror"
    mirror.mkdir()
    with tarfile.open(mirror / "site.tar.gz", "w:gz") as archive:
        archive.add(site / "local" / "site.rules", "rules/site.rules")
    result = run(site, "--bundle", str(mirror), "--output", str(site / "live.rules"), "--json")
    assert result.exit_code == 0, result.output
    assert sids(json.loads(result.output)["added"]) == [1, 2]


LISTED = "alert dns any any -> any any (dns.query; dataset:isset,bad,type string,load bad.lst; sid:5; rev:1;)"


def with_data(site: Path, data: str) -> tuple[str, str]:
    """Make an archive of a rule and the data set that it names; return the option that takes it."""
    (site / "local" / "site.rules").write_text(f"{LISTED}\n{ONE.format(rev=1)}\n")
    (site / "local" / "bad.lst").write_text(data)
    with tarfile.open(site / "site.tar.gz", "w:gz") as archive:
        archive.add(site / "local", "rules")
    return ("--bundle", str(site / "site.tar.gz"))


@needs_program
def test_data_sets_are_written_beside_the_rules_that_name_them(site: Path) -> None:
    live = site / "live"
    live.mkdir()
    to = ("--output", str(live / "live.rules"), "--json")
    first = json.loads(run(site, *with_data(site, "ZXZpbA==\n"), *to).output)
    assert (sids(first["added"]), first["refused"]) == ([1, 5], [])
    (data,) = (live / "datasets").iterdir()
    assert data.read_text() == "ZXZpbA==\n"
    assert _engine.Rules([str(live / "live.rules")]).refused() == []
    assert json.loads(run(site, *with_data(site, "ZXZpbA==\n"), *to).output)["changed"] == []
    second = json.loads(run(site, *with_data(site, "Z29vZA==\n"), *to).output)
    assert sids(second["changed"]) == [5]
    (data,) = (live / "datasets").iterdir()
    assert data.read_text() == "Z29vZA==\n"


@needs_program
def test_data_that_cannot_be_read_goes_with_its_rule(site: Path) -> None:
    result = run(site, *with_data(site, "no, such\n"), "--output", str(site / "live.rules"), "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert (sids(found["added"]), sids(found["refused"])) == ([1], [5])
    assert "line 1: 'no, such' is not" in found["refused"][0]["reason"]
    assert not (site / "datasets").exists()


@needs_program
def test_a_rule_of_ones_own_that_cannot_be_read_is_refused(site: Path) -> None:
    rules(
        site,
        TWO,
        "alrt tcp any any -> any any (sid:7;)",
        "alert tcp any any -> any any (sid:8;",
        ONE.format(rev=1).replace("sid:1;", ""),
    )
    result = run(
        site, "--local", str(site / "local"), "--output", str(site / "live.rules"), "--json", "--strict"
    )
    found = json.loads(result.stdout)
    assert (result.exit_code, found["loaded"], sids(found["added"])) == (1, 1, [2])
    assert [(rule["line"], rule["sid"]) for rule in found["refused"]] == [(2, 7), (3, 8), (4, None)]
    assert "unknown action 'alrt'" in found["refused"][0]["reason"]


@needs_program
def test_a_byte_order_mark_costs_no_rule_unnoticed(site: Path) -> None:
    (site / "local" / "site.rules").write_text(f"\ufeff{ONE.format(rev=1)}\n{TWO}\n")
    result = run(site, "--local", str(site / "local"), "--output", str(site / "live.rules"), "--json")
    found = json.loads(result.stdout)
    assert sids(found["added"]) + sids(found["refused"]) in ([2, 1], [1, 2])


@needs_program
def test_a_filter_that_cannot_be_read_is_named(site: Path) -> None:
    rules(site, TWO)
    (site / "config").mkdir(exist_ok=True)
    (site / "config" / "disable.conf").write_text("notasid\n")
    result = run(site, "--local", str(site / "local"), "--output", str(site / "live.rules"))
    assert result.exit_code == 0, result.output
    assert "notasid" in result.stderr
    assert "does not exist" not in result.stderr


@needs_program
def test_a_rule_whose_data_is_not_there_is_named(site: Path) -> None:
    rules(site, LISTED.replace("bad.lst", "/nowhere/bad.lst"), TWO)
    result = run(site, "--local", str(site / "local"), "--output", str(site / "live.rules"))
    assert result.exit_code == 0
    assert "/nowhere/bad.lst' was not found" in result.stderr
    assert "sid:5" in result.stderr or "1:5" in result.stderr


@needs_program
def test_a_source_of_an_index_is_fetched_and_then_served_offline(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = site / "site.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(site / "local" / "site.rules", "rules/site.rules")
    source = {"summary": "ours", "vendor": "us", "license": "MIT", "url": archive.as_uri(), "checksum": False}
    (site / "index.yaml").write_text(json.dumps({"version": 1, "sources": {"site/rules": source}}))
    monkeypatch.setenv("SOURCE_INDEX_URL", (site / "index.yaml").as_uri())
    asked = ("--source", "site/rules", "--output", str(site / "live.rules"), "--json")
    assert sids(json.loads(run(site, *asked).output)["added"]) == [1, 2]
    archive.unlink()
    again = run(site, *asked, "--offline")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["loaded"] == 2


@needs_program
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--local", "nowhere"], "nowhere: no such file or directory"),
        (["--bundle", "."], "no archive"),
        (["--bundle", "local/site.rules"], "rule files go to --local"),
        (["--url", "http://127.0.0.1:1/x.tar.gz"], "suricata-update update failed"),
        (["--bundle", "archives/cut.tar.gz"], "cut.tar.gz: cannot be unpacked"),
        (["--bundle", "archives/empty.tar.gz"], "empty.tar.gz: there is no file in it"),
        (["--bundle", "archives/latin.zip"], "latin.zip: site.rules:2: not UTF-8"),
        (["--source", "no/such", "--offline"], "mistyped, or was never fetched"),
    ],
)
def test_what_cannot_be_fetched_is_an_error_that_names_it(
    site: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(site)
    archives = site / "archives"
    archives.mkdir()
    (site / "chance").write_bytes(random.Random(1).randbytes(1 << 17))
    with tarfile.open(archives / "cut.tar.gz", "w:gz") as tar:
        tar.add("chance")
    with (archives / "cut.tar.gz").open("r+b") as cut:
        cut.truncate(1 << 16)
    tarfile.open(archives / "empty.tar.gz", "w:gz").close()
    with zipfile.ZipFile(archives / "latin.zip", "w") as packed:
        packed.writestr("site.rules", ONE.format(rev=1).encode() + b"\n# caf\xe9\n")
    result = run(site, *arguments, "--output", "live.rules")
    assert result.exit_code == 1
    assert said in result.output
    assert not (site / "live.rules").exists()


def test_without_a_place_to_put_rules_it_asks_for_one(site: Path) -> None:
    result = run(site, "--local", str(site / "local"))
    assert result.exit_code == 2
    assert "--output" in result.output


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--manager", "http://127.0.0.1:1", "--key-file", "key"], "write https://HOST:PORT"),
        (["--config-dir", "elsewhere", "--output", "live.rules"], "elsewhere: no such directory"),
        (["--threshold-config", "key", "--output", "live.rules"], "--threshold-config goes to a manager"),
    ],
)
def test_neither_shows_the_key_to_the_network_nor_forgets_what_was_given(
    site: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], said: str
) -> None:
    monkeypatch.chdir(site)
    (site / "key").write_text("secret")
    result = run(site, "--local", "local", *given)
    assert (result.exit_code, said in result.output) == (2, True), result.output


@needs_program
def test_pushes_to_a_real_manager_and_only_what_changed(site: Path, tmp_path: Path) -> None:
    (tmp_path / "manager").mkdir()
    with running_manager(tmp_path / "manager") as manager:
        key = site / "key"
        key.write_text(manager.key)
        to = ("--manager", f"https://127.0.0.1:{manager.port}", "--key-file", str(key))
        to += ("--ca", str(manager.data_dir / "ca.pem"), "--rule-set", "site")
        assert report(site, *to)["applied"]
        assert manager.operator.get("/rule-sets/site").json()["signatures"] == 2
        report(site, *to)
        assert manager.operator.get("/rule-sets/site").json()["version"] == 1
        rules(site, ONE.format(rev=2), TWO, BAD)
        changed = report(site, *to)
        assert sids(changed["changed"]) == [1]
        assert sids(changed["refused"]) == [3]
        assert manager.operator.get("/rule-sets/site").json()["version"] == 2
        thresholds = site / "mine.config"
        thresholds.write_text("suppress gen_id 1, sig_id 1\nnonsense\n")
        report(site, *to, "--threshold-config", str(thresholds))
        rules(site, ONE.format(rev=3), TWO)
        report(site, *to)
        assert manager.operator.get("/rule-sets/site").json()["version"] == 4
        content = manager.operator.get("/rule-sets/site/versions/4").json()
        kept = {file["name"]: file["text"] for file in content["files"]}
        assert "# refused: unknown keyword" in kept["threshold.config"], (
            "what is live stays without the option"
        )


@needs_program
def test_data_sets_reach_the_appliance(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "manager").mkdir()
    with running_manager(tmp_path / "manager") as manager:
        key = site / "key"
        key.write_text(manager.key)
        to = ("--manager", f"https://127.0.0.1:{manager.port}", "--key-file", str(key))
        to += ("--ca", str(manager.data_dir / "ca.pem"), "--rule-set", "site", "--json")
        pushed = run(site, *with_data(site, "ZXZpbA==\n"), *to)
        assert json.loads(pushed.output)["applied"], pushed.output
        again = run(site, *with_data(site, "ZXZpbA==\n"), *to)
        assert sids(json.loads(again.output)["changed"]) == []
        live = manager.operator.get("/rule-sets/site").json()
        assert (live["version"], live["signatures"]) == (1, 2)
        content = manager.operator.get("/rule-sets/site/versions/1").content
    store = RuleSetStore(tmp_path / "store")
    store.put(live["digest"], content)
    files = store.files(live["digest"])
    assert (check_files(files).loaded, check_files(files).refused) == (2, ())
    policy: dict[str, Any] = {"format": 1, "version": 1, "generation": 1, "guests": [], "segments": []}
    paths = [str(Path(path).relative_to(tmp_path)) for path, _ in files]
    policy["rule_sets"] = [{"name": "site", "files": paths}]
    (tmp_path / "engine.json").write_text(json.dumps(policy))
    monkeypatch.chdir(tmp_path)
    settings = {"queues": 1, "spool_max_bytes": 1 << 20, "memory_max_bytes": 64 << 20}
    inspector = _engine.Inspector(str(tmp_path / "spool"), json.dumps(settings))
    said = json.loads(inspector.load(str(tmp_path / "engine.json")))
    assert (said["loaded"], said["refused"]) == (2, [])


def test_sifting_keeps_line_numbers_and_says_why() -> None:
    text = f"{ONE.format(rev=1)}\n{BAD}\n{TWO}\n".encode()
    sifted = sift([("a.rules", text)])
    assert [s.sid for s in sifted.report.signatures] == [1, 2]
    assert [r.line for r in sifted.refused] == [2]
    assert b"# refused: " in sifted.files[0][1].split(b"\n")[1]


def test_sifting_takes_a_rule_of_several_lines_out_whole() -> None:
    text = f"{BAD.replace('; sid', '; ' + chr(92) + chr(10) + '  sid')}\n{TWO}\n".encode()
    sifted = sift([("a.rules", text)])
    assert [s.sid for s in sifted.report.signatures] == [2]
    assert sifted.report.refused == ()


@given(
    st.lists(
        st.sampled_from([ONE.format(rev=1), ONE.format(rev=2), TWO, BAD, "#", "", "(", "\\"]), max_size=8
    )
)
def test_whatever_is_sifted_loads_whole(lines: list[str]) -> None:
    sifted = sift([("a.rules", "\n".join(lines).encode())])
    assert sifted.report.refused == ()


def test_a_rule_set_does_not_differ_from_itself() -> None:
    files = (("a.rules", f"{ONE.format(rev=1)}\n{TWO}".encode()),)
    whole = (check_files(files), files)
    assert compare(whole, whole, ()).is_empty


def test_says_how_a_rule_changed_that_kept_its_rev() -> None:
    old = (("a.rules", TWO.encode()),)
    new = (("a.rules", TWO.replace("alert", "drop", 1).encode()),)
    (change,) = compare((check_files(old), old), (check_files(new), new), ()).changed
    assert (change.old_action, change.new_action) == ("alert", "drop")
