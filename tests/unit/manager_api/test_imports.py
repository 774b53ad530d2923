"""Who imports whom: of the appliance, the manager knows the shared words and the rule sets only."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ALLOWED = ("appliance.model", "appliance.ready", "appliance.rulesets")


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)} - {"appliance"}
    return names


@pytest.mark.parametrize("path", sorted((ROOT / "manager_api").rglob("*.py")), ids=lambda p: p.name)
def test_imports_nothing_of_the_appliance_but_model_rulesets_and_what_systemd_is_told(path: Path) -> None:
    for name in imported(path):
        if name.split(".")[0] == "appliance":
            assert name.startswith(ALLOWED), f"{path}: {name}"
        assert name.split(".")[0] not in ("scapy", "pyroute2"), f"{path}: {name}"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "manager_api" / "domain").rglob("*.py")), ids=lambda p: p.name
)
def test_decisions_know_no_database_and_no_web(path: Path) -> None:
    for name in imported(path):
        assert name.split(".")[0] not in ("sqlalchemy", "fastapi", "starlette"), f"{path}: {name}"
        assert not name.startswith(("manager_api.store", "manager_api.routes")), f"{path}: {name}"
