"""EVE as Suricata writes it: the same keys and values for the same captures, but for what is listed here.

`pytest -s tests/corpora/test_eve.py` prints every difference. It is slow, since Suricata starts once a
capture, so one capture in EVERY is taken; SEKISHO_EVE_EVERY=1 takes all.
"""

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.corpora.test_signatures import CORPORA
from tests.tools import engine, eve, referee

EVERY = int(os.environ.get("SEKISHO_EVE_EVERY", "24"))
# What differs on purpose, or is not known here, and why: (event type, key). docs/eve.md says it at length.
LISTED = {
    ("flow", "flow.reason"): "Suricata's flow manager runs by the wall clock, ours by the capture's",
    ("flow", "tcp.ts_max_regions"): "how Suricata's buffers were cut",
    ("flow", "tcp.tc_max_regions"): "how Suricata's buffers were cut",
    ("flow", "app_proto"): "a datagram too short to tell what it is has failed for Suricata",
    ("alert", "app_proto"): "likewise",
    ("fileinfo", "fileinfo.sha256"): "computed without being asked for",
    ("alert", "files[].sha256"): "computed without being asked for",
}
# Keys that every record has: a difference here breaks whoever reads the records.
COMMON = frozenset(
    {"event_type", "src_ip", "src_port", "dest_ip", "dest_port", "proto", "vlan[]", "icmp_type", "icmp_code",
     "app_proto", "alert.action", "alert.gid", "alert.signature_id", "alert.rev", "alert.signature",
     "alert.category", "alert.severity", "direction", "tunnel.src_ip", "tunnel.depth", "tunnel.proto",
     "metadata.flowbits[]", "flow.src_ip", "flow.dest_ip", "flow.src_port", "flow.dest_port"}
)  # fmt: skip
# Their parsers do not exist here, so what Suricata says of these flows and transactions we cannot.
UNPARSED = frozenset({"mqtt", "rfb", "nfs", "http2", "rdp", "telnet", "modbus", "bittorrent-dht", "pgsql"})

pytestmark = pytest.mark.corpora


def test_records_have_suricata_s_keys_and_values(tmp_path: Path) -> None:
    if shutil.which("suricata") is None:
        pytest.skip("suricata is not installed here")
    folders = sorted(path.parent for path in (CORPORA / "cases").rglob("input.pcap"))
    if not folders:
        pytest.skip(f"no captures at {CORPORA} (set SEKISHO_CORPORA)")
    found: Counter[tuple[str, str, str]] = Counter()
    for number, folder in enumerate(folders[::EVERY]):
        found += compared(folder, tmp_path / str(number))
    unlisted = {key: count for key, count in found.items() if key[:2] not in LISTED}
    for (kind, key, how), count in sorted(unlisted.items()):
        print(f"{kind:10} {key or 'records':40} {how:8} {count}")
    assert {it for it in unlisted if it[1] in COMMON} == set()


def compared(folder: Path, out: Path) -> Counter[tuple[str, str, str]]:
    """Return the differences of one case."""
    theirs, ours = out / "theirs", out / "ours"
    theirs.mkdir(parents=True)
    ours.mkdir()
    ips = bool(json.loads((folder / "expect.json").read_text()).get("ips"))
    rules, capture = folder / "test.rules", folder / "input.pcap"
    referee.suricata(rules, capture, theirs, ips=ips)
    engine.replay([rules], [(capture, ours / "eve.json")], ips=ips, any_nets=False)
    both = eve.records(ours / "eve.json"), eve.records(theirs / "eve.json")
    known = ([it for it in side if not ({it["event_type"], it.get("app_proto")} & UNPARSED)] for side in both)
    return eve.differences(*known)
