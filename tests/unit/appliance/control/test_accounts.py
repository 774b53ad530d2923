"""What an inspector counted survives it: uninspected bytes, detections, failures."""

from typing import Any

import pytest

from appliance.control.accounts import InspectorAccounts


def stats(**reasons: int) -> dict[str, Any]:
    return {"guests": {"web": {"bytes": 1, "uninspected": reasons}}}


def test_sums_over_runs_and_not_over_readings() -> None:
    accounts = InspectorAccounts()
    accounts.take(stats(midstream=5))
    accounts.take(stats(midstream=9))
    accounts.run_ended()
    assert accounts.of("web") == {"midstream": 9}
    accounts.take(stats(midstream=1, encrypted=2))
    assert accounts.of("web") == {"midstream": 10, "encrypted": 2}
    accounts.run_ended()
    accounts.run_ended()
    assert accounts.of("web") == {"midstream": 10, "encrypted": 2}
    assert accounts.of("other") == {}


@pytest.mark.parametrize(
    "said", [{}, {"guests": None}, {"guests": {"web": None}}, {"guests": {"web": {"uninspected": [1]}}}]
)
def test_odd_statistics_count_nothing(said: dict[str, Any]) -> None:
    accounts = InspectorAccounts()
    accounts.take(said)
    assert accounts.of("web") == {}


def test_detections_and_failures_survive_their_inspector_too() -> None:
    accounts = InspectorAccounts()
    for alerts in (2, 3):
        counted = {"bytes": 9, "alerts": alerts, "blocked": 1, "uninspected": {}}
        accounts.take({"guests": {"web": counted}, "failures": {"malformed": 1}})
        accounts.run_ended()
    assert accounts.detections("web") == {"alerts": 5, "blocked": 2}
    assert accounts.failures() == {"malformed": 2}
