"""Stochastic uniform quantization to b bits a coordinate, after a random rotation or without.

Suresh et al., ICML 2017, sections 2.2 and 3 (https://arxiv.org/abs/1611.00429), `spread=range`; and
QSGD without its variable-length code, Alistarh et al., NeurIPS 2017, section 3.1
(https://arxiv.org/abs/1610.02132), `spread=norm`: in each block

    q = floor((x - low) / step + u),  u ~ U[0, 1);    x^ = low + q step
    range:  low = min(x),     step = (max(x) - min(x)) / (2^b - 1)
    norm:   low = -||x||_2,   step = ||x||_2 / (2^(b-1) - 1)        0 is on the grid

Unbiased; |x^ - x| <= step in each coordinate, E ||x^ - x||^2 <= d step^2 / 4, of a block of d.
A rotation (Suresh, section 3) makes coordinates even, and so the range small. It is one for all
clients of a round, and the server undoes it once.

Deviation: the papers' block is the whole vector; QSGD calls smaller ones buckets.

Uplink bits: b a coordinate, padded to whole blocks, floor(64 / b) to a word of 64; 64 a block for
low and step of a range, 32 for a norm.
"""

import dataclasses
from typing import Literal

import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.aggregation import bit_packing, compressed_sum, hadamard, rotated_sum

METRICS_AGGREGATOR = tff.learning.metrics.sum_then_finalize
SUPPORTS_SECURE_SUM = False
STACKED = False
MAX_BITS = 16


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the quantization."""

    bits: int = 8
    """Bits of a coordinate, 1 to 16."""
    spread: Literal["range", "norm"] = "range"
    """What the levels span in each block: its least to its largest coordinate, or its norm."""
    rotation: bool = False
    """Whether blocks are rotated at random before."""
    block: int = 4096
    """Coordinates that share levels, and are rotated together, a power of two."""

    def __post_init__(self):
        hadamard.check_block(self.block)
        least = 2 if self.spread == "norm" else 1
        if not least <= self.bits <= MAX_BITS:
            raise ValueError(
                f"bits must be in {least} .. {MAX_BITS} with spread={self.spread}, got {self.bits}."
            )


class Quantizer:
    """The codec."""

    def __init__(self, size: int, hparams: Hparams):
        """Takes d and the knobs."""
        self._blocks = hadamard.Blocks(size, hparams.block)
        self._bits, self._spread = hparams.bits, hparams.spread

    def encode(self, vector):
        """Levels, and what they mean in each block."""
        blocks = self._blocks.cut(vector)
        scales = self._scales(blocks)
        low, step = self._grid(scales)
        exact = tf.math.divide_no_nan(blocks - low, step)
        below = tf.floor(exact)
        # Not floor(exact + u): float32 has too few bits for the sum.
        up = tf.random.uniform(tf.shape(exact)) < exact - below
        levels = tf.clip_by_value(below + tf.cast(up, tf.float32), 0.0, 2.0**self._bits - 1)
        levels = tf.reshape(tf.cast(levels, tf.int64), [-1])
        return {"levels": bit_packing.pack(levels, self._bits), "scales": scales}

    def _scales(self, blocks):
        if self._spread == "norm":
            return tf.norm(blocks, axis=1, keepdims=True)
        low, high = tf.reduce_min(blocks, 1), tf.reduce_max(blocks, 1)
        return tf.stack([low, (high - low) / (2**self._bits - 1)], 1)

    def _grid(self, scales):
        if self._spread == "norm":
            return -scales, scales / (2 ** (self._bits - 1) - 1)
        return scales[:, :1], scales[:, 1:]

    def decode(self, message):
        """The levels' values."""
        count, width = self._blocks.count, self._blocks.width
        levels = bit_packing.unpack(message["levels"], self._bits, count * width)
        low, step = self._grid(message["scales"])
        levels = tf.reshape(tf.cast(levels, tf.float32), [count, width])
        return self._blocks.join(low + levels * step)


def build(hparams: Hparams) -> tff.aggregators.WeightedAggregationFactory:
    """Makes the aggregator of model updates; see `compressed_sum` for its measurements."""
    factory = compressed_sum.CompressedSumFactory(lambda size: Quantizer(size, hparams))
    if hparams.rotation:
        factory = rotated_sum.RotatedSumFactory(factory, block=hparams.block)
    return tff.aggregators.MeanFactory(factory, no_nan_division=True)
