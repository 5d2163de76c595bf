"""How well clients are served by models of their own, beside the global model, over clients.

A client's own model comes from its training data or from the state that it keeps, as the algorithm
says; both models are measured on the client's own test data. The clients are the same in all rounds
of a run.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tff_experiments import evaluation, sampling
from tff_experiments.clients import state_store
from tff_experiments.datasets import batching, federated_data
from tff_experiments.runtime import clients
from tff_experiments.tasks import task as task_lib

_CHUNK = 256  # Clients whose examples are in memory at the same time.


def check(data: federated_data.FederatedData) -> None:
    """Raises ValueError unless the clients that have test data have training data."""
    unknown = set(held(data.test)) - set(data.train.client_ids)
    if unknown:
        raise ValueError(
            f"--eval_personalized: the test set of {data.label} is not divided into the clients "
            f"of the training set ({len(unknown)} of its {data.test.num_clients} are not among "
            f"them, such as {min(unknown)!r}); leave it out."
        )


def held(split: federated_data.ClientExamples) -> list[str]:
    """The clients of a split that have examples."""
    return [name for name, n in zip(split.client_ids, split.counts, strict=True) if n]


class PersonalEvaluator:
    """Evaluates a process' clients; the process is built at once, compiled with the first round."""

    def __init__(
        self,
        process: Any,
        task: task_lib.Task,
        data: federated_data.FederatedData,
        *,
        runtime: Any,
        num_clients: int,
        epochs: int,
        learning_rate: float,
        batch_size: int,
        seed: int,
    ):
        """Builds the evaluation.

        Args:
            process: The training process.
            task: Gives the batches and the metrics.
            data: The clients' training and test data.
            runtime: What runs it, from the local runtime's `use`.
            num_clients: How many are evaluated, drawn once; 0 is all that have test data.
            epochs: Passes of fine-tuning.
            learning_rate: Of fine-tuning; 0 is the clients' own.
            batch_size: Of the training data; 0 is one batch of all.
            seed: The run's seed.
        """
        self._process = process.build_personal_evaluation(
            per_example=task.per_example, epochs=epochs, learning_rate=learning_rate
        )
        self._task, self._data, self._runtime = task, data, runtime
        self._batch_size, self._seed = batch_size, seed
        self._clients = sampling.subset(held(data.test), num_clients, seed=seed)
        self._positions = {name: i for i, name in enumerate(data.train.client_ids)}

    def __call__(
        self, state: Any, round_num: int, states: state_store.StateStore | None
    ) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        """Evaluates the clients after a round.

        Args:
            state: The training process' state.
            round_num: The round.
            states: The clients' own states; None where they keep none.

        Returns:
            `personal/<metric>/...` and `global_on_same/<metric>/...` (see `evaluation.spread`),
            `personal/clients`, and where clients keep a state `personal/clients_without_state`;
            and each client's `personal/<metric>` and `global_on_same/<metric>`, see
            `evaluation.by_client`.

        Raises:
            ClientError: A client's evaluation failed.
        """
        kept = _Kept(states)
        begun = self._process.begin(state)
        for chunk in self._chunks(round_num):
            self._runtime.next(
                self._process,
                begun,
                chunk,
                seed=self._seed,
                round_num=round_num,
                client_states=kept,
            )
        metrics: dict[str, float] = {"personal/clients": len(kept.measured)}
        if states is not None:
            metrics["personal/clients_without_state"] = len(kept.without)
        measured = [name for name in self._clients if name in kept.measured]
        if not measured:  # All failed, and failed clients are dropped.
            return metrics, {}
        found = zip(*(kept.measured[name] for name in measured), strict=True)
        global_sums, personal_sums, counts = map(np.stack, found)
        of_clients = {}
        for model, sums in (("personal", personal_sums), ("global_on_same", global_sums)):
            values = dict(zip(self._process.metrics, (sums / counts[:, None]).T, strict=True))
            metrics |= evaluation.spreads(model, values)
            of_clients |= {f"{model}/{name}": each for name, each in values.items()}
        return metrics, evaluation.by_client(measured, counts, of_clients)

    def _chunks(self, round_num: int) -> Iterator[Sequence[clients.ClientInputs]]:
        for start in range(0, len(self._clients), _CHUNK):
            chunk = self._clients[start : start + _CHUNK]
            yield [self._inputs(name, round_num) for name in chunk]

    def _inputs(self, name: str, round_num: int) -> clients.ClientInputs:
        preprocess = self._task.preprocess
        batches = batching.make(
            self._data.train.examples(name),
            batch_size=self._batch_size,
            epochs=1,
            max_examples=0,
            preprocess=preprocess,
            rng=sampling.client_rng(self._seed, round_num, self._positions[name]),
        )
        test = batching.in_order(
            self._data.test.examples(name),
            batch_size=evaluation.BATCH_SIZE,
            preprocess=preprocess,
        )
        return clients.ClientInputs(batches, extras={"test": test}, client=name)


class _Kept:
    """Gives clients the states that they keep, and takes what their evaluation gives."""

    def __init__(self, states: state_store.StateStore | None):
        self._states = states
        self.measured: dict[str, Sequence[np.ndarray]] = {}
        self.without: set[str] = set()

    def get(self, client: str) -> Any:
        """A client's state after the last round."""
        state = self._states.newest(client)
        if state is None:
            self.without.add(client)
        return self._states.first if state is None else state

    def put(self, client: str, leaves: Sequence[np.ndarray]) -> None:
        """Takes the sums of a client's metrics, global and personal, and its test examples."""
        self.measured[client] = leaves
