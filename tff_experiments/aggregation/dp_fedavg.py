"""DP-FedAvg: the server adds Gaussian noise to each round's sum of clipped updates.

McMahan et al. 2018, algorithm 1 (https://arxiv.org/abs/1710.06963), with a fixed clip or one that
follows a quantile of the norms (Andrew et al. 2021, https://arxiv.org/abs/1905.03871); see
`private_mean`. Clients send their clipped updates in the clear: the server is trusted to add the
noise and to forget them.
"""

import dataclasses
from typing import Any

import tensorflow_federated as tff

from tff_experiments.aggregation import correlated_noise, private_mean

METRICS_AGGREGATOR = tff.learning.metrics.sum_then_finalize
SUPPORTS_SECURE_SUM = False
STACKED = False


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of DP-FedAvg."""

    noise_multiplier: float = 1.0
    """Standard deviation of the noise in the sum over the clip; 0 clips without any privacy."""
    clip: float = 0.1
    """L2 norm of an update, at most; the first one where it adapts."""
    adaptive: bool = False
    """Whether the clip follows a quantile of the updates' norms."""
    quantile: float = 0.5
    """The quantile, in (0, 1)."""
    rate: float = 0.2
    """How fast the clip follows."""
    count_stddev: float = 0.0
    """Noise in the count of updates within the clip; 0 is a twentieth of the cohort."""

    def __post_init__(self):
        if not self.clip > 0 or not self.rate > 0 or not 0 < self.quantile < 1:
            raise ValueError("clip and rate must be > 0, quantile in (0, 1).")
        if not self.noise_multiplier >= 0 or not self.count_stddev >= 0:
            raise ValueError("noise_multiplier and count_stddev must be >= 0.")


def privacy(hparams: Hparams) -> dict[str, Any]:
    """What `privacy.plan` has to know."""
    return {
        "mechanism": "adaptive_clipping" if hparams.adaptive else "gaussian",
        "noise_multiplier": hparams.noise_multiplier,
        "clip": hparams.clip,
        "count_stddev": hparams.count_stddev,
    }


def build(
    hparams: Hparams, mechanism: Any, plan: Any
) -> tff.aggregators.WeightedAggregationFactory:
    """Makes the aggregator of model updates.

    Args:
        hparams: The knobs.
        mechanism: The noise, of the privacy room; None is none.
        plan: The `privacy.plan.Hparams` that it is from.
    """
    noise, clipping = 0.0, private_mean.Clipping(hparams.clip)
    if hparams.adaptive:
        count_stddev = mechanism.count_stddev if mechanism else 0.0
        clipping = private_mean.Clipping(hparams.clip, hparams.quantile, hparams.rate, count_stddev)
    if mechanism:
        noise = getattr(mechanism, "value_noise_multiplier", mechanism.noise_multiplier)
    return private_mean.PrivateMeanFactory(
        clipping, noise, correlated_noise.Independent(), clients_per_round=plan.clients_per_round
    )
