"""Loading twice is loading once, taking away takes everything, and strangers' rules stay."""

import pytest

from appliance import steering
from appliance.lab.wire import Outcome
from appliance.model.faults import PolicyError, SystemFault
from appliance.model.policy import Firewall, FirewallRule
from appliance.netns import run_in
from appliance.steering.backend import SWITCHED_SYSCTLS
from tests.netns.kit import Bench, policy

STRANGER = "table inet stranger {\nchain c {\ntype filter hook forward priority 5\n}\n}\n"


def names(listing: str) -> list[str]:
    return [line for line in listing.splitlines() if line.startswith("table")]


def mangle(bench: Bench) -> list[str]:
    return [
        line
        for program in ("iptables", "ip6tables")
        for line in run_in(bench.netns, [program, "-t", "mangle", "-S"]).splitlines()
        if "SEKISHO" in line
    ]


def test_loading_twice_is_loading_once(bench: Bench) -> None:
    bench.apply(policy(), workers=2)
    once = mangle(bench)
    bench.apply(policy(), workers=2)
    assert mangle(bench) == once
    assert sum(line == "-A FORWARD -j SEKISHO" for line in once) == 2


def test_teardown_takes_everything_of_ours_and_nothing_else(bench: Bench) -> None:
    run_in(bench.netns, ["nft", "-f", "-"], STRANGER)
    run_in(bench.netns, ["iptables", "-t", "mangle", "-A", "FORWARD", "-s", "192.0.2.1", "-j", "ACCEPT"])
    bench.apply(policy())
    steering.teardown(bench.netns)
    steering.teardown(bench.netns)
    assert not [line for line in names(bench.listing()) if "sekisho" in line]
    assert mangle(bench) == []
    assert "table inet stranger {" in names(bench.listing())
    assert "192.0.2.1" in run_in(bench.netns, ["iptables", "-t", "mangle", "-S"])
    run_in(bench.netns, ["nft", "delete", "table", "inet", "stranger"])
    run_in(bench.netns, ["iptables", "-t", "mangle", "-F", "FORWARD"])


@pytest.mark.parametrize("found", [0, 1])
def test_teardown_leaves_the_kernels_switches_as_they_were_found(bench: Bench, found: int) -> None:
    def values() -> str:
        return run_in(bench.netns, ["cat", *map(str, SWITCHED_SYSCTLS.values())])

    for path in SWITCHED_SYSCTLS.values():
        run_in(bench.netns, ["sh", "-c", f"echo {found} > {path}"])
    before = values()
    for _ in range(2):
        bench.apply(policy())
    assert values() == "1\n1\n"
    steering.teardown(bench.netns)
    assert values() == before


def test_a_bad_policy_leaves_the_live_one(bench: Bench) -> None:
    bench.apply(policy())
    live = bench.listing()
    with pytest.raises(PolicyError):
        bench.apply(policy(firewall=Firewall((FirewallRule("deny", "in", peer="guest:none"),))))
    assert bench.listing() == live


def test_a_batch_the_kernel_refuses_leaves_the_live_one(bench: Bench) -> None:
    bench.apply(policy())
    live = bench.listing()
    ruleset = steering.Ruleset(
        '{"nftables": [{"flush": {"table": {"family": "inet", "name": "sekisho"}}}, {"add": {"rule": '
        '{"family": "inet", "table": "sekisho", "chain": "none", "expr": [{"drop": null}]}}}]}',
        *("*mangle\nCOMMIT\n",) * 2,
        bridges=(),
    )
    with pytest.raises(SystemFault, match="nft: "):
        steering.load(ruleset, bench.netns)
    assert bench.listing() == live


def test_a_jump_that_was_lost_comes_back(bench: Bench) -> None:
    bench.apply(policy())
    run_in(bench.netns, ["iptables", "-t", "mangle", "-D", "FORWARD", "-j", "SEKISHO"])
    bench.apply(policy())
    assert mangle(bench).count("-A FORWARD -j SEKISHO") == 2


def test_a_bypass_needs_nothing_but_the_kernel_and_ends_by_itself(bench: Bench) -> None:
    bench.apply(policy(), closed=True)
    assert bench.get(timeout_s=0.4).outcome is Outcome.TIMEOUT
    (bypassed,) = steering.bypass("web", 2, bench.netns)
    assert (bypassed.guest, bypassed.tap) == ("web", "web0")
    assert bench.get().outcome is Outcome.ANSWERED
    assert bench.counters().uninspected["bypass"].bytes > 0
    bench.apply(policy(), closed=True)
    assert bench.get().outcome is Outcome.ANSWERED  # a policy change does not end it
    for _ in range(40):
        if not steering.bypassed(bench.netns):
            break
        run_in(None, ["sleep", "0.1"])
    assert bench.get(timeout_s=0.4).outcome is Outcome.TIMEOUT


def test_a_bypass_can_be_prolonged_and_ended(bench: Bench) -> None:
    bench.apply(policy())
    steering.bypass(None, 10, bench.netns)
    assert {each.remaining_s > 500 for each in steering.bypass(None, 1000, bench.netns)} == {True}
    assert steering.bypass(None, 0, bench.netns) == ()


def test_a_bypass_without_rules_or_guest_says_so(bench: Bench) -> None:
    with pytest.raises(SystemFault, match="no ruleset of ours is loaded"):
        steering.bypass("web", 60, bench.netns)
    bench.apply(policy())
    with pytest.raises(PolicyError, match="there is no guest 'db'; known: client, web"):
        steering.bypass("db", 60, bench.netns)
