"""The engine under test, as `sekisho replay` calls it."""

import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
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
    home_net, external_net = ("any", "any") if any_nets else (HOME_NET, "!$HOME_NET")
    pairs = [(str(capture), str(eve)) for capture, eve in captures]
    with TemporaryDirectory() as folder:
        paths = [_raised_copy(path, Path(folder)) for path in rules] if prevent else rules
        nets = [("HOME_NET", home_net), ("EXTERNAL_NET", external_net)]
        read = engine().Rules([str(path) for path in paths], variables=nets)
        outcomes: list[tuple[str, int]] = read.replay(pairs, ips=ips)
    return [error for error, _ in outcomes]


def _raised_copy(rules: Path, folder: Path) -> Path:
    copy = folder / f"{len(list(folder.iterdir()))}-{rules.name}"
    copy.write_bytes(raised(rules.read_bytes()))
    return copy
