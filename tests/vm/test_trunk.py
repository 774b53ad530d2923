"""Topology trunk on the stock kernel, whose bridges tell VLANs apart."""

import pytest

from tests.vm.machine import Machine

THE_LEAST = "attack or alone"


@pytest.mark.parametrize(
    "selection", [pytest.param(THE_LEAST, marks=pytest.mark.short), f"not ({THE_LEAST})"]
)
def test_namespace_tests_of_the_trunk_pass(machine: Machine, selection: str) -> None:
    done = machine.python(
        "-m", "pytest", "-q", "-rA", "--tb=short", "-p", "no:cacheprovider", "tests/netns/test_trunk.py",
        "-k", selection,
        env={"SEKISHO_TEST_PATIENCE": "5"},
        timeout_s=1800,
    )  # fmt: skip
    print(done.output)
    assert done.status == 0, done.output[-8000:]
    assert " skipped" not in done.output.splitlines()[-1]
