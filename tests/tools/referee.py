"""Ask Suricata, where it is installed, what it makes of captures: for developers, needed by nothing."""

import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

NETS = {"HOME_NET": "[192.168.0.0/16,10.0.0.0/8,172.16.0.0/12]", "EXTERNAL_NET": "!$HOME_NET"}


def count_alerts(eve: Path) -> Counter[int]:
    """Return how often each sid fired in an eve.json; a missing file is no alert."""
    seen: Counter[int] = Counter()
    if eve.exists():
        for line in eve.read_text(errors="replace").splitlines():
            record = json.loads(line)
            if record.get("event_type") == "alert":
                seen[record["alert"]["signature_id"]] += 1
    return seen


def suricata(rules: Path, pcap: Path, out: Path, *, ips: bool = False, any_nets: bool = False) -> str:
    """Inspect pcap (a file or a directory) into out; return Suricata's errors and warnings."""
    command = [
        "suricata",
        "-S",
        str(rules),
        "-r",
        str(pcap),
        "-l",
        str(out),
        "-k",
        "none",
        "--runmode",
        "single",
    ]
    if ips:
        command.append("--simulate-ips")
    if any_nets:
        command += [
            "--set",
            "vars.address-groups.HOME_NET=any",
            "--set",
            "vars.address-groups.EXTERNAL_NET=any",
        ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("E:", "W:"))]
    return "\n".join(said)


def judge(rules: Path, pcap: Path, *, ips: bool = False, any_nets: bool = False) -> tuple[Counter[int], str]:
    """Return the alerts per sid, and what Suricata complained of."""
    with tempfile.TemporaryDirectory() as out:
        said = suricata(rules, pcap, Path(out), ips=ips, any_nets=any_nets)
        return count_alerts(Path(out, "eve.json")), said


def main(argv: Sequence[str]) -> int:
    """Compare every case, or those whose name holds an argument, with Suricata; return 1 if one differs."""
    from tests.tools.cases import read_all

    differing = 0
    for case in read_all():
        if argv and not any(part in case.name for part in argv):
            continue
        got, said = judge(case.rules, case.pcap, ips=case.ips)
        if got != case.suricata or said:
            differing += 1
            print(f"{case.name}: expected {dict(case.suricata)}, Suricata {dict(sorted(got.items()))} {said}")
    print(f"{differing} cases differ")
    return 1 if differing else 0


if __name__ == "__main__":
    import sys

    raise SystemExit(main(sys.argv[1:]))
