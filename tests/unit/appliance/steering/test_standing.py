"""What is told of rules that do not stand as they were left."""

from appliance.steering.standing import changes


def test_what_stands_as_it_was_left_is_not_told() -> None:
    assert changes({"table bridge sekisho": "a", "nothing": ""}, {"table bridge sekisho": "a"}) == ()


def test_what_is_gone_and_what_differs_are_told_apart() -> None:
    wanted = {"table bridge sekisho": "a", "table inet sekisho": "b"}
    assert changes(wanted, {"table bridge sekisho": "", "table inet sekisho": "c"}) == (
        "table bridge sekisho was taken away",
        "table inet sekisho was changed",
    )


def test_what_others_added_elsewhere_is_not_ours() -> None:
    assert changes({}, {"table inet sekisho": "a"}) == ()


def test_a_bridge_that_is_not_there_any_more_was_not_changed() -> None:
    assert changes({"br_netfilter on br0 (interface 7)": "(True, True)"}, {}) == ()
