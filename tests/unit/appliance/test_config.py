"""`sekisho.yaml` is read strictly: every error names the file and the key."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config import (
    Config,
    HelperConfig,
    InspectorConfig,
    ManagerConfig,
    MetricsConfig,
    SpoolConfig,
    read_config,
)
from appliance.model.faults import PolicyError

GOOD = """\
guests: guests.yaml
state_dir: state
netns: sekisho-br
manager:
  url: https://127.0.0.1:8443
  ca_fingerprint: "{}"
  token_file: token
inspector: {{source: native, queues: 2}}
""".format("ab" * 32)


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "sekisho.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, GOOD))
    assert config.guests == str(tmp_path / "guests.yaml")
    assert config.spool_dir == tmp_path / "state" / "spool"
    assert config.manager is not None and config.manager.token_file == str(tmp_path / "token")
    assert config.spool.max_bytes == 1 << 30
    assert read_config(written(tmp_path, "guests: /etc/g.yaml")).guests == "/etc/g.yaml"


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("sekisho.yaml: .*unknown field `guest`", "guest: x"),
        ("sekisho.yaml: manager: .*unknown field `uri`", "guests: g\nmanager: {uri: x}"),
        ("sekisho.yaml: inspector.queues: .*int", "guests: g\ninspector: {queues: two}"),
        ("sekisho.yaml: inspector.queues: must be 1 to 8", "guests: g\ninspector: {queues: 9}"),
        ("sekisho.yaml: inspector.source: .*pcap", "guests: g\ninspector: {source: pcap}"),
        (
            "sekisho.yaml: inspector.source: must be native",
            "guests: g\nbackend: nft-bridge\ninspector: {source: netfilterqueue}",
        ),
        ("sekisho.yaml: spool.max_bytes: must be", "guests: g\nspool: {max_bytes: 1}"),
        ("metrics.listen: must be ADDRESS:PORT", "guests: g\nmetrics: {listen: '9478'}"),
        ("metrics.listen: must be ADDRESS:PORT", "guests: g\nmetrics: {listen: '127.0.0.1:99999'}"),
        ("metrics.listen: must be ADDRESS:PORT", "guests: g\nmetrics: {listen: 'run/metrics.sock'}"),
        ("sekisho.yaml: netns: must be", "guests: g\nnetns: ../x"),
        ("sekisho.yaml: state_dir: must be at most 92 bytes", f"guests: g\nstate_dir: /{'x' * 92}"),
        ("manager.url: must be an https", GOOD.replace("https", "http")),
        ("manager.ca_fingerprint: must be", GOOD.replace("abab", "zzab")),
        ("manager.token: must be only one", GOOD.replace("token_file: token", "token_file: t\n  token: s")),
        ("missing required field `guests`", "{}"),
        ("not YAML", "guests: ["),
        ("longer than", b"#" * (1 << 20) + b"\n"),
    ],
)
def test_refuses_naming_file_and_key(names: str, text: str | bytes, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=names):
        read_config(written(tmp_path, text))


@given(st.one_of(st.binary(max_size=80), st.integers(0, len(GOOD)).map(lambda end: GOOD[:end].encode())))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    try:
        read_config(written(tmp_path_factory.mktemp("config"), text))
    except PolicyError as error:
        assert "sekisho.yaml: " in str(error)


def test_the_documented_example_is_read_and_names_every_setting() -> None:
    path = Path(__file__).resolve().parents[3] / "docs" / "sekisho.yaml"
    config = read_config(path)
    text = path.read_text()
    shapes = (Config, HelperConfig, ManagerConfig, InspectorConfig, MetricsConfig, SpoolConfig)
    missing = [f.name for shape in shapes for f in msgspec.structs.fields(shape) if f"{f.name}:" not in text]
    assert missing == []
    assert (config.inspector, config.spool) == (InspectorConfig(), SpoolConfig()), "it shows the defaults"
