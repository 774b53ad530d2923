"""Rule sets on disk, by digest: STATE/rule-sets/DIGEST/{content.json, files/NAME}; NAME may be in a folder.

A directory exists whole or not at all (it is written beside its place and renamed), so its presence
means that the content was verified.
"""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec

from appliance.durable import fsync_directory, write_file
from appliance.model.policy import RuleSetContent

MAX_RULE_SET_BYTES = 256 * 1024 * 1024
MAX_FILES = 2_000
_PLAIN = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_FILE_NAME = re.compile(f"({_PLAIN}/)?{_PLAIN}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class RuleSetError(ValueError):
    """A rule set that cannot be kept: wrong digest, wrong shape, unusable file name."""


class RuleSetStore:
    """The rule sets that were fetched, each under its digest."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def has(self, digest: str) -> bool:
        """Return whether the rule set is here, whole."""
        return (self._directory(digest) / "content.json").exists()

    def put(self, digest: str, content: bytes) -> None:
        """Verify the content against its digest and keep it. Raises RuleSetError, OSError."""
        directory = self._directory(digest)
        if len(content) > MAX_RULE_SET_BYTES:
            raise RuleSetError(
                f"rule set {digest[:12]} has {len(content)} bytes; {MAX_RULE_SET_BYTES} are kept"
            )
        actual = hashlib.sha256(content).hexdigest()
        if actual != digest:
            raise RuleSetError(
                f"rule set {digest[:12]} arrived with digest {actual[:12]}; it is fetched again"
            )
        rule_set = _decode(digest, content)
        self._root.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".new-", dir=self._root))
        try:
            (beside / "files").mkdir()
            for file in rule_set.files:
                path = beside / "files" / file.name
                path.parent.mkdir(exist_ok=True)
                write_file(path, file.text.encode())
            write_file(beside / "content.json", content)
            for folder in {(beside / "files" / file.name).parent for file in rule_set.files}:
                fsync_directory(folder)
            fsync_directory(beside / "files")
            beside.chmod(0o750)
            if directory.exists():
                shutil.rmtree(directory)
            beside.rename(directory)
            fsync_directory(self._root)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def files(self, digest: str) -> list[tuple[str, bytes]]:
        """Return (path, text) of every file, in the rule set's order. Raises RuleSetError, OSError."""
        directory = self._directory(digest)
        rule_set = _decode(digest, (directory / "content.json").read_bytes())
        return [(str(directory / "files" / f.name), f.text.encode()) for f in rule_set.files]

    def discard(self, digest: str) -> None:
        """Delete a rule set."""
        shutil.rmtree(self._directory(digest), ignore_errors=True)

    def keep_only(self, digests: Iterable[str]) -> None:
        """Delete every rule set that is not named, and what an interrupted `put` left."""
        keep = set(digests)
        for directory in self._root.glob("*") if self._root.is_dir() else ():
            if directory.name not in keep:
                shutil.rmtree(directory, ignore_errors=True)
        for directory in self._root.glob(".new-*"):
            shutil.rmtree(directory, ignore_errors=True)

    def _directory(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise RuleSetError(f"{digest[:80]!r} is no sha256 digest in lower-case hex")
        return self._root / digest


def _decode(digest: str, content: bytes) -> RuleSetContent:
    try:
        rule_set = msgspec.json.decode(content, type=RuleSetContent)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise RuleSetError(f"rule set {digest[:12]} is not a rule set: {error}") from None
    if len(rule_set.files) > MAX_FILES:
        raise RuleSetError(f"rule set {digest[:12]} has {len(rule_set.files)} files; at most {MAX_FILES}")
    names = [file.name for file in rule_set.files]
    folders = {name.partition("/")[0] for name in names if "/" in name}
    if len({*names, *folders}) != len(names) + len(folders):
        raise RuleSetError(f"rule set {digest[:12]} names a file twice")
    for name in names:
        if not _FILE_NAME.fullmatch(name):
            raise RuleSetError(
                f"rule set {digest[:12]} holds a file {name[:80]!r}; "
                "a plain file name is needed, in one folder at most"
            )
    return rule_set
