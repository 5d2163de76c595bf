"""The actors of the Ray runtime, and how a process' clients are trained by them.

An actor that dies (kill -9, out of memory, a machine that is gone) is replaced, where Ray finds
room, and its groups are done again (see `dispatch`).
"""

import collections
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import ray

from tff_experiments.runtime import (
    client_round,
    client_work,
    dispatch,
    ray_actor,
    secure_slots,
)

GROUPS_PER_ACTOR = 2  # One that it trains, and one that waits: it is never without work.
START_SECONDS = 600


class Pool:
    """The actors of a run, which all of its processes share; see `dispatch.Workers`."""

    def __init__(self, num_workers: int, *, gpus: float = 0.0):
        """Starts actors on the cluster that Ray is connected to, with so many GPUs each."""
        self.num_workers = num_workers
        # Ray does not know in which order an actor's calls can be done again.
        options = {"num_cpus": 1, "num_gpus": gpus, "max_restarts": 0, "max_task_retries": 0}
        self._actor = ray.remote(ray_actor.Actor).options(scheduling_strategy="SPREAD", **options)
        self._starting: dict[ray.ObjectRef, Any] = {}
        self._failed_starts = 0
        # An actor stands here once for each job that it has room for.
        self._room: collections.deque = collections.deque()
        for _ in range(num_workers):
            self._start()

    def take(self) -> Any | None:
        """See `dispatch.Workers`."""
        return self._room.popleft() if self._room else None

    def give_back(self, worker: Any) -> None:
        """See `dispatch.Workers`."""
        self._room.append(worker)

    def submit(self, worker: Any, job: ray_actor.Job) -> ray.ObjectRef:
        """See `dispatch.Workers`."""
        return worker.train.remote(job)

    def wait(self, handles: Iterable[ray.ObjectRef]) -> ray.ObjectRef | None:
        """See `dispatch.Workers`; raises ClientError where no worker starts."""
        handles = list(handles)
        timeout = None if handles else START_SECONDS
        ended, _ = ray.wait([*handles, *self._starting], timeout=timeout, fetch_local=False)
        if not ended:
            raise client_round.ClientError(
                f"no Ray worker was there within {START_SECONDS} s; see `ray status`."
            )
        if ended[0] not in self._starting:
            return ended[0]
        actor = self._starting.pop(ended[0])
        try:
            ray.get(ended[0])
            self._room.extend([actor] * GROUPS_PER_ACTOR)
        except ray.exceptions.RayError as error:
            self._failed_starts += 1
            if self._failed_starts >= dispatch.MAX_TRIES * self.num_workers:
                raise client_round.ClientError(f"Ray workers do not start: {error}") from error
            self._start()
        return None

    def result(self, handle: ray.ObjectRef) -> ray_actor.Answer:
        """See `dispatch.Workers`."""
        try:
            return ray.get(handle)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, client_round.ClientError):
                raise error.cause from None
            raise
        except (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError) as error:
            raise dispatch.LostError(str(error).strip().split("\n")[0]) from error

    def replace(self, worker: Any) -> None:
        """See `dispatch.Workers`."""
        ray.kill(worker)
        self._room = collections.deque(other for other in self._room if other is not worker)
        self._start()

    def _start(self) -> None:
        actor = self._actor.remote()
        self._starting[actor.pid.remote()] = actor

    def forget(self, programs: list[ray.ObjectRef]) -> None:
        """Has the actors close the sessions of a process that is gone."""
        for actor in self._actors(self._room):
            actor.forget.remote(programs)

    def close(self) -> None:
        """Ends the actors."""
        for actor in self._actors([*self._room, *self._starting.values()]):
            ray.kill(actor)
        self._room.clear()
        self._starting.clear()

    def _actors(self, many: Iterable[Any]) -> Iterable[Any]:
        return {id(actor): actor for actor in many}.values()


class Crew:
    """One process' clients on the pool; see `rounds.Crew`."""

    def __init__(self, form, *, pool: Pool, device: str, threads: int):
        """Starts without a graph.

        Args:
            form: The MapReduceForm.
            pool: Who works.
            device: Where TensorFlow should place client work; "" is its choice.
            threads: How many an operation of a client may take.
        """
        self._form, self._pool, self._device, self._threads = form, pool, device, threads
        self._slots = secure_slots.SecureSlots(form)
        self._programs: dict[Any, ray.ObjectRef] = {}

    def train(
        self, work: client_round.ClientRound, broadcast: list[np.ndarray]
    ) -> Iterator[list[np.ndarray]]:
        """See `rounds.Crew`."""
        groups = work.groups()
        if not groups:
            return
        with work.naming_the_first():
            layout = work.layout()
            program = self._program(layout)
        sent = ray.put([np.asarray(leaf) for leaf in broadcast])
        # A state is read when its client's turn comes, and the new one comes with the answer.
        setting = dataclasses.replace(work.setting, client_states=None)

        def job(group):
            members = work.feeds(layout, group)
            uploads = work.uploads([client for client, _ in members])
            return ray_actor.Job(program, sent, setting, members, uploads)

        for answer in dispatch.in_order(self._pool, map(job, groups)):
            part = work.take(*answer)
            if part is not None:
                yield part

    def _program(self, layout: client_work.Layout) -> ray.ObjectRef:
        if layout.key not in self._programs:
            graph = client_work.ClientGraph.build(
                self._form, layout, device=self._device, threads=self._threads
            )
            program = ray_actor.Program(graph.pack(), self._slots)
            self._programs[layout.key] = ray.put(program)
        return self._programs[layout.key]

    def close(self) -> None:
        """Has the actors forget it."""
        self._pool.forget(list(self._programs.values()))
