"""Drives suricata-update, which knows sources, their index, archives, and enable.conf and its like.

It is a separate program (GPL-2.0): called, never imported. Everything it reads and writes lies below one data
directory of ours, so that a Suricata on the same machine keeps its own.
"""

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from appliance.model.faults import SystemFault
from appliance.rulesets.update.local import decoded

# The language that our engine reads; sources offer their rules by version.
LANGUAGE_VERSION = "7.0.10"
FILTERS = ("enable", "disable", "modify", "drop")
ARCHIVES = (".tar.gz", ".tgz", ".zip")
MAX_RULE_BYTES = 256 * 1024 * 1024
_TAIL_LINES = 15
_NONE = "none"
_FAULTS = {
    "StopIteration": "a --source is mistyped, or was never fetched: leave --offline out once",
    "not NoneType": "that is a fault of suricata-update's: drop.conf names a rule with `dataset:…,load`;"
    " take it out there, and write `drop` in the rule itself",
}
"""What suricata-update ends with where it does not say what is wrong, and what that is."""
_WARNED = re.compile(r"<(?:Warning|Error)> --? (.*)")


class FetchError(SystemFault):
    """Rules could not be fetched; the text says what suricata-update said."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where rules are to come from, and how they are filtered."""

    names: tuple[str, ...] = ()
    """Names in the sources index, such as et/open."""
    urls: tuple[str, ...] = ()
    """Archives or rule files by URL."""
    local: tuple[Path, ...] = ()
    """Rule files, or directories of them."""
    bundles: tuple[Path, ...] = ()
    """Archives on disk; a directory stands for all archives in it (a mirror)."""
    offline: bool = False
    """Nothing is fetched: sources are taken as they were fetched last."""
    filters: dict[str, Path] = field(default_factory=dict)
    """enable, disable, modify, drop: the files suricata-update calls enable.conf and so on."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the sources gave."""

    files: tuple[tuple[str, bytes], ...]
    """(name, text): the rules in one file, a rule a line, and their data sets as `datasets/MD5`."""
    said: tuple[str, ...]
    """What suricata-update warned of: rules that it disabled, whose data sets were not there; filters that it
    could not read."""


def fetch(sources: Sources, data_dir: Path, timeout_s: float = 600) -> Fetched:
    """Return what the sources give. Raises FetchError.

    data_dir: made if missing; suricata-update keeps its index and its cache there.
    """
    program = shutil.which("suricata-update")
    if program is None:
        raise FetchError("suricata-update is not installed; `apt-get install suricata-update` does")
    data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="update-", dir=data_dir) as made:
        out = Path(made) / "out"
        out.mkdir()
        run = _Runner(program, data_dir, timeout_s)
        if sources.names and not sources.offline:
            run("update-sources")
        for name in sources.names:
            run("enable-source", name)
        said = run("update", "--force", "--no-test", "--no-reload", "--fail", *_arguments(sources, out))
        # It names what we say is not there all the same: filters, and the rules of a Suricata.
        absent = (str(out), str(data_dir / _NONE))
        warned = (found for found in _WARNED.findall(said) if not any(path in found for path in absent))
        return Fetched(tuple(_results(out)), tuple(warned))


def _arguments(sources: Sources, out: Path) -> Iterator[str]:
    yield from ("--output", str(out))
    # Named even where absent: the defaults are files of a Suricata that may be installed here.
    for kind in FILTERS:
        yield from (f"--{kind}-conf", str(sources.filters.get(kind, out / f"no-{kind}.conf")))
    for url in sources.urls:
        yield from ("--url", url)
    for path in sources.local:
        yield from ("--local", str(_existing(path)))
    bundles = [archive for bundle in sources.bundles for archive in _archives(bundle)]
    for archive in bundles:
        yield from ("--url", archive.resolve().as_uri())
    fetched = sources.names or sources.urls or not (bundles or sources.local)
    if sources.offline and fetched:
        if bundles:
            raise FetchError(
                "offline, sources come as they were fetched last: leave out what is on disk already"
            )
        yield "--offline"
    if not (fetched or bundles):
        # Without any address it would fetch et/open, which nobody asked for.
        nothing = out.with_suffix(".rules")
        nothing.touch()
        yield from ("--url", nothing.resolve().as_uri())


