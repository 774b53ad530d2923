"""What must be looked at for each guest of an engine policy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from appliance.model.faults import PolicyError
from appliance.model.needs import Needs, needs_of

ASKED = ("format", "version", "generation", "rule_sets", "variables", "guests", "segments")
"""What it follows from: the ports' interfaces are the inspector's business."""


class NeedsReader(msgspec.Struct):
    """Reads them; the last ones are kept, for most policy changes are none of signatures.

    base: what paths in an engine policy are relative to.
    """

    base: Path
    _asked: bytes = b""
    _answer: Mapping[str, Needs] = msgspec.field(default_factory=dict)

    def read(self, engine_policy: Mapping[str, Any]) -> Mapping[str, Needs]:
        """Return them by guest. Raises PolicyError."""
        from appliance import _engine

        asked = {name: engine_policy[name] for name in ASKED if name in engine_policy}
        asked |= {"version": 0, "generation": 0}
        document = msgspec.json.encode(asked)
        if document != self._asked:
            try:
                answer = needs_of(_engine.steering(document.decode(), str(self.base)))
            except _engine.PolicyError as error:
                raise PolicyError(str(error)) from None
            self._asked, self._answer = document, answer
        return self._answer
