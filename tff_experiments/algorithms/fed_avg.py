"""FedAvg: clients train locally, the server applies the weighted mean of their updates.

McMahan et al. 2017, algorithm 1 (https://arxiv.org/abs/1602.05629), through
`tff.learning.algorithms`:

    w_k     = ClientUpdate(k, w_t)                  some epochs of the client optimizer
    w_{t+1} = ServerOptimizer(w_t, - sum_k n_k / n (w_k - w_t))

Server SGD with learning rate 1 and no momentum is the paper's.
"""

import dataclasses
from typing import Literal

import tensorflow_federated as tff


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of FedAvg."""

    weighting: Literal["examples", "uniform"] = "examples"
    """What a client's update weighs: its number of examples, or 1."""


_WEIGHTING = {
    "examples": tff.learning.ClientWeighting.NUM_EXAMPLES,
    "uniform": tff.learning.ClientWeighting.UNIFORM,
}


def build(
    hparams: Hparams,
    *,
    model_fn,
    client_optimizer,
    server_optimizer,
    aggregator,
    metrics_aggregator=None,
) -> tff.learning.templates.LearningProcess:
    """Makes the process.

    Args:
        hparams: The knobs.
        model_fn: Makes a `tff.learning.models.VariableModel`.
        client_optimizer: A `tff.learning.optimizers.Optimizer`.
        server_optimizer: The same, for the server.
        aggregator: A `tff.aggregators.WeightedAggregationFactory`.
        metrics_aggregator: Of `tff.learning.metrics`; by default metrics are summed in the clear.

    Returns:
        The process: `next(state, client datasets) -> (state, metrics)`.
    """
    return tff.learning.algorithms.build_weighted_fed_avg(
        model_fn,
        client_optimizer,
        server_optimizer,
        client_weighting=_WEIGHTING[hparams.weighting],
        model_aggregator=aggregator,
        metrics_aggregator=metrics_aggregator,
        # The other implementation instantiates its step anew in each client's call, 80 ms for
        # a CNN.
        loop_implementation=tff.learning.LoopImplementation.DATASET_ITERATOR,
    )
