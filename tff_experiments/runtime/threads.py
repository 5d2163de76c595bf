"""The crew of one machine: a thread for each worker, which takes the next group when it is idle."""

import collections
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import Any

import numpy as np

from tff_experiments.runtime import client_round, client_work


class Threads:
    """See `rounds.Crew`."""

    def __init__(self, form, *, num_workers: int, devices: Sequence[str], client_threads: int):
        """Starts without workers.

        Args:
            form: The MapReduceForm.
            num_workers: Clients that are trained at the same time.
            devices: Where, dealt to workers in turn; "" is TensorFlow's choice.
            client_threads: How many an operation of a client may take.
        """
        self._form, self._num_workers, self._devices = form, num_workers, devices
        self._client_threads = client_threads
        self._workers: dict[Any, list[client_work.Worker]] = {}
        self._pool = futures.ThreadPoolExecutor(num_workers, "client_worker")

    def train(
        self, work: client_round.ClientRound, broadcast: list[np.ndarray]
    ) -> Iterator[list[np.ndarray]]:
        """See `rounds.Crew`."""
        groups = work.groups()
        if not groups:
            return
        with work.naming_the_first():
            layout = work.layout()
            workers = self._workers_for(layout)
        idle: queue.SimpleQueue = queue.SimpleQueue()
        for worker in workers[: len(groups)]:
            idle.put((worker, False))
        stop = threading.Event()

        def train(group):
            worker, has_broadcast = idle.get()
            try:
                if not has_broadcast:
                    worker.receive(broadcast)
                return work.train(worker, layout, group, stop)
            finally:
                idle.put((worker, True))

        running = collections.deque(self._pool.submit(train, group) for group in groups)
        try:
            while running:
                part = running[0].result()
                # A future holds its result: memory would grow with the groups.
                running.popleft()
                if part is not None:
                    yield part
        finally:
            # After an error or an interrupt no thread may go on with this round.
            stop.set()
            futures.wait(running)

    def _workers_for(self, layout: client_work.Layout) -> list[client_work.Worker]:
        if layout.key not in self._workers:
            graphs = {
                device: client_work.ClientGraph.build(
                    self._form, layout, device=device, threads=self._client_threads
                )
                for device in set(self._devices)
            }
            self._workers[layout.key] = [
                client_work.Worker(graphs[self._devices[i % len(self._devices)]])
                for i in range(self._num_workers)
            ]
        return self._workers[layout.key]

    def close(self) -> None:
        """Ends the threads and the sessions."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for worker in (worker for workers in self._workers.values() for worker in workers):
            worker.close()
