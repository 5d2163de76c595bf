"""The weighted mean under secure sums: TFF's `tff.learning.secure_aggregator` with its ranges as
flags, and integers of few bits.

A client's update is zeroed where its largest coordinate is far above the others', clipped to a
norm, weighted, quantized (see `quantized_sum`) and summed securely. Norms and bounds follow
quantiles of what clients have, each estimated from one bit a client (Andrew et al. 2021,
https://arxiv.org/abs/1905.03871), summed securely, without noise: not differential privacy. Weights
and metrics are summed securely as well, so that nothing of one client is left in the clear.
"""

import dataclasses

import tensorflow_federated as tff

from tff_experiments.aggregation import estimates, quantized_sum

METRICS_AGGREGATOR = tff.learning.metrics.secure_sum_then_finalize
SUPPORTS_SECURE_SUM = True
STACKED = False
_MAX_WEIGHT = 2**20 - 1  # As in TFF: a power of two less one holds whole numbers better.


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the secure mean; defaults are TFF's but for `bits`, where TFF has 32."""

    bits: int = 20
    """Bits of a client's quantized coordinates, 2 to 32."""
    rounding: quantized_sum.Rounding = "nearest"
    """To the nearest level, or at random so that the mean is right."""
    bound: float = 50.0
    """First bound on a weighted update's coordinates."""
    bound_quantile: float = 0.95
    """The bound follows twice this quantile of the clients' largest coordinates."""
    clipping: bool = True
    """Whether updates are clipped to a norm."""
    clip: float = 1.0
    """First norm to clip to."""
    clip_quantile: float = 0.8
    """The norm follows this quantile of the clients' norms."""
    zeroing: bool = True
    """Whether updates far above the others' are replaced by zeros."""
    zero: float = 10.0
    """First largest coordinate above which an update is zeroed."""

    def __post_init__(self):
        estimates.check(self)
        if not quantized_sum.MIN_BITS <= self.bits <= quantized_sum.MAX_BITS:
            raise ValueError(
                f"bits must be in {quantized_sum.MIN_BITS} .. {quantized_sum.MAX_BITS}, got "
                f"{self.bits}."
            )


def lossy(hparams: Hparams) -> str:
    """What to do so that nothing of what clients send is lost; "" where nothing is."""
    return estimates.turning_off("secure_mean", hparams, False)


def build(hparams: Hparams) -> tff.aggregators.WeightedAggregationFactory:
    """Makes the aggregator of model updates."""
    count = tff.aggregators.SecureSumFactory(1, 0)
    bound = estimates.largest_coordinate(hparams.bound, hparams.bound_quantile, secure=True)
    factory = tff.aggregators.MeanFactory(
        quantized_sum.QuantizedSumFactory(bound, bits=hparams.bits, rounding=hparams.rounding),
        tff.aggregators.SecureSumFactory(float(_MAX_WEIGHT), 0.0),
        no_nan_division=True,
    )
    if hparams.clipping:
        norm = estimates.norm(hparams.clip, hparams.clip_quantile, secure=True)
        factory = tff.aggregators.clipping_factory(norm, factory, count)
    if hparams.zeroing:
        largest = estimates.far_coordinate(hparams.zero, secure=True)
        factory = tff.aggregators.zeroing_factory(largest, factory, zeroed_count_sum_factory=count)
    return factory
