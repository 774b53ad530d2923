"""The policy document: whole, canonical, signed, and naming only what there is."""

import base64
import hashlib

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.model.policy import (
    Assignment,
    Firewall,
    GuestPolicy,
    Mode,
    Override,
    PolicyDocument,
    RuleSetRef,
)
from manager_api.domain import policy
from manager_api.domain.policy import GuestSettings

SHIPPED = RuleSetRef("shipped", 3, "ab" * 32)
DEFAULTS = GuestPolicy(assignments=(Assignment("shipped", Mode.DETECT),))


def test_names_only_rule_sets_that_are_referenced_and_exist() -> None:
    guests = {"web": GuestSettings(assignments=(Assignment("gone", Mode.PREVENT),))}
    other = RuleSetRef("other", 1, "cd" * 32)
    document = policy.build(1, DEFAULTS, guests, {"shipped": SHIPPED, "other": other})
    assert document.rule_sets == (SHIPPED,)
    assert document.guests["web"].assignments == ()


def test_a_guest_without_settings_has_no_entry_and_one_with_some_follows_the_defaults_in_the_rest() -> None:
    override = Override(sid=1, mode=Mode.OFF)
    guests = {"plain": GuestSettings(), "web": GuestSettings(overrides=(override,))}
    document = policy.build(1, DEFAULTS, guests, {"shipped": SHIPPED})
    assert set(document.guests) == {"web"}
    assert document.guests["web"] == GuestPolicy(assignments=DEFAULTS.assignments, overrides=(override,))


def test_a_guests_own_empty_settings_are_not_the_defaults() -> None:
    defaults = GuestPolicy(assignments=DEFAULTS.assignments, firewall=Firewall(default_in="deny"))
    own = GuestSettings(assignments=(), firewall=Firewall())
    document = policy.build(1, defaults, {"web": own}, {"shipped": SHIPPED})
    assert document.guests["web"].assignments == ()
    assert document.guests["web"].firewall.default_in == "allow"


def test_equal_settings_give_equal_bytes_in_any_order() -> None:
    settings = {name: GuestSettings(on_drop="silent") for name in ("b", "a", "c")}
    turned = dict(reversed(settings.items()))
    first, second = (
        policy.encode(policy.build(1, DEFAULTS, s, {"shipped": SHIPPED})) for s in (settings, turned)
    )
    assert first == second
    assert msgspec.json.decode(first, type=PolicyDocument).guests["a"].on_drop == "silent"


def test_the_signature_is_over_the_digest_of_the_documents_bytes() -> None:
    key = Ed25519PrivateKey.generate()
    signed = policy.sign('{"é":1}', key)
    assert signed.digest == hashlib.sha256('{"é":1}'.encode()).hexdigest()
    key.public_key().verify(base64.b64decode(signed.signature), signed.digest.encode())
