"""Generations on disk: whole, the live one named by one link, old ones gone, broken ones survived."""

from pathlib import Path

import msgspec
import pytest

from appliance.control.generations import Generations
from appliance.model.faults import PolicyError
from appliance.model.policy import PolicyDocument
from appliance.reporting.client import SignedPolicy


def signed(version: int) -> SignedPolicy:
    return SignedPolicy(msgspec.json.encode(PolicyDocument(version)).decode(), "digest", "signature")


def test_the_current_one_is_found_again_and_old_ones_go(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    assert generations.current_policy() is None
    for version in range(1, 6):
        number = generations.next_number()
        generations.write(number, signed(version), {"version": version})
        generations.make_current(number)
        assert generations.current_policy() == signed(version)
    assert sorted(path.name for path in tmp_path.glob("[0-9]*")) == ["4", "5"]
    document = generations.current_document()
    assert document is not None and document.version == 5


def test_a_generation_that_was_written_but_never_live_is_not_current(tmp_path: Path) -> None:
    generations = Generations(tmp_path)
    generations.write(1, signed(1), {})
    generations.make_current(1)
    generations.write(2, signed(2), {})
    assert Generations(tmp_path).current_policy() == signed(1)
    generations.discard(2)
    assert generations.next_number() == 2


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"document": 1}'])
def test_damaged_policy_is_an_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    generations = Generations(tmp_path)
    generations.write(1, signed(1), {})
    generations.make_current(1)
    (tmp_path / "1" / "policy.json").write_bytes(content)
    with pytest.raises(ValueError):
        generations.current_policy()
    with pytest.raises(PolicyError, match=r"current/policy\.json"):
        generations.current_document()
