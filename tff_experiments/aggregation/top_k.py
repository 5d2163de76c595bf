"""Top-k: the coordinates of largest magnitude, with their positions.

Stich et al., NeurIPS 2018, section 2 (https://arxiv.org/abs/1809.07599):

    (top_k(x))_i = x_i for the k largest |x_i|, else 0
    ||x - top_k(x)||^2 <= (1 - k / d) ||x||^2

Biased. The paper's memory of what was left out needs a state at each client; here what is left out
is lost.

Uplink bits: k values of 32, and k positions of ceil(log2 d), floor(64 / ceil(log2 d)) to a word of
64.
"""

import dataclasses
import math

import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.aggregation import bit_packing, compressed_sum

METRICS_AGGREGATOR = tff.learning.metrics.sum_then_finalize
SUPPORTS_SECURE_SUM = False
STACKED = False


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of top-k."""

    fraction: float = 0.01
    """Of the coordinates, those that are sent: k = ceil(fraction d)."""

    def __post_init__(self):
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction must be in (0, 1], got {self.fraction}.")


class TopK:
    """The codec."""

    def __init__(self, size: int, fraction: float):
        """Takes d and k / d."""
        self._size = size
        # 0.07 * 100 is a little more than 7.
        self._kept = max(math.ceil(fraction * size - 1e-6), 1)
        self._position_bits = max((size - 1).bit_length(), 1)

    def encode(self, vector):
        """Values and positions."""
        _, positions = tf.math.top_k(tf.abs(vector), self._kept, sorted=False)
        packed = bit_packing.pack(positions, self._position_bits)
        return {"positions": packed, "values": tf.gather(vector, positions)}

    def decode(self, message):
        """The values at their positions, else 0."""
        positions = bit_packing.unpack(message["positions"], self._position_bits, self._kept)
        return tf.scatter_nd(positions[:, tf.newaxis], message["values"], [self._size])


def build(hparams: Hparams) -> tff.aggregators.WeightedAggregationFactory:
    """Makes the aggregator of model updates; see `compressed_sum` for its measurements."""
    compressed = compressed_sum.CompressedSumFactory(lambda size: TopK(size, hparams.fraction))
    return tff.aggregators.MeanFactory(compressed, no_nan_division=True)
