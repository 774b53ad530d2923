"""Flows are read as people write them, and a flow fits in either direction."""

import pytest

from appliance.model.faults import PolicyError
from appliance.model.flow import End, FlowFilter, parse_flow

CLIENT, WEB = End("10.0.0.7", 51234), End("10.0.0.5", 443)


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.7:51234 -> 10.0.0.5:443",
        "10.0.0.7:51234->10.0.0.5:443",
        " 10.0.0.5:443 <-> 10.0.0.7:51234 ",
        "10.0.0.7 → 10.0.0.5:443",
        "10.0.0.7 to 10.0.0.5",
        "10.0.0.5:443",
        "10.0.0.7",
    ],
)
def test_means_the_flow_in_both_directions(text: str) -> None:
    assert parse_flow(text).fits(CLIENT, WEB)
    assert parse_flow(text).fits(WEB, CLIENT)


@pytest.mark.parametrize(
    "text", ["10.0.0.7:443 -> 10.0.0.5", "10.0.0.7 -> 10.0.0.6", "10.0.0.5:51234", "12", "fd00::7"]
)
def test_does_not_mean_another_flow(text: str) -> None:
    assert not parse_flow(text).fits(CLIENT, WEB, flow_id=1)


def test_addresses_are_compared_by_what_they_are() -> None:
    assert parse_flow("[FD00:0:0::5]:443 -> fd00::7") == FlowFilter((End("fd00::5", 443), End("fd00::7")))
    assert str(parse_flow("[fd00::5]:443 -> fd00::7")) == "[fd00::5]:443 -> fd00::7"


def test_a_number_is_a_flow_id() -> None:
    assert parse_flow("5013769941630271").fits(CLIENT, WEB, 5013769941630271)


@pytest.mark.parametrize(
    "text",
    ["", "web", "10.0.0.5 -> 10.0.0.6 -> 10.0.0.7", "10.0.0.5:99999", "10.0.0.5:-1", "[10.0.0.5", "1" * 201,
     "10.0.0.5 -> ", "10.0.0.0/8"],
)  # fmt: skip
def test_what_is_no_flow_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(PolicyError, match=r"write 10\.0\.0\.5:443 -> |no port"):
        parse_flow(text)
