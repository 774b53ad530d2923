"""Who imports whom: imports point down, and nothing of the product imports a GPL library.

Read from the source, so an import inside a function counts like one at the top.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = {"explain", "firewall", "steering", "hypervisor", "reporting", "rulesets", "lab"}
ENGINE_USERS = {"rulesets", "inspector", "reporting", "cli"}
MANAGER_MAY_IMPORT = {"appliance.model", "appliance.ready", "appliance.rulesets"}


def modules(package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        match node:
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str(module), level=0):
                names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def part_of(module: str) -> str | None:
    pieces = module.split(".")
    return pieces[1] if pieces[0] == "appliance" and len(pieces) > 1 else None


@pytest.mark.parametrize("package", ["appliance", "manager_api"])
def test_scapy_is_imported_nowhere(package: str) -> None:
    assert not {
        name for name, path in modules(package) if any(i.split(".")[0] == "scapy" for i in imported(path))
    }


def test_engine_is_imported_by_few() -> None:
    users = {part_of(name) for name, path in modules("appliance") if "appliance._engine" in imported(path)}
    assert users <= ENGINE_USERS


def test_engine_is_not_imported_by_the_manager() -> None:
    assert not {name for name, path in modules("manager_api") if "appliance._engine" in imported(path)}


def test_parts_do_not_import_what_stands_above_them() -> None:
    above = ("appliance.cli", "appliance.daemon", "appliance.inspector", "manager_api")
    wrong = {
        (name, target)
        for name, path in modules("appliance")
        if part_of(name) in PARTS | {"model"}
        for target in imported(path)
        if target.startswith(above)
    }
    assert not wrong


def test_model_imports_nothing_of_the_parts() -> None:
    wrong = {
        (name, target)
        for name, path in modules("appliance")
        if part_of(name) == "model"
        for target in imported(path)
        if target.startswith("appliance.") and part_of(target) != "model"
    }
    assert not wrong


def test_manager_imports_only_model_rulesets_and_what_is_told_to_systemd() -> None:
    wrong = {
        (name, target)
        for name, path in modules("manager_api")
        for target in imported(path)
        if target.startswith("appliance.") and ".".join(target.split(".")[:2]) not in MANAGER_MAY_IMPORT
    }
    assert not wrong


def test_rulesets_need_neither_root_nor_the_kernel() -> None:
    needing = {
        "pyroute2",
        "appliance.steering",
        "appliance.hypervisor",
        "appliance.firewall",
        "appliance.netns",
    }
    wrong = {
        (name, target)
        for name, path in modules("appliance")
        if part_of(name) in {"rulesets", "model"}
        for target in imported(path)
        if target in needing
    }
    assert not wrong


def test_nobody_lets_pyroute2_fork() -> None:
    """A child that pyroute2 forked and ended by SIGTERM wakes its parent's event loop like an own signal."""
    assert not {part_of(name) for name, path in modules("appliance") if "pyroute2.NetNS" in imported(path)}
