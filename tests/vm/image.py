"""The machine's disks: a Debian system with its stock kernel, and this checkout with its environment.

The system is made of Debian packages by name (mmdebstrap, and the cloud kernel unpacked, not installed),
once for each recipe; it is kept outside the checkout, under $SEKISHO_VM_CACHE or the user's cache folder.
The checkout's disk is made anew for each boot, from the files themselves.

    python -m tests.vm.image        makes the system's disk if it is not there, and says where it is
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUITE = "bookworm"
KERNEL = "linux-image-cloud-amd64"
PACKAGES = (
    "ca-certificates,conntrack,ethtool,iproute2,iptables,kmod,libnetfilter-queue1,libpcre2-8-0,libpython3.11,"
    "nftables,nginx-light,procps,python3,util-linux"
)
DISK = "800M"
INIT = """#!/bin/sh
export PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -o ro /dev/nvme0n2 /project
exec sh /project/tests/vm/init
"""
BACKPORTS = f"""\
sed 's/{SUITE} main/{SUITE}-backports main/' "$1/etc/apt/sources.list" | grep backports \
  > "$1/etc/apt/sources.list.d/backports.list"
printf 'Package: %s\\nPin: release n={SUITE}-backports\\nPin-Priority: 600\\n' '{{}}' \
  > "$1/etc/apt/preferences.d/backports"
"""
"""Has packages of these names (a glob) come from there. Source: mmdebstrap(1), hooks."""
PARTS = ("appliance", "bench", "host_helper", "manager_api", "signatures", "tests", "pyproject.toml")
"""What of the checkout the machine's tests need."""
LEFT_OUT = ("maturin*", "mypy*", "pip*", "playwright*", "ruff*", "setuptools*", ".*_cache")
"""What of the virtual environment they do not, and what would not fit."""


@dataclass(frozen=True, slots=True)
class System:
    """A kernel, and a disk to start it from; the disk is never written to."""

    kernel: Path
    disk: Path


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a system is made of.

    files: text by path, executable where it begins with `#!`. backports: a glob of packages from there.
    """

    packages: str
    disk: str
    files: Mapping[str, str]
    backports: str = ""


TESTS = Recipe(PACKAGES, DISK, {"sekisho-init": INIT, "project/.here": ""})


def system(recipe: Recipe = TESTS) -> System:
    """Return the system, made first if it is not there: two minutes."""
    files = (f"{path}={text}" for path, text in recipe.files.items())
    parts = (SUITE, KERNEL, recipe.packages, recipe.backports, recipe.disk, *files)
    folder = _cache() / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    made = System(folder / "vmlinuz", folder / "system.img")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.parent / "lock"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as name:
                _make(recipe, Path(name))
                Path(name, "made").rename(folder)
    return made


def project_disk(path: Path, beside: Mapping[str, Path] | None = None) -> None:
    """Write this checkout and the packages it runs with to a disk. beside: more files, by their place."""
    with tempfile.TemporaryDirectory(dir=path.parent) as name:
        staging = Path(name)
        ignore = shutil.ignore_patterns(*LEFT_OUT)
        for part in PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, staging / part, ignore=ignore)
            else:
                shutil.copy(ROOT / part, staging / part)
        shutil.copytree(sysconfig.get_path("purelib"), staging / "site-packages", ignore=ignore)
        for place, file in (beside or {}).items():
            (staging / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, staging / place)
        # the disk cannot be written to, and each process would compile anew, for half a minute
        _run([sys.executable, "-m", "compileall", "-q", "-s", name, "-p", "/project", name])
        _run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", str(staging), str(path), "600M"])


def _make(recipe: Recipe, work: Path) -> None:
    """Leave kernel and disk in work/made."""
    root, made = work / "root", work / "made"
    hooks = [f"--setup-hook={BACKPORTS.format(recipe.backports)}"] if recipe.backports else []
    include = f"--include={recipe.packages}"
    _run(["mmdebstrap", "--quiet", "--variant=minbase", *hooks, include, SUITE, str(root)])
    package = _kernel_package()
    _run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package], cwd=work)
    (archive,) = work.glob("*.deb")
    _run(["dpkg", "-x", str(archive), str(work / "kernel")])
    (modules,) = (work / "kernel/lib/modules").iterdir()
    shutil.copytree(modules, root / "usr/lib/modules" / modules.name, symlinks=True)
    _run(["depmod", "-b", str(root), modules.name])
    for name, text in recipe.files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if text.startswith("#!") else 0o644)
    made.mkdir()
    (kernel,) = (work / "kernel/boot").glob("vmlinuz-*")
    shutil.copy(kernel, made / "vmlinuz")
    _run(["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(made / "system.img"), recipe.disk])
    made.chmod(0o755)


def _kernel_package() -> str:
    """Return the package that the metapackage stands for now."""
    depends = _run(["apt-cache", "depends", KERNEL])
    (package,) = [
        line.split()[-1] for line in depends.splitlines() if line.strip().startswith("Depends: linux-image")
    ]
    return package


def _cache() -> Path:
    chosen = os.environ.get("SEKISHO_VM_CACHE")
    return (
        Path(chosen)
        if chosen
        else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "sekisho/vm")
    )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(argv: Sequence[str], cwd: Path | None = None) -> str:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{argv[0]}: {done.stderr.strip()[-2000:] or done.stdout.strip()[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    print(system().disk)
    sys.exit()
