"""What a helper says is bounded, or is no answer."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager_api.hosts.answers import MAX_GUESTS, Changed, HostGuest, Listing, Nonsense, Refused, read

VNIC = {"mac": "02:00:00:00:00:01", "led_through": True}
UUID = "00000001-1111-4222-8333-123456789abc"
GUEST = {
    "uuid": UUID,
    "name": "shop",
    "known_as": "shop",
    "running": True,
    "protected": True,
    "vnics": [VNIC],
}


def line(**members: Any) -> bytes:
    return json.dumps({"ok": True, **members}).encode()


def guest(**members: Any) -> HostGuest:
    return read(line(report={"guests": [{**GUEST, **members}]}), Listing).guests[0]


def test_a_list_is_read_and_keys_nobody_knows_are_passed_over() -> None:
    read_list = read(line(report={"guests": [{**GUEST, "new": 1}], "edition": 3}), Listing)
    assert [each.name for each in read_list.guests] == ["shop"]


def test_a_refusal_is_said_without_what_a_terminal_would_obey() -> None:
    with pytest.raises(Refused, match="no guest \\?\\[31m"):
        read(json.dumps({"ok": False, "error": "no guest \x1b[31m"}).encode(), Changed)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"ok": true}',
        b'{"ok": true, "report": 7}',
        line(report={"guests": [{**GUEST, "name": 7}]}),
        line(report={"guests": [{**GUEST, "uuid": "x/../../kvm2/bank"}]}),
        line(report={"guests": [{**GUEST, "uuid": ".."}]}),
        line(report={"guests": [{**GUEST, "uuid": ""}]}),
        line(report={"guests": [GUEST] * (MAX_GUESTS + 1)}),
        line(report={"guests": [{**GUEST, "vnics": [VNIC] * 65}]}),
        line(report={"guests": [{**GUEST, "trouble": "x" * 5000}]}),
    ],
)
def test_what_is_no_list_is_nonsense(said: bytes) -> None:
    with pytest.raises(Nonsense):
        read(said, Listing)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(said: bytes) -> None:
    with pytest.raises((Nonsense, Refused)):
        read(said, Listing)


def test_texts_reach_people_without_what_a_terminal_or_a_browser_would_obey() -> None:
    found = guest(name="shop\x1b[31m", known_as="\u202epohs", trouble="a\nb")
    assert (found.name, found.known_as, found.trouble) == ("shop?[31m", "?pohs", "a?b")
    changed = read(line(report={"done": ["fine", "\x00"], "refused": ["\u0085"]}), Changed)
    assert (changed.done, changed.refused) == (("fine", "?"), ("?",))


def test_a_guest_is_led_when_all_of_it_that_can_be_is() -> None:
    other = {**VNIC, "led_through": False}
    assert guest().is_led
    assert not guest(vnics=[VNIC, other]).is_led
    assert not guest(vnics=[{**VNIC, "held": True}]).is_led
    assert guest(vnics=[VNIC, {**other, "obstacle": "macvtap"}]).is_led
    assert not guest(vnics=[{**other, "obstacle": "macvtap"}]).is_led
    assert not guest(vnics=[]).is_led


@pytest.mark.parametrize(
    ("members", "is_exposed"),
    [
        ({"protected": False}, True),
        ({"protected": True}, False),
        ({"protected": False, "running": False}, False),
        ({"protected": False, "appliance": True}, False),
    ],
)
def test_a_guest_is_exposed_while_it_runs_and_nobody_asked_to_protect_it(
    members: dict[str, Any], is_exposed: bool
) -> None:
    assert guest(**members).is_exposed is is_exposed
