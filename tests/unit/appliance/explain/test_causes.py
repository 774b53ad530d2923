"""Every cause says what can be done about it, and nothing that would not help."""

import pytest

from appliance.explain.causes import engine_cause, signature_remedy
from appliance.model.guest import FailurePolicy


@pytest.mark.parametrize(
    ("reason", "setting"), [("stream midstream", "midstream"), ("stream memcap", "memory")]
)
def test_a_failure_policy_names_the_setting_and_the_segment(reason: str, setting: str) -> None:
    assert hasattr(FailurePolicy(), setting)
    by, _, remedy = engine_cause(reason, "web", "lab")
    assert by == f"the failure policy {setting}: closed (segment lab)"
    assert f"failure.{setting}: open for segment lab in guests.yaml" in remedy[0]


@pytest.mark.parametrize("reason", ["bad checksum", "stream error", "applayer error"])
def test_what_no_failure_policy_passes_offers_none(reason: str) -> None:
    by, means, remedy = engine_cause(reason, "web", "lab")
    assert by == f"the inspector ({reason})"
    assert means
    assert remedy == ("at once, for a while, without any inspection: sekisho bypass --guest web --for 30m",)


def test_a_reason_that_is_not_known_is_shown_as_it_is() -> None:
    assert engine_cause("new reason", None, None) == ("the inspector (new reason)", "", ())


def test_an_override_is_for_the_one_peer_and_names_a_foreign_generator() -> None:
    (override, _) = signature_remedy(5, 3, "web", "10.0.0.7")
    assert '{"sid": 5, "gid": 3, "mode": "detect", "peer": "10.0.0.7", "reason": "…"}' in override
    assert signature_remedy(5, 1, None, None) == ()
