"""The clients of one round: each is trained, summed, timed, and named when it fails."""

import contextlib
import dataclasses
import re
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_federated as tff

from tff_experiments.runtime import client_work, clients, secure_slots

# "{{function_node f}} what happened\n [[{{node op}}]]": TensorFlow's way to say where.
_FUNCTION = re.compile(r"\{\{function_node [^}]+\}\}\s*")
_NODE = re.compile(r"\[\[(?:\{\{node )?([^\]}]+)")


class ClientError(RuntimeError):
    """A client's work failed; names the round, the client and the op."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a round's randomness and its failures are ruled by.

    Attributes:
        seed: The run's seed.
        round_num: The round, from 1.
        drop_failed: Whether a client whose work fails is left out, and counted.
        secure_seed: Seed of the secure sum's secrets, which are then none; None for real ones.
        noise_seed: Seed of private noise, which then is not private; None for real noise.
        client_states: Keeps what clients keep: `get(client)` gives a client's state, nested,
            `put(client, leaves)` takes its new one, flat; threads call both. None keeps nothing.
    """

    seed: int
    round_num: int
    drop_failed: bool = False
    secure_seed: int | None = None
    noise_seed: int | None = None
    client_states: Any = None


class ClientRound:
    """One round's clients. Groups of them may be trained by several threads."""

    def __init__(
        self,
        inputs: Sequence[clients.ClientInputs],
        client_type: tff.Type,
        setting: Setting,
        slots: secure_slots.SecureSlots,
        secure_sum: Any,
    ):
        """Takes what clients get, and the secure slots with the protocol's round that sums them."""
        if clients.takes_state(client_type) and setting.client_states is None:
            raise ValueError("the process' clients have a state; give `client_states`.")
        self.inputs, self._type, self._setting = inputs, client_type, setting
        self._slots, self._secure_sum = slots, secure_sum
        # Appending is atomic: threads need no lock for these.
        self._seconds: list[float] = []
        self._secure_seconds: list[float] = []
        self._failed: list[str] = []

    def layout(self) -> client_work.Layout:
        """How the clients' values enter a graph, from the first client's."""
        return client_work.Layout(self._type, self._leaves(self.inputs[0]))

    def naming_the_first(self) -> contextlib.AbstractContextManager[None]:
        """Around what the first client's value alone decides: an error there names it."""
        return self._named(self.inputs[0])

    def train(
        self,
        worker: client_work.Worker,
        layout: client_work.Layout,
        group: Sequence[int],
        stop: threading.Event,
    ) -> list[np.ndarray] | None:
        """Trains a group of clients in order.

        Args:
            worker: Does the work.
            layout: From `layout`.
            group: Positions in `inputs`.
            stop: Ends the work before the next client.

        Returns:
            The group's accumulator, or None where no client was left to add.

        Raises:
            ClientError: A client's work failed, and failed clients are not dropped.
        """
        added = 0
        for position in group:
            if stop.is_set():
                return None
            client = self.inputs[position]
            # A client may fail in the secure sum after its update was added.
            undo = self._setting.drop_failed and self._slots.length and added
            before = worker.accumulated() if undo else []
            try:
                with self._named(client):
                    self._train_client(worker, layout, client, is_first=added == 0)
                added += 1
            except ClientError:
                if not self._setting.drop_failed:
                    raise
                self._failed.append(client.client)
                if before:
                    worker.restore(before)
        return worker.accumulated() if added else None

    def _train_client(self, worker, layout, client, *, is_first: bool) -> None:
        start = time.perf_counter()
        sent = worker.train(
            layout.feeds(self._leaves(client)),
            is_first=is_first,
            seed=self._setting.seed,
            round_num=self._setting.round_num,
            client=client.client,
            noise_seed=self._setting.noise_seed,
        )
        trained = time.perf_counter()
        self._seconds.append(trained - start)
        if self._slots.length:
            self._secure_sum.add(client.client, self._slots.vector(sent.secure))
            self._secure_seconds.append(time.perf_counter() - trained)
        # Last: a client that failed before has not taken part, and keeps its old state.
        if sent.kept and self._setting.client_states is not None:
            self._setting.client_states.put(client.client, sent.kept)

    def _leaves(self, client: clients.ClientInputs) -> list[Any]:
        """A client's flat value, its state read when its turn comes."""
        if clients.takes_state(self._type):
            client = client.with_state(self._setting.client_states.get(client.client))
        return client.leaves(self._type)

    @contextlib.contextmanager
    def _named(self, client: clients.ClientInputs):
        try:
            yield
        except Exception as error:
            text = str(error)
            node = _NODE.search(text)
            where = f", op {node.group(1)}" if node else ""
            reason = _FUNCTION.sub("", text).strip().split("\n")[0]
            raise ClientError(
                f"round {self._setting.round_num}, client {client.client}{where}: {reason}"
            ) from error

    def metrics(self) -> dict[str, float]:
        """Seconds of the slowest client, seconds in the secure sum, and who was left out."""
        metrics = {"seconds/slowest_client": max(self._seconds, default=0.0)}
        if self._slots.length:
            metrics["seconds/secure_sum"] = sum(self._secure_seconds)
        if self._setting.drop_failed:
            metrics["train/dropped_clients"] = len(self._failed)
        return metrics
