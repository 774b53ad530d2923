"""STATE/status.json: how the appliance is, for `sekisho status` and the console."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from appliance.model.faults import SystemFault


def write_status(path: Path, status: Mapping[str, Any], now_s: float, pid: int) -> None:
    """Replace the status file; not fsynced, for it is worthless after a crash. Raises OSError."""
    beside = path.with_name(f".{path.name}.new")
    beside.touch(mode=0o600)
    beside.write_bytes(msgspec.json.encode({**status, "time_s": now_s, "pid": pid}))
    beside.rename(path)


def read_status(path: Path) -> dict[str, Any] | None:
    """Return the status control wrote last, or None when it never ran here. Raises SystemFault, OSError."""
    try:
        status = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise SystemFault(f"{path}: {error}") from None
    if not isinstance(status, dict):
        raise SystemFault(f"{path}: no status")
    return status
