"""The weighted mean of updates that are clipped to a norm, after those far too large are zeroed.

    w_k  <-  0                                  if max |w_k| > zero
    w_k  <-  w_k min(1, clip / ||w_k||_2)       then the mean, weighted

By `tff.aggregators.zeroing_factory` and `clipping_factory`. With adaptive bounds these are TFF's
`robust_aggregator` (Andrew et al. 2021, https://arxiv.org/abs/1905.03871); a fixed norm is norm
clipping as a defence (Sun et al. 2019, https://arxiv.org/abs/1911.07963).

What it withstands: of the mean, each client moves at most its weight times `clip`; an attacker who
may claim any weight is not held. An update that is not finite, or whose weight is not, is left out
and counted: TFF's clipping lets NaN pass.
"""

import collections
import dataclasses
from typing import Literal

import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.aggregation import estimates

METRICS_AGGREGATOR = tff.learning.metrics.sum_then_finalize
SUPPORTS_SECURE_SUM = False
STACKED = False

Bound = Literal["adaptive", "fixed", "off"]


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the clipped mean; defaults are TFF's."""

    clipping: Bound = "adaptive"
    """The norm follows a quantile of the clients' norms, is fixed, or there is none."""
    clip: float = 1.0
    """Norm to clip to; the first one where it adapts."""
    clip_quantile: float = 0.8
    """The quantile that an adaptive norm follows."""
    zeroing: Bound = "adaptive"
    """The same for the coordinate above which an update is zeroed: twice the usual largest."""
    zero: float = 10.0
    """Coordinate above which an update is zeroed; the first one where it adapts."""

    def __post_init__(self):
        estimates.check(self)


def lossy(hparams: Hparams) -> str:
    """What to do so that nothing of what clients send is lost; "" where nothing is."""
    return estimates.turning_off("clipped_mean", hparams, "off")


def build(hparams: Hparams) -> tff.aggregators.WeightedAggregationFactory:
    """Makes the aggregator of model updates.

    Its measurements are TFF's (`clipping_norm`, `clipped_count`, `zeroing_norm`, `zeroed_count`)
    and `non_finite`, the clients left out.
    """
    factory = tff.aggregators.MeanFactory(no_nan_division=True)
    if hparams.clipping != "off":
        norm = hparams.clip
        if hparams.clipping == "adaptive":
            norm = estimates.norm(hparams.clip, hparams.clip_quantile, secure=False)
        factory = tff.aggregators.clipping_factory(norm, factory)
    if hparams.zeroing != "off":
        bound = hparams.zero
        if hparams.zeroing == "adaptive":
            bound = estimates.far_coordinate(hparams.zero, secure=False)
        factory = tff.aggregators.zeroing_factory(bound, factory)
    return FiniteFactory(factory)


class FiniteFactory(tff.aggregators.WeightedAggregationFactory):
    """Gives clients whose update or weight is not finite the weight 0, and zeros."""

    def __init__(self, inner: tff.aggregators.WeightedAggregationFactory):
        """Takes what aggregates the rest."""
        self._inner = inner

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Makes the process for a structure of float tensors."""
        inner = self._inner.create(value_type, weight_type)

        @tff.tensorflow.computation(value_type, weight_type)
        def clean(value, weight):
            leaves = [*tf.nest.flatten(value), weight]
            finite = [tf.reduce_all(tf.math.is_finite(leaf)) for leaf in leaves]
            finite = tf.reduce_all(tf.stack(finite))
            keep = lambda x: tf.where(finite, x, tf.zeros_like(x))
            return tf.nest.map_structure(keep, value), keep(weight), tf.cast(~finite, tf.int32)

        @tff.federated_computation(
            inner.initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
            tff.FederatedType(weight_type, tff.CLIENTS),
        )
        def next_fn(state, value, weight):
            value, weight, left_out = tff.federated_map(clean, (value, weight))
            output = inner.next(state, value, weight)
            measurements = collections.OrderedDict(
                finite=output.measurements, non_finite=tff.federated_sum(left_out)
            )
            return tff.templates.MeasuredProcessOutput(
                output.state, output.result, tff.federated_zip(measurements)
            )

        return tff.templates.AggregationProcess(inner.initialize, next_fn)
