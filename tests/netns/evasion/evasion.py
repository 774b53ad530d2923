"""What a row of the tables is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.netns.evasion.attacker import Connection
from tests.netns.evasion.rig import Guest, Wire

Play = Callable[[Any, bytes, bytes], object]


@dataclass(frozen=True, slots=True)
class Evasion:
    """guest: which text reaches the guest's socket when nothing stands between, the verdict of its kernel.

    play: sends it, given the connection, the real text and the decoy. open_to: fields of the connection.
    blind: why the engine cannot know offline what the guest received, where it cannot; then it may be silent,
    or raise an alert on what the guest did not take. lossy: a text without an exploit does not arrive whole
    behind the inspector either, and why.
    """

    guest: Guest
    name: str
    play: Play
    open_to: dict[str, Any] = field(default_factory=dict)
    connection: type[Connection] = Connection
    blind: str = ""
    lossy: str = ""
    sids: frozenset[int] = frozenset({1, 2})
    """The signatures that see its exploit, where it arrives."""

    def run(self, wire: Wire, real: bytes, decoy: bytes) -> int:
        """Play it; return the port under which the guest recorded what it received."""
        connection = self.connection(wire, **self.open_to)
        self.play(connection, real, decoy)
        return connection.recorded_as
