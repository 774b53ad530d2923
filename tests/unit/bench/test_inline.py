"""What the inline bench measures with: rules drawn, traffic steered, tables drawn."""

from pathlib import Path

import pytest

from bench import plots, render
from bench.inline import cores, steering
from bench.inline.paths import ACCEPT_ALL, ACCEPT_NEEDED, NO_QUEUE, PATHS, SEKISHO, SURICATA
from bench.inline.selections import draw, read_rules, select
from bench.loads import inline
from bench.rows import Row

KINDS = {
    "http_any_port": "alert http $EXTERNAL_NET any -> [$HOME_NET,$HTTP_SERVERS] any",
    "http_port": "alert http $EXTERNAL_NET any -> $HOME_NET 8080",
    "response": "alert http $HTTP_SERVERS any -> $EXTERNAL_NET any",
    "raw": "alert tcp any any -> $HOME_NET 21",
    "of_a_client": "alert http $HOME_NET any -> $EXTERNAL_NET any",
    "of_others": "alert tcp any any -> !$HOME_NET 25",
}


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    lines = ['# alert tcp any any -> $HOME_NET 1 (msg:"off"; sid:1;)']
    for number in range(400):
        for place, (kind, header) in enumerate(KINDS.items()):
            flow = "to_client" if kind == "response" else "to_server"
            lines.append(f'{header} (msg:"{kind}"; flow:established,{flow}; sid:{10 + number * 10 + place};)')
    path = tmp_path / "some.rules"
    path.write_text("\n".join(lines))
    return path


def test_drawn_rules_are_a_servers_and_hold_the_shares_asked_for(rules_file: Path) -> None:
    drawn = draw(read_rules(rules_file), seed=1)
    assert len(drawn) == 300
    assert not [rule for rule in drawn if "of_a_client" in rule.text or "of_others" in rule.text]
    assert sum(rule.is_http_any_port for rule in drawn) >= 60
    assert sum(rule.is_response for rule in drawn) >= 30
    assert sum(rule.is_raw_tcp for rule in drawn) >= 15


def test_one_seed_always_draws_the_same_and_another_something_else(rules_file: Path) -> None:
    rules = read_rules(rules_file)
    assert draw(rules, seed=1) == draw(rules, seed=1) != draw(rules, seed=2)


def test_selections_without_responses_need_no_replies(rules_file: Path) -> None:
    selections = select(read_rules(rules_file))
    assert {key: each.needs_replies for key, each in selections.items()} == {
        "a": False, "b": True, "b'": False, "c": True,
    }  # fmt: skip
    assert set(selections["b'"].sids) < set(selections["b"].sids)
    assert len(selections["a"].sids) == 1


def test_a_peer_is_given_the_same_rules_as_drops(rules_file: Path, tmp_path: Path) -> None:
    selection = select(read_rules(rules_file))["b"]
    lines = selection.write(tmp_path / "drop.rules", action="drop").read_text().splitlines()
    assert [line.replace("drop", "alert", 1) for line in lines] == list(selection.rules)


def test_what_opens_or_ends_a_connection_is_queued_although_replies_are_not() -> None:
    assert steering.render(1, replies=False, bypass=False) == (
        "*mangle\n"
        "-A FORWARD -p tcp --tcp-flags SYN,FIN,RST NONE -m conntrack --ctdir REPLY -j ACCEPT\n"
        "-A FORWARD -p udp -m conntrack --ctdir REPLY -j ACCEPT\n"
        "-A FORWARD -i bench0 -j NFQUEUE --queue-num 0 --queue-bypass\n"
        "COMMIT\n*filter\nCOMMIT\n"
    )


def test_suricatas_bypass_is_kept_in_the_connections_mark() -> None:
    assert steering.render(2, replies=True, bypass=True) == (
        "*mangle\n"
        "-A FORWARD -m connmark --mark 0x10000/0x10000 -j ACCEPT\n"
        "-A FORWARD -i bench0 -m mark --mark 0x100/0xff00 -j NFQUEUE --queue-num 0 --queue-bypass\n"
        "-A FORWARD -i bench0 -m mark --mark 0x200/0xff00 -j NFQUEUE --queue-num 1 --queue-bypass\n"
        "COMMIT\n*filter\n"
        "-A FORWARD -m mark --mark 0x10000/0x10000"
        " -j CONNMARK --save-mark --nfmask 0x10000 --ctmask 0x10000\n"
        "COMMIT\n"
    )


def test_each_path_meets_each_load_with_the_rules_that_it_names() -> None:
    plan = inline.Plan(1, 1, cores.Cores((0,), (0,)))
    stands = plan.stands()
    assert {path for path, _ in stands} == set(PATHS)
    assert [key for path, key in stands if path in (NO_QUEUE, ACCEPT_ALL)] == ["a", "a"]
    for path in (SEKISHO, SURICATA):
        met = [(key, load.key) for of, key in stands if of == path for load in plan.of(path, key)]
        assert met == [
            (key, load.key) for key in ["a", "b", "b'", "c"] for load in inline.LOADS if key in load.rules
        ]
    assert all(load.needed for path, key in stands if path == ACCEPT_NEEDED for load in plan.of(path, key))


@pytest.mark.parametrize("kind", ["auto", "shared", "apart"])
def test_processors_are_divided_without_remainder_or_shared_whole(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3})
    divided = cores.divide(kind)
    if kind == "shared":
        assert divided.generator == divided.inspector == (0, 1, 2, 3)
    else:
        assert (divided.generator, divided.inspector) == ((0, 1), (2, 3))


def test_two_processors_are_shared_unless_asked_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    assert cores.divide("auto").queues == 2
    assert cores.divide("apart").queues == 1


ROWS = [
    Row(path, "load", rules, value, "1/s", number, uninspected=passed)
    for number in range(3)
    for path, rules, value, passed in (
        ("no queue", "", 10.0, {}),
        ("sekisho", "few", 9.0, {"past-depth": 1_000_000}),
        ("suricata", "few", 3.0, {}),
    )
]


def test_a_figure_is_set_beside_its_peers_with_what_went_by() -> None:
    drawn = " ".join(render.table(ROWS, [], {"kernel": "x"}).split())
    assert "| load | few | 1/s | 10 | 9 | 3 | 0.90 (0.90…0.90) | 3.00 (3.00…3.00) |" in drawn
    assert "| load | few | sekisho | past-depth 3.0 |" in drawn


def test_a_plot_has_a_bar_a_path() -> None:
    script = plots.script(ROWS, render.figures(ROWS), Path("/x.svg"))
    for bar in ('0 10.0 10.0 10.0 "no queue"', '1 9.0 9.0 9.0 "sekisho"', '2 3.0 3.0 3.0 "suricata"'):
        assert bar in script
