"""Rule sets: accepted whole or not at all, versioned, handed to appliances by digest."""

import hashlib
import json

from tests.manager_fixture import EnrolledAppliance, RunningManager
from tests.unit.manager_api.conftest import DROP, rules


def test_a_rule_set_is_accepted_and_counts_what_can_block(manager: RunningManager) -> None:
    answer = manager.operator.put("/rule-sets/counted", json=rules(1, 2))
    assert answer.status_code == 201
    assert answer.json()["version"] == 1
    assert answer.json()["signatures"] == 2
    assert answer.json()["can_block"] == {"off": 0, "detect": 0, "as-written": 0, "prevent": 2}
    dropping = manager.operator.put("/rule-sets/counted", json=rules(1, 2, template=DROP))
    assert dropping.json()["can_block"]["as-written"] == 2


def test_what_a_rule_says_and_is_not_done_is_told_to_whoever_sends_it(manager: RunningManager) -> None:
    stored = 'alert http any any -> any any (msg:"stored"; content:"a"; filestore; sid:{sid};)'
    answer = manager.operator.put("/rule-sets/warned", json=rules(5, 6, template=stored))
    assert answer.status_code == 201
    told = [(each["file"], each["line"], each["sid"]) for each in answer.json()["warnings"]]
    assert told == [("local.rules", 1, 5), ("local.rules", 2, 6)]
    assert "no file is stored" in answer.json()["warnings"][0]["reason"]


def test_equal_content_stays_the_same_version(manager: RunningManager) -> None:
    first = manager.operator.put("/rule-sets/equal", json=rules(10))
    second = manager.operator.put("/rule-sets/equal", json=rules(10))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()


def test_a_bad_rule_set_is_refused_with_every_line_and_the_live_one_stays(manager: RunningManager) -> None:
    manager.operator.put("/rule-sets/kept", json=rules(20)).raise_for_status()
    bad = rules(21)
    bad["files"] = [
        {"name": "good.rules", "text": rules(22)["files"][0]["text"]},  # type: ignore[index]
        {"name": "bad.rules", "text": "\nnonsense sid:23;\nmore nonsense (sid:24;)\n"},
    ]
    answer = manager.operator.put("/rule-sets/kept", json=bad)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    refused = answer.json()["refused"]
    assert [(r["file"], r["line"]) for r in refused] == [("bad.rules", 2), ("bad.rules", 3)]
    assert all(r["reason"] for r in refused)
    assert manager.operator.get("/rule-sets/kept").json()["version"] == 1


def test_an_upload_is_the_same_as_json(manager: RunningManager) -> None:
    text = rules(30)["files"][0]["text"]  # type: ignore[index]
    by_json = manager.operator.put("/rule-sets/uploaded", json=rules(30)).json()
    uploaded = manager.operator.put("/rule-sets/uploaded", files={"files": ("local.rules", text.encode())})
    assert uploaded.status_code == 200
    assert uploaded.json()["digest"] == by_json["digest"]


def test_refuses_a_file_that_is_not_utf8_an_empty_set_and_repeated_names(manager: RunningManager) -> None:
    latin = manager.operator.put("/rule-sets/odd", files={"files": ("a.rules", b"# caf\xe9\n")})
    assert (latin.status_code, "UTF-8 at byte 5" in latin.json()["detail"]) == (422, True)
    empty = manager.operator.put(
        "/rule-sets/odd", json={"files": [{"name": "a.rules", "text": "# nothing\n"}]}
    )
    assert (empty.status_code, "no signature" in empty.json()["detail"]) == (422, True)
    same = {"files": [{"name": "a", "text": ""}, {"name": "a", "text": ""}]}
    assert "several files" in manager.operator.put("/rule-sets/odd", json=same).json()["detail"]
    same["files"][1]["name"] = "a/b"
    assert "folders named 'a'" in manager.operator.put("/rule-sets/odd", json=same).json()["detail"]
    path = manager.operator.put("/rule-sets/odd", json={"files": [{"name": "../etc/passwd", "text": ""}]})
    assert path.status_code == 422


def test_if_match_guards_against_replacing_what_was_not_seen(manager: RunningManager) -> None:
    first = manager.operator.put("/rule-sets/matched", json=rules(40))
    manager.operator.put("/rule-sets/matched", json=rules(41)).raise_for_status()
    late = manager.operator.put(
        "/rule-sets/matched", json=rules(42), headers={"If-Match": first.headers["etag"]}
    )
    assert late.status_code == 412
    current = manager.operator.get("/rule-sets/matched").headers["etag"]
    good = manager.operator.put("/rule-sets/matched", json=rules(42), headers={"If-Match": current})
    assert good.status_code == 201


def test_an_old_version_can_be_read_and_sent_again(manager: RunningManager) -> None:
    manager.operator.put("/rule-sets/history", json=rules(50)).raise_for_status()
    manager.operator.put("/rule-sets/history", json=rules(51)).raise_for_status()
    old = manager.operator.get("/rule-sets/history/versions/1").json()
    back = manager.operator.put("/rule-sets/history", json={"files": old["files"]})
    assert back.json()["version"] == 3
    digests = [v["digest"] for v in manager.operator.get("/rule-sets/history/versions").json()]
    assert digests[0] == digests[2] != digests[1]


def test_an_appliance_fetches_the_content_by_digest(
    manager: RunningManager, appliance: EnrolledAppliance
) -> None:
    digest = manager.operator.put("/rule-sets/fetched", json=rules(60)).json()["digest"]
    answer = appliance.client.get(f"/rule-sets/{digest}")
    assert hashlib.sha256(answer.content).hexdigest() == digest
    assert json.loads(answer.content)["files"][0]["name"] == "local.rules"
    assert appliance.client.get(f"/rule-sets/{'0' * 64}").status_code == 404


def test_a_filter_says_what_it_takes_and_what_of_that_can_block(manager: RunningManager) -> None:
    both = {"files": [*rules(70)["files"], {"name": "b.rules", "text": DROP.format(sid=71) + "\n"}]}  # type: ignore[misc]
    manager.operator.put("/rule-sets/filtered", json=both).raise_for_status()
    taken = manager.operator.get(
        "/rule-sets/filtered/signatures", params={"filter": "sid>=71", "mode": "as-written"}
    ).json()
    assert (taken["taken"], taken["can_block"]) == (1, 1)
    assert [s["sid"] for s in taken["signatures"]] == [71]
    bad = manager.operator.get("/rule-sets/filtered/signatures", params={"filter": "sid>="})
    assert bad.status_code == 422


def test_a_body_over_its_limit_gets_413(manager: RunningManager) -> None:
    answer = manager.operator.put("/appliances/lab/defaults", content=b" " * (1024 * 1024 + 1))
    assert answer.status_code == 413

    def endless() -> object:
        for _ in range(40):
            yield b" " * 65_536

    answer = manager.operator.put("/appliances/lab/defaults", content=endless())  # type: ignore[arg-type]
    assert answer.status_code == 413
