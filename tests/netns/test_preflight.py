"""`sekisho preflight` in a namespace with other people's firewalls."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from appliance import lab
from appliance.cli import main
from appliance.netns import run_in


@pytest.fixture
def config(running_lab: lab.LabSettings, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "sekisho.yaml"
    document = {
        "guests": str(running_lab.guests_yaml.absolute()),
        "netns": running_lab.bridge_netns,
        "backend": "br-netfilter",
    }
    path.write_text(yaml.safe_dump(document))
    yield path
    run_in(running_lab.bridge_netns, ["nft", "flush", "ruleset"])


WHAT = "nft list ruleset; ip -d link show type bridge | grep -o 'nf_call_[a-z0-9]* [01]'; "
WHAT += "sysctl -a -r net.bridge"


def look(config: Path) -> Result:
    return CliRunner().invoke(main, ["preflight", "--config", str(config)])


def everything(netns: str) -> str:
    """Return all that it speaks of, as the kernel has it."""
    return run_in(netns, ["sh", "-c", WHAT])


def test_names_what_would_change_and_changes_nothing(config: Path, running_lab: lab.LabSettings) -> None:
    before = everything(running_lab.bridge_netns)
    done = look(config)
    assert done.exit_code == 0, done.output
    assert f"bridge {running_lab.bridge}: nf_call_iptables 0 becomes 1" in done.output
    assert f"bridge {running_lab.bridge}: is told which addresses are behind its guests' ports" in done.output
    assert "sysctl net.bridge.bridge-nf-filter-vlan-tagged: 0 becomes 1" in done.output
    assert "sysctl net.netfilter.nf_conntrack_timestamp: 0 becomes 1" in done.output
    assert everything(running_lab.bridge_netns) == before


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        (["iptables -P FORWARD DROP"], "chain FORWARD of table ip filter drops what it does not know"),
        (
            ["ip6tables -A FORWARD -j REJECT"],
            "chain FORWARD of table ip6 filter drops or rejects (in FORWARD)",
        ),
        (
            ["iptables -N DEEP", "iptables -A DEEP -s 10.0.0.0/8 -j DROP", "iptables -A FORWARD -j DEEP"],
            "drops or rejects (in DEEP)",
        ),
        (
            [
                "nft add table inet other",
                "nft add chain inet other f { type filter hook forward priority 0; policy drop; }",
            ],
            "chain f of table inet other",
        ),
    ],
)
def test_refuses_where_another_firewall_would_catch_bridged_packets(
    config: Path, running_lab: lab.LabSettings, commands: list[str], said: str
) -> None:
    for command in commands:
        run_in(running_lab.bridge_netns, command.split())
    done = look(config)
    assert done.exit_code == 1, done.output
    assert "refused: " in done.output and said in done.output


def test_minds_no_firewall_that_only_judges_other_hooks(config: Path, running_lab: lab.LabSettings) -> None:
    for command in ("iptables -P INPUT DROP", "iptables -A FORWARD -j ACCEPT"):
        run_in(running_lab.bridge_netns, command.split())
    assert look(config).exit_code == 0
