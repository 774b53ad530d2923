"""`sekisho diagnostics` beside a real appliance: what is in it and what is not, also with control dead."""

import signal
import tarfile
from pathlib import Path

import pytest

from appliance import lab
from tests.manager_fixture import RunningManager
from tests.netns.control_fixture import Appliance, appliance_in, ordinary_policy

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)


def collected(appliance: Appliance, name: str) -> dict[str, str]:
    """Return the archive's files."""
    archive = appliance.directory / name
    done = appliance.cli("diagnostics", str(archive))
    assert done.returncode == 0, done.stderr
    with tarfile.open(archive) as tar:
        files = {each.name.split("/", 1)[1]: tar.extractfile(each) for each in tar.getmembers()}
        return {name: file.read().decode() for name, file in files.items() if file is not None}


def test_all_is_in_it_but_secrets_and_traffic_also_with_control_dead(
    running_lab: lab.LabSettings, manager: RunningManager, tmp_path: Path
) -> None:
    with appliance_in(tmp_path, running_lab, manager) as appliance:
        appliance.start()
        appliance.in_step()
        ordinary_policy(appliance)
        appliance.send("/evil?pass=hunter2")
        alive = collected(appliance, "alive.tar.gz")
        appliance.end(signal.SIGKILL)
        dead = collected(appliance, "dead.tar.gz")
    secrets = [(appliance.state / "identity/key.pem").read_text(), "ske_", "hunter2", "PRIVATE KEY"]
    for files in (alive, dead):
        assert "chain" in files["network/rules.nft"] and "sekisho" in files["network/rules.nft"]
        assert '"web"' in files["status.json"] and '"rule_sets"' in files["engine.json"]
        assert "policy-applied" in files["events.jsonl"]
        assert not [each for each in secrets if each in "".join(files.values())]
    assert "VmRSS" in alive["processes.txt"]
    assert "does not run" in dead["processes.txt"]