def _existing(path: Path) -> Path:
    if not path.exists():
        raise FetchError(f"{path}: no such file or directory")
    return path.resolve()


def _archives(bundle: Path) -> list[Path]:
    """Return the archives that a bundle stands for. Raises FetchError where there is none."""
    kinds = ", ".join(ARCHIVES)
    if not _existing(bundle).is_dir():
        if not (tarfile.is_tarfile(bundle) or zipfile.is_zipfile(bundle)):
            raise FetchError(f"{bundle}: not an archive ({kinds}); rule files go to --local")
        found = [bundle]
    else:
        found = sorted(path for path in bundle.iterdir() if path.name.endswith(ARCHIVES) and path.is_file())
    if not found:
        raise FetchError(f"{bundle}: no archive ({kinds}) in this directory; rule files go to --local")
    for archive in found:
        _check(archive)
    return found


def _check(archive: Path) -> None:
    """Raise SystemFault for what suricata-update would trip over without saying where.

    That is an archive that is cut off, has nothing in it, or whose rules are not UTF-8.
    """
    try:
        empty = True
        for name, text in _members(archive):
            empty = False
            if name.endswith(".rules"):
                decoded(f"{archive}: {name}", text)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, RuntimeError, zlib.error) as error:
        raise FetchError(f"{archive}: cannot be unpacked ({error}); fetch it again") from None
    if empty:
        raise FetchError(f"{archive}: there is no file in it")


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes) of each file in an archive, together no more than MAX_RULE_BYTES."""
    left = MAX_RULE_BYTES
    for name, file in _opened(archive):
        with file:
            text = file.read(left + 1)
        left -= len(text)
        if left < 0:
            raise FetchError(f"{archive}: more than {MAX_RULE_BYTES >> 20} MiB in it")
        yield name, text


def _opened(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            for each in packed.infolist():
                if not each.is_dir():
                    yield each.filename, packed.open(each)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if (file := tar.extractfile(member)) is not None:
                yield member.name, file


def _results(out: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the merged rules and the data sets they name, bounded, by their name below `out`."""
    left = MAX_RULE_BYTES
    for path in sorted(out.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.name in ("classification.config",):
            continue
        left -= path.stat().st_size
        if left < 0:
            raise FetchError(f"the sources give more than {MAX_RULE_BYTES >> 20} MiB of rules; name fewer")
        yield path.relative_to(out).as_posix(), path.read_bytes()


@dataclass(slots=True)
class _Runner:
    """Runs suricata-update with one data directory and no configuration but what is said here."""

    program: str
    data_dir: Path
    timeout_s: float

    def __call__(self, verb: str, *arguments: str) -> str:
        """Run it; return what it said."""
        # The defaults belong to a Suricata that may be installed here: its settings and rules.
        own = self.data_dir / "update.yaml"
        own.write_text(f"dist-rule-directory: {self.data_dir / _NONE}\n")
        command = [
            self.program, verb, *arguments, "--data-dir", str(self.data_dir), "--config", str(own),
            "--suricata-conf", str(self.data_dir / _NONE), "--suricata-version", LANGUAGE_VERSION,
            "--user-agent", "sekisho",
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=self.timeout_s,
                check=False,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
            )
        except subprocess.TimeoutExpired:
            raise FetchError(f"suricata-update {verb} took longer than {self.timeout_s:.0f} s") from None
        said = done.stdout.decode(errors="replace")
        if done.returncode != 0:
            tail = said.strip().splitlines()[-_TAIL_LINES:]
            if "\nTraceback " in said:
                tail = tail[-1:]  # where in its source it was is no help; what it met is
                tail += [way_out for sign, way_out in _FAULTS.items() if sign in tail[0]]
            raise FetchError(f"suricata-update {verb} failed ({done.returncode}):\n  " + "\n  ".join(tail))
        return said
