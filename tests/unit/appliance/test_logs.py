"""What is said of each guest is bounded; with a real journald its fields arrive."""

import json
import logging
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from appliance.logs import GUEST_BURST, GuestLimit, about

JOURNALD = Path("/lib/systemd/systemd-journald")
ROOT = Path(__file__).resolve().parents[3]


def record(guest: str | None = None) -> logging.LogRecord:
    made = logging.LogRecord("sekisho", logging.WARNING, __file__, 1, "%d frames", (3,), None)
    made.__dict__.update(about(guest=guest) if guest else {})
    return made


def test_a_guest_that_is_noisy_silences_itself_alone() -> None:
    now_s = [0.0]
    limit = GuestLimit(lambda: now_s[0])
    assert [limit.filter(record("web")) for _ in range(GUEST_BURST + 5)].count(True) == GUEST_BURST
    assert limit.filter(record("other"))
    assert all(limit.filter(record()) for _ in range(3 * GUEST_BURST))
    now_s[0] = 5.0
    late = record("web")
    assert limit.filter(late)
    assert late.getMessage() == "3 frames (5 lines about guest web were left out)"
    assert not limit.filter(record("web"))


@pytest.mark.skipif(not JOURNALD.exists(), reason="this machine has no systemd-journald")
@pytest.mark.netns
def test_journald_gets_priority_and_fields(tmp_path: Path) -> None:
    """A journald of our own, in a mount namespace whose /run is ours."""
    (tmp_path / "says.py").write_text(
        textwrap.dedent("""\
            import logging
            from appliance import logs
            logs.set_up("sekisho")
            log = logging.getLogger("sekisho")
            log.warning("two\\nlines", extra=logs.about(notice="guard", guest="web", frames=3))
            """)
    )
    script = f"""\
        set -e
        mount -t tmpfs tmpfs /run
        mkdir -p /run/systemd/journal /run/log
        {JOURNALD} & journald=$!
        trap 'kill $journald; wait $journald || true' EXIT
        for try in $(seq 100); do [ -S /run/systemd/journal/stdout ] && break; sleep 0.1; done
        PYTHONPATH={ROOT} systemd-cat sh -c \
            'JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec {sys.executable} {tmp_path}/says.py'
        for try in $(seq 100); do
            journalctl -q -D /run/log/journal -o json SEKISHO_GUEST=web >{tmp_path}/found || true
            [ -s {tmp_path}/found ] && break
            sleep 0.1
        done
        """
    subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "bash", "-c", textwrap.dedent(script)],
        check=True,
        timeout=60,
        capture_output=True,
    )
    found = json.loads((tmp_path / "found").read_text().splitlines()[0])
    wanted = {"MESSAGE": "two\nlines", "PRIORITY": "4", "SYSLOG_IDENTIFIER": "sekisho", "SEKISHO_FRAMES": "3"}
    assert {key: found[key] for key in wanted} == wanted
    assert found["_TRANSPORT"] == "journal"
