"""Runs as processes of their own, none of which outlives the search."""

import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def shares(num_jobs: int) -> list[set[int]]:
    """This process' cores, dealt to so many jobs; those without one of their own share.

    TensorFlow makes as many threads as there are cores: jobs that each see all of them are in one
    another's way.
    """
    cores = sorted(os.sched_getaffinity(0))
    return [set(cores[i::num_jobs]) or {cores[i % len(cores)]} for i in range(num_jobs)]


def start(
    command: Sequence[str], log: pathlib.Path | None, cores: Collection[int] = ()
) -> subprocess.Popen:
    """Starts a command in a process group of its own, on these cores or on all; what it says is
    appended to `log`, or goes to standard error where that is None.

    A Ctrl-C in the terminal does not reach it: whoever started it ends it, with `end`. If that one
    is killed, the kernel tells the command to stop.
    """

    def prepare():
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if cores:
            os.sched_setaffinity(0, cores)

    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") if log else contextlib.nullcontext() as out:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out or sys.stderr,
            stderr=subprocess.STDOUT if log else None,
            start_new_session=True,
            preexec_fn=prepare,
        )


def end(processes: Collection[subprocess.Popen], *, patience: float = 60) -> None:
    """Asks processes to stop, lets them write their checkpoints, then kills what is left.

    Args:
        processes: From `start`; those that have ended may have left children.
        patience: Seconds until they are killed; a Ctrl-C meanwhile kills them at once.
    """
    try:
        for process in processes:
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + patience
        for process in processes:
            process.wait(max(0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        pass
    finally:
        for process in processes:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def last_words(process: subprocess.Popen, log: pathlib.Path) -> str:
    """The last line that a command said, without its "error: "; of one that was killed by a signal,
    which says nothing, the signal.
    """
    if process.returncode < 0:
        return f"killed by signal {-process.returncode}, often for lack of memory"
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip().removeprefix("error: ") if lines else "it said nothing"
