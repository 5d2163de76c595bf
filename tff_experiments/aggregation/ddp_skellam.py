"""Distributed Skellam noise in a modular secure sum; see `distributed_mean`.

Agarwal, Kairouz, Liu, NeurIPS 2021 (https://arxiv.org/abs/2110.04995). Sums of Skellams are
Skellams, so that the bound does not depend on how many there are.

Privacy needs a secure sum that is one: with `--secure_sum=plain` the server sees each client's
vector with its small share of the noise.
"""

import dataclasses
from typing import Any

import tensorflow_federated as tff

from tff_experiments.aggregation import distributed_mean

METRICS_AGGREGATOR = tff.learning.metrics.secure_sum_then_finalize
SUPPORTS_SECURE_SUM = True
STACKED = False


@dataclasses.dataclass(frozen=True)
class Hparams(distributed_mean.Hparams):
    """Knobs of the mechanism."""


def privacy(hparams: Hparams) -> dict[str, Any]:
    """What `privacy.plan` has to know."""
    return {"mechanism": "skellam", **dataclasses.asdict(hparams)}


def build(
    hparams: Hparams, mechanism: Any, plan: Any
) -> tff.aggregators.WeightedAggregationFactory:
    """Makes the aggregator of model updates; arguments as of `dp_fedavg.build`."""
    del hparams, plan
    return distributed_mean.DistributedMeanFactory(mechanism)
