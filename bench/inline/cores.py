"""Which processors generate traffic and which inspect it."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cores:
    """generator, inspector: numbers of processors."""

    generator: tuple[int, ...]
    inspector: tuple[int, ...]

    @property
    def queues(self) -> int:
        """As many as the inspector has processors."""
        return min(len(self.inspector), 8)

    def __str__(self) -> str:
        if self.generator == self.inspector:
            return f"generator and inspector share processors {_listed(self.generator)}"
        return f"generator on {_listed(self.generator)}, inspector on {_listed(self.inspector)}"


def divide(pin: str = "auto") -> Cores:
    """Return our processors in two halves ("apart"), or all of them for both ("shared").

    "auto": apart from four on. With fewer the half that the inspector does not use would stand idle where
    there is none, and every inspector would look better beside no queue than it is.
    """
    ours = tuple(sorted(os.sched_getaffinity(0)))
    half = len(ours) // 2
    apart = half > 0 and (pin == "apart" or (pin == "auto" and half >= 2))
    return Cores(ours[:half], ours[half:]) if apart else Cores(ours, ours)


def pinned(cores: tuple[int, ...], command: list[str]) -> list[str]:
    """Return the command line that runs a command on those processors alone."""
    return ["taskset", "--cpu-list", _listed(cores), *command]


def _listed(cores: tuple[int, ...]) -> str:
    return ",".join(map(str, cores))
