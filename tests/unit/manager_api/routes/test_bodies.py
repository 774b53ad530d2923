"""What requests carry is what the model holds: nothing of it is out of reach of the API."""

import dataclasses
from typing import Any

import pytest

from appliance.model import policy
from manager_api.routes import bodies


@pytest.mark.parametrize(
    ("body", "kind", "elsewhere"),
    [
        (bodies.SelectionBody, policy.Selection, set()),
        (bodies.AssignmentBody, policy.Assignment, set()),
        (bodies.OverrideBody, policy.Override, set()),
        (bodies.FirewallRuleBody, policy.FirewallRule, set()),
        (bodies.FirewallBody, policy.Firewall, set()),
        (bodies.GuardBody, policy.Guard, set()),
        (bodies.AddressPairBody, policy.AddressPair, set()),
        (bodies.DefaultsBody, policy.GuestPolicy, {"overrides"}),
    ],
)
def test_a_body_has_the_fields_and_defaults_of_the_model(body: Any, kind: Any, elsewhere: set[str]) -> None:
    fields = {field.name: field for field in dataclasses.fields(kind) if field.name not in elsewhere}
    assert set(body.model_fields) == set(fields)
    needed = {name for name, field in body.model_fields.items() if field.is_required()}
    missing = dataclasses.MISSING
    assert needed == {n for n, f in fields.items() if f.default is missing and f.default_factory is missing}
