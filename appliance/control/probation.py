"""Whether the policy that went live last is to blame for what befalls the inspector.

A policy is on probation for PROBATION_S from the moment it is live. It is to blame once the inspector ended
RUNS times in a row under it, the first time within that time and each time within SHORT_S of running it; or
once the engine failed on PANICS packets within that time. An inspector that somebody killed (and not the
watchdog, because it hung) does not count.
"""

import msgspec

RUNS = 3
SHORT_S = 10.0
PANICS = 3
PROBATION_S = 60.0


class Probation(msgspec.Struct):
    """Times are monotonic seconds."""

    _began_s: float = 0.0
    _short_runs: int = 0
    _panics_before: int = 0
    _panics: int = 0

    def begin(self, now_s: float) -> None:
        """Another policy is live."""
        self._began_s, self._short_runs, self._panics_before = now_s, 0, self._panics

    def ended(self, up_s: float, now_s: float) -> str | None:
        """Note an end of the inspector; return what the policy is to blame for, if it is.

        up_s: how long it was up; 0 if it never was.
        """
        self._panics = self._panics_before = 0  # the next inspector counts anew
        live_s = now_s - self._began_s
        is_old = self._short_runs == 0 and live_s > PROBATION_S
        self._short_runs = 0 if is_old or min(up_s, live_s) >= SHORT_S else self._short_runs + 1
        if self._short_runs < RUNS:
            return None
        return f"the inspector ended {self._short_runs} times in a row within {SHORT_S:.0f} s under it"

    def panicked(self, panics: int, now_s: float) -> str | None:
        """Note how many packets this inspector failed on so far; return what the policy is to blame for."""
        self._panics = max(self._panics, panics)
        new = self._panics - self._panics_before
        if new < PANICS or now_s - self._began_s > PROBATION_S:
            return None
        return f"the inspector failed on {new} packets within {PROBATION_S:.0f} s of it"
