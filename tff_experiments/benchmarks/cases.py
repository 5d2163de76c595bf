"""Federated training at a given size: a task, its process, and clients with random pixels.

The time of a round does not depend on what the pixels show.
"""

import dataclasses

import numpy as np

from tff_experiments import sampling, tasks
from tff_experiments.aggregation import mean
from tff_experiments.algorithms import fed_avg, ingredients, optimizers
from tff_experiments.datasets import batching, federated_data
from tff_experiments.runtime import clients

BATCH_SIZE = 20
LEARNING_RATE = 0.01
CLASSES = 62


@dataclasses.dataclass(frozen=True)
class Case:
    """One size.

    Attributes:
        title: For tables.
        task: A key of `tasks.BY_NAME`.
        num_clients: Clients of a round.
        num_examples: Examples of each.
    """

    title: str
    task: str
    num_clients: int
    num_examples: int

    def build_task(self):
        """Makes the task."""
        module = tasks.BY_NAME[self.task]
        rng = np.random.default_rng(0)
        columns = {
            "images": rng.random((self.num_examples, 28, 28), dtype=np.float32),
            "labels": rng.integers(0, CLASSES, self.num_examples).astype(np.int32),
        }
        one = federated_data.one_client(columns)
        data = federated_data.FederatedData("random pixels", one, one, num_classes=CLASSES)
        return module.build(module.Hparams(), data=data, seed=0), columns

    def inputs(
        self, task, columns, round_num: int, *, own: bool = False
    ) -> list[clients.ClientInputs]:
        """What the round's clients get: the same examples, in an order of their own.

        With `own` in arrays of their own too: what is sent with a group is then as much as in a
        run, where it else would be sent once.
        """
        copy = lambda: {name: column.copy() for name, column in columns.items()}
        return [
            clients.ClientInputs(
                batching.make(
                    copy() if own else columns,
                    batch_size=BATCH_SIZE,
                    epochs=1,
                    max_examples=0,
                    preprocess=task.preprocess,
                    rng=sampling.client_rng(0, round_num, client),
                ),
                client=str(client),
            )
            for client in range(self.num_clients)
        ]


def build_process(task, aggregator=mean, factory=None):
    """FedAvg with SGD, on both sides; with an aggregator, made already where it is not `mean`."""
    is_private = hasattr(aggregator, "privacy")
    return fed_avg.build(
        fed_avg.Hparams(weighting="uniform" if is_private else "examples"),
        ingredients.Ingredients(
            model_fn=task.model_fn,
            client_optimizer=optimizers.build(optimizers.Hparams(learning_rate=LEARNING_RATE)),
            server_optimizer=optimizers.build(optimizers.Hparams()),
            aggregator=factory or aggregator.build(aggregator.Hparams()),
            metrics_aggregator=aggregator.METRICS_AGGREGATOR,
            private=is_private,
        ),
    )
