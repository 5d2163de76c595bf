"""The distributed discrete Gaussian in a modular secure sum; see `distributed_mean`.

Kairouz, Liu, Steinke, ICML 2021 (https://arxiv.org/abs/2102.06387). Sums of
discrete Gaussians are not quite such, which the bound counts.

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
    return {"mechanism": "discrete_gaussian", **dataclasses.asdict(hparams)}


def build(
    hparams: Hparams, mechanism: Any, plan: Any
) -> tff.aggregators.WeightedAggregationFactory:
    """Makes the aggregator of model updates; arguments as of `dp_fedavg.build`."""
    del hparams, plan
    return distributed_mean.DistributedMeanFactory(mechanism)
