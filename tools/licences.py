"""Fail on a dependency whose licence is not on the list: Rust crates by cargo metadata, Python by their own.

Run by `make licences` in the virtual environment.
"""

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "PSF-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
}
# Tests and separate programs only; tests/unit/test_imports.py holds them out of the product.
TEST_ONLY = {"scapy": "GPL-2.0-only"}
# Of an optional extra, used as a library through its interface; nothing of it is shipped in ours.
EXTRAS = {"libvirt-python": "LGPL-2.1-or-later"}
CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
}
# Metadata that says it in words; looked up in the packages' own licence files.
SPELLED = {
    "MIT License": "MIT",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "LGPL-v2.0-or-later": "LGPL-2.1-or-later",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "BSD-3": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "PSFL": "PSF-2.0",
}


def allowed(expression: str) -> bool:
    """Whether an SPDX expression can be satisfied from the list; `/` is an old way to write OR."""
    expression = expression.replace("/", " OR ")
    while "(" in expression:
        inner = re.search(r"\(([^()]*)\)", expression)
        if inner is None:
            return False
        expression = expression.replace(inner.group(0), "MIT" if allowed(inner.group(1)) else "refused")
    return any(
        all(part.strip() in ALLOWED for part in choice.split(" AND ")) for choice in expression.split(" OR ")
    )


def crates() -> dict[str, str]:
    """Every crate of the lock file and what it says of its licence."""
    output = subprocess.run(
        ["cargo", "metadata", "--locked", "--format-version", "1"],
        cwd=ROOT / "engine",
        check=True,
        capture_output=True,
    ).stdout
    return {package["name"]: package["license"] or "unknown" for package in json.loads(output)["packages"]}


def python_packages() -> dict[str, str]:
    """Every package of the lock file and what its metadata says of its licence."""
    names = re.findall(r"^([A-Za-z0-9._-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    return {name: licence_of(name) for name in names}


def licence_of(name: str) -> str:
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return "not installed: run make deps"
    expression = about.get("License-Expression")
    if expression:
        return str(expression)
    words = [c.split(" :: ")[-1] for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
    known = [CLASSIFIERS[word] for word in words if word in CLASSIFIERS]
    if known:
        return " OR ".join(known)
    text = (about.get("License") or "unknown").strip().splitlines()[0]
    return SPELLED.get(text, text)


def main() -> None:
    found = {f"crate {name}": licence for name, licence in crates().items()}
    found |= {f"package {name}": licence for name, licence in python_packages().items()}
    bad = {
        name: licence
        for name, licence in found.items()
        if not allowed(licence) and (TEST_ONLY | EXTRAS).get(name.split()[-1]) != licence
    }
    for name, licence in sorted(bad.items()):
        print(f"licence not on the list: {name}: {licence}")
    if bad:
        sys.exit(1)
    print(f"{len(found)} dependencies, every licence on the list")


if __name__ == "__main__":
    main()
