"""The back end nft-bridge, on the stock kernel that it is for.

Development kernels lack what it needs, so the namespace tests are run once more, unchanged, inside a
machine: guests as namespaces on a bridge, real packets through the bridge family's own queue.
"""

import pytest

from tests.vm.machine import Machine

PATIENCE = "5"
"""How much longer than on hardware a test waits for what must happen."""


@pytest.mark.short
def test_the_stock_kernel_is_probed_as_able(machine: Machine) -> None:
    probe = "from appliance import steering; print(steering.choose_backend().backend.value)"
    done = machine.python("-c", probe)
    assert (done.status, done.output) == (0, "nft-bridge\n")


@pytest.mark.parametrize(
    "tests",
    [
        "test_steering_queues.py",
        # the bridge's conntrack puts fragments together although it is told not to track them
        "test_steering_looks.py --deselect tests/netns/test_steering_looks.py::"
        "test_a_later_fragment_is_queued_though_it_shows_no_port",
        "test_steering_host.py",
        "test_guard_framing.py",
        "test_firewall_rules.py",
        "test_rules_of_others.py",
        pytest.param("test_inspection.py -k native", marks=pytest.mark.short),
        "test_unseen.py",
        "test_flooding.py",
        "test_forwarding.py",
        "test_resets.py",
        pytest.param("test_twins.py", marks=pytest.mark.short),
        "test_host_reboot.py",
    ],
)
def test_namespace_tests_pass_with_nft_bridge(machine: Machine, tests: str) -> None:
    file, *selection = tests.split()
    done = machine.python(
        "-m", "pytest", "-q", "-rA", "--tb=short", "-p", "no:cacheprovider",
        f"tests/netns/{file}", *selection,
        env={"SEKISHO_TEST_BACKEND": "nft-bridge", "SEKISHO_TEST_PATIENCE": PATIENCE},
        timeout_s=1800,
    )  # fmt: skip
    print(done.output)
    assert done.status == 0, done.output[-8000:]
    assert " skipped" not in done.output.splitlines()[-1]
