"""The bill of materials of a root, as CycloneDX: Debian's packages, Python's, and the engine's crates."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

FIELDS = "${binary:Package}\\t${Version}\\t${Architecture}\\t${source:Package}\\n"


def of(root: Path, unpacked: Mapping[str, str]) -> dict[str, Any]:
    """Return the bill; unpacked: Debian packages (name, version) that are in the root but not installed."""
    components = [*_debian(root, unpacked), *_python(root), *_crates(root)]
    unique = {component["purl"]: component for component in components}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "components": [unique[purl] for purl in sorted(unique)],
    }


def _debian(root: Path, unpacked: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    listed = subprocess.run(
        ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", FIELDS],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for line in listed.splitlines():
        name, version, architecture, source = line.split("\t")
        purl = f"pkg:deb/debian/{name.partition(':')[0]}@{version}?arch={architecture}&source={source}"
        yield {"type": "library", "name": name, "version": version, "purl": purl}
    for name, version in unpacked.items():
        purl = f"pkg:deb/debian/{name}@{version}?arch=amd64"
        yield {"type": "operating-system", "name": name, "version": version, "purl": purl}


def _python(root: Path) -> Iterator[dict[str, Any]]:
    for folder in root.glob("opt/*/lib/python3*/site-packages"):
        for package in metadata.distributions(path=[str(folder)]):
            name, version = package.metadata["Name"], package.version
            yield {
                "type": "library",
                "name": name,
                "version": version,
                "purl": f"pkg:pypi/{name.lower()}@{version}",
            }


def _crates(root: Path) -> Iterator[dict[str, Any]]:
    """Yield what the wheels say that was compiled into them."""
    for bill in sorted(root.glob("opt/*/lib/python3*/site-packages/*.dist-info/sboms/*.json")):
        for component in json.loads(bill.read_text()).get("components", ()):
            if str(component.get("purl", "")).startswith("pkg:cargo/"):
                keys = ("type", "name", "version", "purl", "licenses")
                yield {key: component[key] for key in keys if key in component}
