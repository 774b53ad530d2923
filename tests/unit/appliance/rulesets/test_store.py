"""The rule-set store keeps what matches its digest, whole, and nothing that could leave its directory."""

import hashlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model.policy import RuleFile, RuleSetContent
from appliance.rulesets.store import RuleSetError, RuleSetStore


def content_of(*names: str) -> tuple[str, bytes]:
    rule_set = RuleSetContent("shipped", tuple(RuleFile(name, f"# {name}\n") for name in names))
    content = msgspec.json.encode(rule_set)
    return hashlib.sha256(content).hexdigest(), content


def test_keeps_files_in_order(tmp_path: Path) -> None:
    store = RuleSetStore(tmp_path / "rule-sets")
    digest, content = content_of("z.rules", "a.rules")
    assert not store.has(digest)
    store.put(digest, content)
    store.put(digest, content)
    assert store.has(digest)
    assert [(Path(path).name, text) for path, text in store.files(digest)] == [
        ("z.rules", b"# z.rules\n"),
        ("a.rules", b"# a.rules\n"),
    ]
    assert all(Path(path).read_bytes() == text for path, text in store.files(digest))


def test_refuses_content_of_another_digest(tmp_path: Path) -> None:
    store = RuleSetStore(tmp_path)
    digest, _ = content_of("a.rules")
    with pytest.raises(RuleSetError, match="arrived with digest"):
        store.put(digest, content_of("b.rules")[1])
    assert not store.has(digest)


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "", ".", "..", ".hidden", "a/b/c", "a\0b", "x" * 200]
)
def test_refuses_file_name_that_is_not_plain(tmp_path: Path, name: str) -> None:
    store = RuleSetStore(tmp_path / "store")
    digest, content = content_of(name)
    with pytest.raises(RuleSetError, match="plain file name"):
        store.put(digest, content)
    assert not (tmp_path / "x").exists()


def test_keeps_data_in_its_folder(tmp_path: Path) -> None:
    store = RuleSetStore(tmp_path)
    digest, content = content_of("a.rules", "datasets/0a")
    store.put(digest, content)
    path, text = store.files(digest)[1]
    assert path.endswith("/files/datasets/0a")
    assert Path(path).read_bytes() == text


@pytest.mark.parametrize("again", ["a.rules", "a.rules/b"])
def test_refuses_a_file_named_twice(tmp_path: Path, again: str) -> None:
    digest, content = content_of("a.rules", again)
    with pytest.raises(RuleSetError, match="twice"):
        RuleSetStore(tmp_path).put(digest, content)


@pytest.mark.parametrize("digest", ["", "../../etc", "A" * 64, "0" * 63])
def test_refuses_what_is_no_digest(tmp_path: Path, digest: str) -> None:
    with pytest.raises(RuleSetError, match="no sha256"):
        RuleSetStore(tmp_path).has(digest)


def test_keep_only_deletes_the_rest(tmp_path: Path) -> None:
    store = RuleSetStore(tmp_path)
    kept, gone = content_of("a.rules"), content_of("b.rules")
    store.put(*kept)
    store.put(*gone)
    (tmp_path / ".new-left-over").mkdir()
    store.keep_only([kept[0]])
    assert [path.name for path in tmp_path.iterdir()] == [kept[0]]


@given(st.one_of(st.binary(max_size=200), st.integers(0, 90).map(lambda end: content_of("a.rules")[1][:end])))
def test_any_bytes_are_kept_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    store = RuleSetStore(tmp_path_factory.mktemp("store"))
    digest = hashlib.sha256(content).hexdigest()
    try:
        store.put(digest, content)
    except RuleSetError:
        assert not store.has(digest)


def test_discarded_rule_set_is_gone(tmp_path: Path) -> None:
    store = RuleSetStore(tmp_path)
    digest, content = content_of("a.rules")
    store.put(digest, content)
    store.discard(digest)
    assert not store.has(digest)
