"""What processes of ours tell the kernel about themselves."""

import ctypes
import os
import signal
from pathlib import Path

PR_SET_PDEATHSIG = 1
FIRST_VICTIM = 500
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel end this process when its parent ends. Raises OSError, SystemExit if it has already.

    To be called again after rights were given up: a change of user takes the setting away. Source: prctl(2).
    """
    if _prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:
        raise SystemExit("the parent process has ended")


def be_first_to_go() -> None:
    """Have the kernel end this process before others of ours when memory runs out. Raises OSError.

    An inspector is replaced at once and the failure policy holds meanwhile; control keeps all of that going.
    Source: proc_pid_oom_score_adj(5).
    """
    Path("/proc/self/oom_score_adj").write_text(f"{FIRST_VICTIM}\n")
