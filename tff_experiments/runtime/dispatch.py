"""Hands jobs to workers that may die, and gives the answers in the order of the jobs.

A worker takes the next job when it has room. The jobs of one that is gone are done again, first of
all: they are the ones that the others wait for. Nothing of a job counts before its answer is here.
"""

import collections
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from tff_experiments.runtime import client_round

AHEAD = 8  # Jobs a worker that may be given out before their turn: their answers take memory.
MAX_TRIES = 3


class LostError(Exception):
    """A worker is gone, and what it had to do with it."""


class Workers(Protocol):
    """Who does jobs."""

    num_workers: int

    def take(self) -> Any | None:
        """A worker that has room for a job, None if none has."""

    def give_back(self, worker: Any) -> None:
        """A worker has done a job."""

    def submit(self, worker: Any, job: Any) -> Any:
        """Gives a worker a job; returns a handle."""

    def wait(self, handles: Iterable[Any]) -> Any | None:
        """Waits for one of the jobs to end, or for a new worker, and then returns None."""

    def result(self, handle: Any) -> Any:
        """What came of a job that ended; LostError if its worker is gone, or the job's error."""

    def replace(self, worker: Any) -> None:
        """Ends a worker, if it is not gone already, and starts another one."""


def in_order(workers: Workers, jobs: Iterable[Any]) -> Iterator[Any]:
    """Does jobs.

    Args:
        workers: Who does them.
        jobs: What is to do; the next one is made when a worker has room for it.

    Yields:
        Each job's answer, in order.

    Raises:
        ClientError: Workers die with a job again and again.
        Exception: A job's own error.
    """
    dispatch = _Dispatch(workers, jobs)
    try:
        yield from dispatch.answers()
    finally:
        # After an error or an interrupt no worker may go on.
        for worker in dispatch.busy():
            workers.replace(worker)


class _Dispatch:
    def __init__(self, workers: Workers, jobs: Iterable[Any]):
        self._workers, self._jobs = workers, enumerate(jobs)
        self._waiting: list[tuple[int, Any]] = []  # (position, job), the first ones first.
        self._running: dict[Any, tuple[Any, int, Any]] = {}  # Handle -> (worker, position, job).
        self._done: dict[int, Any] = {}
        self._tries: collections.Counter[int] = collections.Counter()
        self._next = 0

    def busy(self) -> list[Any]:
        return list({id(worker): worker for worker, _, _ in self._running.values()}.values())

    def answers(self) -> Iterator[Any]:
        while True:
            self._hand_out()
            if self._next in self._done:
                self._next += 1
                yield self._done.pop(self._next - 1)
            elif self._running or self._waiting:
                self._collect(self._workers.wait(self._running))
            else:
                return

    def _hand_out(self) -> None:
        end = self._next + AHEAD * self._workers.num_workers
        while True:
            if not self._waiting:
                self._waiting += [job for job in [next(self._jobs, None)] if job]
            if not self._waiting or self._waiting[0][0] >= end:
                return
            worker = self._workers.take()
            if worker is None:
                return
            position, job = self._waiting.pop(0)
            self._running[self._workers.submit(worker, job)] = worker, position, job

    def _collect(self, handle: Any | None) -> None:
        if handle is None:
            return
        worker, position, _ = self._running[handle]
        try:
            self._done[position] = self._workers.result(handle)
        except LostError as error:
            self._redo(worker, str(error))
            return
        except Exception:
            # It has no more to do with this job, and lives.
            del self._running[handle]
            self._workers.give_back(worker)
            raise
        del self._running[handle]
        self._workers.give_back(worker)

    def _redo(self, lost: Any, reason: str) -> None:
        """Takes back what a worker had. It did its jobs in order: it died with the first."""
        taken = [handle for handle, (worker, _, _) in self._running.items() if worker is lost]
        self._waiting += [self._running.pop(handle)[1:] for handle in taken]
        position, job = self._waiting[-len(taken)]
        self._waiting.sort(key=lambda waiting: waiting[0])
        self._tries[position] += 1
        self._workers.replace(lost)
        if self._tries[position] == MAX_TRIES:
            raise client_round.ClientError(f"{MAX_TRIES} workers died with {job}: {reason}")
