"""The manager with a stand-in for the packet engine, for machines where that is not built.

It takes a line for a signature if it has an action and a sid, and refuses it otherwise.
"""

import re
import sys
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

_SIGNATURE = re.compile(r"^(alert|drop|reject|pass) (\S+) .*?\(.*?\bsid:(\d+);.*\)$")


def check_rules(files: Sequence[tuple[str, bytes]], *_: object) -> tuple[list[Any], list[Any], list[Any]]:
    """Return (loaded, refused, warnings) in the shape of appliance._engine.check_rules."""
    loaded, refused = [], []
    for name, text in files:
        for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            found = _SIGNATURE.match(line)
            if found is None:
                sid = re.search(r"sid:(\d+)", line)
                refused.append(
                    SimpleNamespace(
                        file=name, line=number, sid=int(sid[1]) if sid else None, reason="not a signature"
                    )
                )
                continue
            msg = re.search(r'msg:"([^"]*)"', line)
            loaded.append(
                SimpleNamespace(
                    gid=1,
                    sid=int(found[3]),
                    rev=1,
                    msg=msg[1] if msg else "",
                    action=found[1],
                    protocol=found[2],
                    classtype="",
                    priority=3,
                    cves=re.findall(r"CVE-\d+-\d+", line),
                    references=[],
                    metadata={},
                    file=name,
                    line=number,
                )
            )
    return loaded, refused, []


def main() -> None:
    """Run `sekisho-manager` with the stand-in."""
    engine = ModuleType("appliance._engine")
    engine.check_rules = check_rules  # type: ignore[attr-defined]
    sys.modules["appliance._engine"] = engine
    import appliance

    appliance._engine = engine  # type: ignore[attr-defined]
    from manager_api.cli import main as manager_main

    manager_main()


if __name__ == "__main__":
    main()
