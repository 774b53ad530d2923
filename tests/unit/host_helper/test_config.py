"""host.yaml, and the sample of it that is shipped."""

from pathlib import Path

import pytest

from appliance.model.faults import PolicyError
from host_helper.config import read_config

ROOT = Path(__file__).resolve().parents[3]
PAIR = "pair: {appliance: s, segments: [{bridge: br0, pairs: [p1, p2]}]}\n"


def test_the_sample_is_one() -> None:
    config = read_config(ROOT / "docs/host.yaml")
    assert config.pair is not None and config.listen is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("state_dir: x\n", "one of pair, trunk and host"),
        (PAIR + "host: {guests_file: g, segments: []}\n", "one of pair, trunk and host"),
        (PAIR.replace("p2", "p1"), "twice"),
        (PAIR.replace("p2", "'a b'"), "no interface name"),
        (PAIR + "unknown: 1\n", "unknown"),
        (PAIR + "listen: {address: a, clients: {x: [disks]}}\n", "disks"),
    ],
)
def test_refuses_with_the_reason(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "host.yaml"
    path.write_text(text)
    with pytest.raises(PolicyError, match=said):
        read_config(path)
