"""`sekisho run` that is killed in the middle of applying a policy: `cut_short STEP TRIGGER ARGUMENTS…`.

As soon as the file TRIGGER exists, the process ends itself by SIGKILL when it comes to STEP, as if the power
had failed there. Nothing of it is in the product: the steps are wrapped here.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.cli import main
from appliance.control import generations
from appliance.control.generations import Generations
from appliance.control.inspector_process import InspectorProcess
from appliance.control.network import Network
from appliance.control.policies import RuleSetShelf

STEPS: dict[str, tuple[Any, str]] = {
    "collect": (RuleSetShelf, "collect"),
    "write": (Generations, "write"),
    "write, between its files": (generations, "write_file"),
    "load": (InspectorProcess, "load"),
    "switch": (Network, "apply"),
    "make current": (Generations, "make_current"),
    "make current, between link and name": (Path, "rename"),
    "keep only": (RuleSetShelf, "keep_only"),
}
"""Where each begins, in their order. Past `make current` the new policy is the last good one."""
PAST = ("keep only",)
FILES = {"rename": ".current.new", "write_file": "engine.json"}
"""The one file that is meant; others are written and renamed too, the status every few seconds."""


def cut_before(step: Callable[..., Any], trigger: Path) -> Callable[..., Any]:
    """Return the step, before which the power may fail."""

    def wrapped(*arguments: Any, **named: Any) -> Any:
        wanted = FILES.get(step.__name__)
        if wanted in (None, getattr(arguments[0], "name", None)) and trigger.exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*arguments, **named)

    return wrapped


if __name__ == "__main__":
    owner, name = STEPS[sys.argv[1]]
    setattr(owner, name, cut_before(getattr(owner, name), Path(sys.argv[2])))
    sys.argv[1:3] = []
    main()
