"""The engine under test, as `sekisho replay` calls it."""

import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

HOME_NET = "[192.168.0.0/16,10.0.0.0/8,172.16.0.0/12]"


def engine() -> ModuleType:
    """Return the engine's extension module; skip the test, saying so, where it is not built."""
    try:
        from appliance import _engine
    except ImportError as error:
        pytest.skip(f"the engine is not built here (make build): {error}")
    return _engine


def raised(rules: bytes) -> bytes:
    """Return the rules as the mode `prevent` takes them."""
    return re.sub(rb"^alert ", b"drop ", rules, flags=re.MULTILINE)


def replay(
    rules: Sequence[Path],
    captures: Sequence[tuple[Path, Path]],
    *,
    ips: bool,
    any_nets: bool,
    prevent: bool = False,
) -> list[str]:
    """Inspect each (capture, eve.json); return what went wrong, or "". prevent: alert is raised to drop."""
    nets = ("any", "any") if any_nets else (HOME_NET, "!$HOME_NET")
    outcomes: list[tuple[str, int]] = engine().replay(
        [(str(path), raised(path.read_bytes()) if prevent else path.read_bytes()) for path in rules],
        [(str(capture), str(eve)) for capture, eve in captures],
        ips=ips,
        home_net=nets[0],
        external_net=nets[1],
    )
    return [error for error, _ in outcomes]
