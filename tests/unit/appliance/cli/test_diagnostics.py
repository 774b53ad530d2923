"""`sekisho diagnostics` where nothing runs, or nothing is as it should be."""

import json
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli import diagnostics
from appliance.cli.main import main


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of an appliance that never ran; without root, who would see more."""
    monkeypatch.setattr(diagnostics, "needs_root", lambda: None)
    path = tmp_path / "sekisho.yaml"
    path.write_text(
        "guests: guests.yaml\nstate_dir: state\n"
        "manager: {url: 'https://m:8443', ca_fingerprint: 'sha256:00', token: ske_secret}\n"
    )
    return path


def collect(config: Path) -> tuple[Result, dict[str, str]]:
    """Return how the command ended, and the archive's files."""
    archive = config.parent / "out.tar.gz"
    result = CliRunner().invoke(main, ["diagnostics", "--config", str(config), str(archive)])
    if not archive.exists():
        return result, {}
    with tarfile.open(archive) as tar:
        files = {each.name.split("/", 1)[1]: tar.extractfile(each) for each in tar.getmembers()}
        return result, {name: file.read().decode() for name, file in files.items() if file is not None}


def test_what_is_not_there_is_named_and_the_rest_collected(config: Path) -> None:
    result, files = collect(config)
    assert result.exit_code == 0
    assert "status.json" in files["missing.txt"] and "status.json" in result.output
    assert "Linux" in files["machine/uname.txt"]
    assert (config.parent / "out.tar.gz").stat().st_mode & 0o777 == 0o600


def test_a_token_is_left_out_and_the_rest_of_the_configuration_is_not(config: Path) -> None:
    _, files = collect(config)
    assert "https://m:8443" in files["sekisho.yaml"]
    assert "ske_secret" not in "".join(files.values())


def test_a_broken_configuration_is_no_reason_not_to_collect(config: Path) -> None:
    config.write_text("token: ske_secret\n  guests: [")
    result, files = collect(config)
    assert result.exit_code == 0
    assert "machine/uname.txt" in files and "sekisho.yaml" in files["missing.txt"]
    assert "ske_secret" not in "".join(files.values())


def test_a_file_that_is_there_is_not_overwritten(config: Path) -> None:
    (config.parent / "out.tar.gz").write_text("mine")
    result = CliRunner().invoke(
        main, ["diagnostics", "--config", str(config), str(config.parent / "out.tar.gz")]
    )
    assert result.exit_code == 1 and "File exists" in result.output
    assert (config.parent / "out.tar.gz").read_text() == "mine"


def test_a_process_that_ends_while_it_is_asked_for_does_not_run(tmp_path: Path) -> None:
    status = tmp_path / "status.json"
    for _ in range(30):
        with subprocess.Popen(["true"]) as process:
            ended = threading.Thread(target=process.wait)
            ended.start()
            named = {"pid": process.pid}
            status.write_text(json.dumps({**named, "inspector": named, "watchdog": named}))
            while diagnostics._processes(status).count("does not run") < 3:
                pass
            ended.join()
