"""DRIVE: the signs of a rotated vector, and a scale.

Vargaftik et al., NeurIPS 2021, algorithm 1 and section 6 (https://arxiv.org/abs/2105.08339): a
client draws a rotation R and sends its seed, one bit a coordinate, and S; the server takes

    x^ = S R^-1 sign(R x),      S = ||R x||_1 / d             biased: the least error
                                S = ||x||_2^2 / ||R x||_1     unbiased: E x^ = x

Under a uniform rotation ||x - x^||^2 / ||x||^2 is about 1 - 2 / pi = 0.36, and pi / 2 - 1 = 0.57,
and the second one's errors average out, since each client has a rotation of its own. Under the
Hadamard rotation that is used here and in the paper's experiments, the first is at most 1 / 2 for
any x, and the second is unbiased but for blocks whose weight is on few coordinates, which `repeats`
mends: of (1, 1/2, 0, 0, ...) one rotation gives (5/4, 0, 0, ...), always.

Deviation: rotation and scale are of blocks, not of the whole vector (see `hadamard`).

Uplink bits: 1 a coordinate, padded to whole blocks and words of 64; a scale of 32 a block; a seed
of 64.
"""

import dataclasses

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.aggregation import bit_packing, compressed_sum, hadamard

METRICS_AGGREGATOR = tff.learning.metrics.sum_then_finalize
SUPPORTS_SECURE_SUM = False
STACKED = False


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of DRIVE."""

    unbiased: bool = True
    """Whether the scale makes a client's vector right on average, or its error the least."""
    block: int = 4096
    """Coordinates that are rotated together and share a scale, a power of two."""
    repeats: int = 1
    """Rotations in a row."""

    def __post_init__(self):
        hadamard.check_block(self.block)
        if self.repeats < 1:
            raise ValueError(f"repeats must be >= 1, got {self.repeats}.")


class Drive:
    """The codec."""

    def __init__(self, size: int, hparams: Hparams):
        """Takes d and the knobs."""
        self._blocks = hadamard.Blocks(size, hparams.block)
        self._hparams = hparams

    def encode(self, vector):
        """Signs, scales and the rotation's seed."""
        blocks = self._blocks.cut(vector)
        info = np.iinfo(np.int64)
        seed = tf.random.uniform([1], info.min, info.max, tf.int64)
        rotated = hadamard.rotate(blocks, _seeds(seed), self._hparams.repeats)
        return {
            "seed": seed,
            "signs": bit_packing.pack(tf.reshape(tf.cast(rotated >= 0, tf.int64), [-1]), 1),
            "scales": self._scales(blocks, tf.reduce_sum(tf.abs(rotated), 1)),
        }

    def _scales(self, blocks, norms):
        if self._hparams.unbiased:
            return tf.math.divide_no_nan(tf.reduce_sum(tf.square(blocks), 1), norms)
        return norms / self._blocks.width

    def decode(self, message):
        """The vector that has these signs after the rotation."""
        count, width = self._blocks.count, self._blocks.width
        positive = bit_packing.unpack(message["signs"], 1, count * width)
        signs = tf.reshape(2 * tf.cast(positive, tf.float32) - 1, [count, width])
        rotated = message["scales"][:, tf.newaxis] * signs
        seed = _seeds(message["seed"])
        return self._blocks.join(hadamard.rotate_back(rotated, seed, self._hparams.repeats))


def _seeds(seed: tf.Tensor) -> tf.Tensor:
    return tf.concat([seed, [0]], 0)


def build(hparams: Hparams) -> tff.aggregators.WeightedAggregationFactory:
    """Makes the aggregator of model updates; see `compressed_sum` for its measurements."""
    compressed = compressed_sum.CompressedSumFactory(lambda size: Drive(size, hparams))
    return tff.aggregators.MeanFactory(compressed, no_nan_division=True)
