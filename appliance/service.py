"""`python -m appliance.service [SIGN]`: `sekisho run --keep-rules` without what reads command lines.

SIGN: a file; while it is not there the configuration is still being written, by somebody who needs as long
for that as importing takes here. Under emulation both are seconds of a start.
"""

import gc
import sys
import time
from pathlib import Path

from appliance.model.faults import PolicyError, SystemFault

CONFIG = Path("/etc/sekisho/sekisho.yaml")
"""Where the configuration is, unless somebody says otherwise."""
PATIENCE_S = 30.0
LOOK_S = 0.02


def run(config_path: Path, *, keep_rules: bool, sign: Path | None = None) -> None:
    """Run the appliance until it is told to stop. Raises PolicyError, SystemFault, OSError at its start."""
    # What is imported stays; to look through it for garbage meanwhile is a seventh of the start.
    gc.disable()
    from appliance import daemon, logs
    from appliance.config import read_config

    gc.freeze()
    gc.enable()
    logs.set_up("sekisho")
    if sign is not None:
        _wait(sign)
    daemon.run(read_config(config_path), keep_rules=keep_rules)


def _wait(sign: Path) -> None:
    """Wait for the file, but not for ever: the configuration that is there protects better than none."""
    deadline = time.monotonic() + PATIENCE_S
    while not sign.exists() and time.monotonic() < deadline:
        time.sleep(LOOK_S)


if __name__ == "__main__":
    try:
        run(CONFIG, keep_rules=True, sign=next(map(Path, sys.argv[1:]), None))
    except (PolicyError, SystemFault, OSError) as error:
        sys.exit(f"Error: {error}")
