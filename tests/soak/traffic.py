"""Attacks, and traffic that expects to be cut off now and then; the rest is tests/netns/load.py."""

import time
from dataclasses import dataclass

from appliance import lab
from appliance.lab.wire import Outcome, connect, exchange
from tests.netns.load import Load

ATTACK_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack; times are monotonic seconds. sent: not so if the connection did not get that far."""

    name: str
    began_s: float
    ended_s: float
    outcome: Outcome
    sent: bool


class Attacks(Load):
    """One attack after the other: alone, after honest requests on the same connection, in small pieces."""

    pace_s = 0.3

    def __init__(self, settings: lab.LabSettings, side: str) -> None:
        super().__init__(settings)
        self.side = side
        self.made: list[Attack] = []

    def step(self) -> None:
        name = f"{self.side}-{self.done}"
        began_s = time.monotonic()
        request = f"GET /evil?{name} HTTP/1.1\r\nHost: web\r\n\r\n".encode()
        match self.done % 3:
            case 0:
                outcome, sent = self._send(request, ())
            case 1:
                outcome, sent = self._after_honest_ones(request)
            case _:
                outcome, sent = self._send(request, (3, 4, 5, 6))
        self.made.append(Attack(name, began_s, time.monotonic(), outcome, sent))

    def _send(self, request: bytes, sizes: tuple[int, ...]) -> tuple[Outcome, bool]:
        made = exchange(self.netns, lab.WEB.ipv4, lab.RAW_PORT, request, sizes, ATTACK_TIMEOUT_S)
        return made.outcome, made.port != 0

    def _after_honest_ones(self, request: bytes) -> tuple[Outcome, bool]:
        honest, sent = b"GET /fine HTTP/1.1\r\nHost: web\r\n\r\n", False
        try:
            with connect(self.netns, lab.WEB.ipv4, lab.RAW_PORT, ATTACK_TIMEOUT_S) as connection:
                for each in (honest, honest, request):
                    connection.sendall(each)
                    sent = each is request
                    answer = connection.recv(65_536)
        except TimeoutError:
            return Outcome.TIMEOUT, sent
        except OSError:
            return Outcome.RESET, sent
        return (Outcome.ANSWERED if answer else Outcome.CLOSED), sent
