"""Each evasion against a guest behind the inspector in prevent mode: the exploit never arrives whole.

The bridge's conntrack puts fragments together before the inspector sees them; `test_replayed` tests the
engine's own.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.netns.control_fixture import Appliance
from tests.netns.evasion.evasion import Evasion
from tests.netns.evasion.rig import EXPLOIT, HARMLESS, Guest, Wire, text, wire
from tests.netns.evasion.test_replayed import EVASIONS, TEXTS

pytest.importorskip("appliance._engine", reason="the packet engine is not built", exc_type=ImportError)
HARMLESS_ONLY = "none"
ARRIVAL_S = 3.0


@dataclass(slots=True)
class Played:
    """Under which port the guest recorded each evasion, by the text that holds the exploit."""

    attacker: Wire
    ports: dict[tuple[str, str], int] = field(default_factory=dict)

    def received(self, evasion: Evasion, exploit_in: str) -> bytes:
        return self.attacker.received(self.ports[evasion.name, exploit_in])


@pytest.fixture(scope="module")
def played(appliance: Appliance) -> Iterator[Played]:
    """Play all of them, one after the other: first harmless in both texts, then with the exploit in one."""
    with wire(appliance.settings) as attacker:
        made = Played(attacker)
        for evasion in EVASIONS:
            for exploit_in, (real, decoy) in {HARMLESS_ONLY: (HARMLESS, HARMLESS), **TEXTS}.items():
                made.ports[evasion.name, exploit_in] = evasion.run(attacker, text(real), text(decoy))
                attacker.settle()
        yield made


@pytest.mark.parametrize("evasion", EVASIONS, ids=lambda evasion: evasion.name)
def test_the_exploit_never_arrives_whole(played: Played, evasion: Evasion) -> None:
    for exploit_in in TEXTS:
        assert EXPLOIT not in played.received(evasion, exploit_in), exploit_in


@pytest.mark.parametrize("evasion", EVASIONS, ids=lambda evasion: evasion.name)
def test_without_an_exploit_everything_arrives(played: Played, evasion: Evasion) -> None:
    if evasion.lossy or evasion.guest in (Guest.NEITHER, Guest.ANY):
        pytest.skip(f"not even without an inspector: {evasion.lossy or evasion.guest.value}")
    deadline = time.monotonic() + ARRIVAL_S
    while (received := played.received(evasion, HARMLESS_ONLY)) != text(HARMLESS):
        assert time.monotonic() < deadline, received
        time.sleep(0.05)
