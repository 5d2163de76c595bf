"""The plain weighted mean, in the clear: `tff.aggregators.MeanFactory`. A round without clients
gives 0, not 0 / 0.
"""

import dataclasses

import tensorflow_federated as tff

METRICS_AGGREGATOR = tff.learning.metrics.sum_then_finalize
SUPPORTS_SECURE_SUM = False
STACKED = False


@dataclasses.dataclass(frozen=True)
class Hparams:
    """The mean has no knobs."""


def lossy(hparams: Hparams) -> str:
    """What to do so that nothing of what clients send is lost: nothing is."""
    del hparams
    return ""


def build(hparams: Hparams) -> tff.aggregators.WeightedAggregationFactory:
    """Makes the aggregator of model updates."""
    del hparams
    return tff.aggregators.MeanFactory(no_nan_division=True)
