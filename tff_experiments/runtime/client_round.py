"""The clients of one round: each is trained, summed, timed, and named when it fails."""

import contextlib
import dataclasses
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow_federated as tff

from tff_experiments.runtime import client_work, clients, secure_slots
from tff_experiments.secure_sum import group_sum

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


class Result(NamedTuple):
    """What came of a group of clients."""

    accumulated: list[np.ndarray] | None  # None where no client was left to add.
    seconds: list[float]  # Of each client's training.
    secure_seconds: float  # Of all in the secure sum.
    failed: list[str]  # Who was left out.


def train_group(
    worker: client_work.Worker,
    members: Iterable[tuple[str, Callable[[], Sequence[Any]]]],
    setting: Setting,
    *,
    upload: Callable[[str, Sequence[np.ndarray]], None] | None,
    keep: Callable[[str, list[np.ndarray]], None],
    stopped: Callable[[], bool] = lambda: False,
) -> Result:
    """Trains a group of clients in order, on whatever machine.

    Args:
        worker: Does the work.
        members: Each client, and what gives its feeds.
        setting: The round's.
        upload: Takes a client and the leaves of its secure slots; None where there are none.
        keep: Takes a client and what it keeps. Called last: a client that failed before has not
            taken part, and keeps its old state.
        stopped: Whether to end before the next client; what came until then is dropped.

    Returns:
        What came of the group.

    Raises:
        ClientError: A client's work failed, and failed clients are not dropped.
    """
    added, result = 0, Result(None, [], 0.0, [])
    for client, feeds in members:
        if stopped():
            return result
        # A client may fail in the secure sum after its update was added.
        undo = setting.drop_failed and upload and added
        before = worker.accumulated() if undo else []
        try:
            with naming(client, setting.round_num):
                start = time.perf_counter()
                sent = worker.train(
                    feeds(),
                    is_first=added == 0,
                    seed=setting.seed,
                    round_num=setting.round_num,
                    client=client,
                    noise_seed=setting.noise_seed,
                )
                trained = time.perf_counter()
                result.seconds.append(trained - start)
                if upload:
                    upload(client, sent.secure)
                    spent = time.perf_counter() - trained
                    result = result._replace(secure_seconds=result.secure_seconds + spent)
                keep(client, sent.kept)
            added += 1
        except ClientError:
            if not setting.drop_failed:
                raise
            result.failed.append(client)
            if before:
                worker.restore(before)
    return result._replace(accumulated=worker.accumulated()) if added else result


@contextlib.contextmanager
def naming(client: str, round_num: int):
    """Around what is done for a client: an error there becomes a ClientError that names it."""
    try:
        yield
    except Exception as error:
        text = str(error)
        node = _NODE.search(text)
        where = f", op {node.group(1)}" if node else ""
        reason = _FUNCTION.sub("", text).strip().split("\n")[0]
        raise ClientError(f"round {round_num}, client {client}{where}: {reason}") from error


class ClientRound:
    """One round's clients. Groups of them may be trained by several threads, or elsewhere."""

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
        self.inputs, self._type, self.setting = inputs, client_type, setting
        self._slots, self._secure_sum = slots, secure_sum
        # Appending is atomic: threads need no lock for these.
        self._seconds: list[float] = []
        self._secure_seconds: list[float] = []
        self._failed: list[str] = []

    def layout(self) -> client_work.Layout:
        """How the clients' values enter a graph, from the first client's."""
        return client_work.Layout(self._type, self._leaves(self.inputs[0]))

    def groups(self) -> list[list[int]]:
        """Positions in `inputs`, dealt into groups: the same for any number of workers."""
        return clients.deal([client.num_examples() for client in self.inputs])

    def naming_the_first(self) -> contextlib.AbstractContextManager[None]:
        """Around what the first client's value alone decides: an error there names it."""
        return naming(self.inputs[0].client, self.setting.round_num)

    def train(
        self,
        worker: client_work.Worker,
        layout: client_work.Layout,
        group: Sequence[int],
        stop: threading.Event,
    ) -> list[np.ndarray] | None:
        """Trains a group of clients in order, here.

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
        members = [(self.inputs[i].client, lambda i=i: self._feeds(layout, i)) for i in group]
        upload = lambda client, leaves: self._secure_sum.add(client, self._slots.vector(leaves))
        result = train_group(
            worker,
            members,
            self.setting,
            upload=upload if self._slots.length else None,
            keep=self._keep,
            stopped=stop.is_set,
        )
        return self.take(result)

    def feeds(
        self, layout: client_work.Layout, group: Sequence[int]
    ) -> list[tuple[str, list[Any]]]:
        """A group's (client, feeds), for training elsewhere; raises as `train` does."""
        members = []
        for i in group:
            client = self.inputs[i].client
            try:
                with naming(client, self.setting.round_num):
                    members.append((client, self._feeds(layout, i)))
            except ClientError:
                if not self.setting.drop_failed:
                    raise
                self._failed.append(client)
        return members

    def uploads(self, names: Sequence[str]) -> group_sum.Group | None:
        """What these clients need for the secure sum elsewhere; None where there is none."""
        return self._secure_sum.group(names) if self._slots.length else None

    def take(
        self,
        result: Result,
        uploaded: group_sum.Uploaded | None = None,
        kept: Sequence[tuple[str, list[np.ndarray]]] = (),
    ) -> list[np.ndarray] | None:
        """Takes what came of a group, and of one trained elsewhere what was uploaded and kept.

        Returns:
            The group's accumulator, or None where no client was left to add.
        """
        self._seconds += result.seconds
        self._secure_seconds.append(result.secure_seconds)
        self._failed += result.failed
        if uploaded is not None:
            self._secure_sum.add_group(uploaded)
        for client, leaves in kept:
            self._keep(client, leaves)
        return result.accumulated

    def _keep(self, client: str, leaves: list[np.ndarray]) -> None:
        if leaves and self.setting.client_states is not None:
            self.setting.client_states.put(client, leaves)

    def _feeds(self, layout: client_work.Layout, position: int) -> list[Any]:
        return layout.feeds(self._leaves(self.inputs[position]))

    def _leaves(self, client: clients.ClientInputs) -> list[Any]:
        """A client's flat value, its state read when its turn comes."""
        if clients.takes_state(self._type):
            client = client.with_state(self.setting.client_states.get(client.client))
        return client.leaves(self._type)

    def metrics(self) -> dict[str, float]:
        """Seconds of the slowest client, seconds in the secure sum, and who was left out."""
        metrics = {"seconds/slowest_client": max(self._seconds, default=0.0)}
        if self._slots.length:
            metrics["seconds/secure_sum"] = sum(self._secure_seconds)
        if self.setting.drop_failed:
            metrics["train/dropped_clients"] = len(self._failed)
        return metrics
