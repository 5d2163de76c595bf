"""What an actor of the Ray runtime does: it trains groups of clients.

An actor is a process with one thread. It holds a session for each graph that it was asked to run.
What all groups of a round share, the graph and what the server broadcasts, is put into Ray's object
store once, which moves it once to each machine, where actors read it from shared memory.
"""

import os
from typing import Any, NamedTuple

import numpy as np
import ray

from tff_experiments.runtime import client_round, client_work, secure_slots
from tff_experiments.secure_sum import group_sum


class Program(NamedTuple):
    """What is the same in all rounds of a process."""

    graph: tuple[bytes, dict[str, Any]]  # From `ClientGraph.pack`.
    slots: secure_slots.SecureSlots


class Job(NamedTuple):
    """One group of clients in one round."""

    program: ray.ObjectRef
    broadcast: ray.ObjectRef
    setting: client_round.Setting
    members: list[tuple[str, list[Any]]]  # (client, feeds)
    uploads: group_sum.Group | None

    def __str__(self) -> str:
        """For people."""
        names = ", ".join(client for client, _ in self.members)
        return f"the group of clients {names[:200]} of round {self.setting.round_num}"


class Answer(NamedTuple):
    """What comes of a group: the arguments of `client_round.ClientRound.take`."""

    result: client_round.Result
    uploaded: group_sum.Uploaded | None
    kept: list[tuple[str, list[np.ndarray]]]


class Actor:
    """Trains groups of clients; `ray_pool` makes an actor of it."""

    def __init__(self):
        """Starts without a graph."""
        self._workers: dict[ray.ObjectRef, tuple[client_work.Worker, Any]] = {}
        self._received: dict[ray.ObjectRef, ray.ObjectRef] = {}

    def pid(self) -> int:
        """Answers, when it is there, with its process' id."""
        return os.getpid()

    def train(self, job: Job) -> Answer:
        """Trains a group; raises ClientError where a client's work fails and stops the round."""
        worker, slots = self._worker(job.program)
        if self._received.get(job.program) != job.broadcast:
            worker.receive(ray.get(job.broadcast))
            self._received[job.program] = job.broadcast
        kept: list[tuple[str, list[np.ndarray]]] = []
        upload = lambda client, leaves: job.uploads.add(client, slots.vector(leaves))
        result = client_round.train_group(
            worker,
            [(client, lambda feeds=feeds: feeds) for client, feeds in job.members],
            job.setting,
            upload=None if job.uploads is None else upload,
            keep=lambda client, leaves: kept.append((client, leaves)) if leaves else None,
        )
        return Answer(result, job.uploads and job.uploads.uploaded(), kept)

    def forget(self, programs: list[ray.ObjectRef]) -> None:
        """Closes the sessions of a process that is gone."""
        for program in programs:
            if program in self._workers:
                self._workers.pop(program)[0].close()
                self._received.pop(program, None)

    def _worker(self, program: ray.ObjectRef) -> tuple[client_work.Worker, Any]:
        if program not in self._workers:
            graph, slots = ray.get(program)
            worker = client_work.Worker(client_work.ClientGraph.unpack(graph))
            self._workers[program] = worker, slots
        return self._workers[program]
