"""TensorFlow's stateful random ops, drawn from a key and a counter.

Each is a function (draw, attributes, *inputs) -> output, where `draw(shape, op, **arguments)` calls
a `Stateless...V2` op with the key that is due (Salmon et al. 2011, Philox). The output has the
distribution of the stateful op, not its numbers.
"""

from collections.abc import Callable

import tensorflow as tf


def _shuffle(value, draw):
    rows = tf.shape(value)[:1]
    noise = draw(rows, tf.raw_ops.StatelessRandomUniformFullIntV2, dtype=tf.int64)
    # Two equal keys of 64 bits would keep their order: of no weight below 2^20 rows.
    return tf.gather(value, tf.argsort(noise, stable=True))


def _with_seed(op: Callable) -> Callable:
    """Adapts an op that takes a seed, int64 [2], rather than key and counter."""

    def draw_from(draw, **inputs):
        seed = draw([2], tf.raw_ops.StatelessRandomUniformFullIntV2, dtype=tf.uint64)
        return op(seed=tf.bitcast(seed, tf.int64), **inputs)

    return draw_from


_POISSON = _with_seed(tf.raw_ops.StatelessRandomPoisson)
_MULTINOMIAL = _with_seed(tf.raw_ops.StatelessMultinomial)
_GAMMA = _with_seed(lambda *, shape, seed, alpha: tf.random.stateless_gamma(shape, seed, alpha))


@_with_seed
def _truncated_normal(*, shape, seed, means, **parameters):
    # Rows have parameters of their own, which the stateless op takes for those of columns.
    rows = tf.concat([[-1], tf.ones_like(shape[1:])], 0)
    parameters = {name: tf.reshape(value, rows) for name, value in parameters.items()}
    means = tf.broadcast_to(tf.reshape(means, rows), shape)
    return tf.raw_ops.StatelessParameterizedTruncatedNormal(
        shape=shape, seed=seed, means=means, **parameters
    )


BY_NAME = {
    "RandomUniform": lambda draw, attr, shape: draw(
        shape, tf.raw_ops.StatelessRandomUniformV2, dtype=attr["dtype"].type
    ),
    "RandomStandardNormal": lambda draw, attr, shape: draw(
        shape, tf.raw_ops.StatelessRandomNormalV2, dtype=attr["dtype"].type
    ),
    "TruncatedNormal": lambda draw, attr, shape: draw(
        shape, tf.raw_ops.StatelessTruncatedNormalV2, dtype=attr["dtype"].type
    ),
    "RandomUniformInt": lambda draw, attr, shape, low, high: draw(
        shape, tf.raw_ops.StatelessRandomUniformIntV2, minval=low, maxval=high
    ),
    "RandomShuffle": lambda draw, attr, value: _shuffle(value, draw),
    "Multinomial": lambda draw, attr, logits, samples: _MULTINOMIAL(
        draw, logits=logits, num_samples=samples, output_dtype=attr["output_dtype"].type
    ),
    "RandomGamma": lambda draw, attr, shape, alpha: _GAMMA(
        draw, shape=tf.concat([shape, tf.shape(alpha, out_type=shape.dtype)], 0), alpha=alpha
    ),
    "RandomPoissonV2": lambda draw, attr, shape, rate: _POISSON(
        draw,
        shape=tf.concat([shape, tf.shape(rate, out_type=shape.dtype)], 0),
        lam=rate,
        dtype=attr["dtype"].type,
    ),
    "ParameterizedTruncatedNormal": lambda draw, attr, shape, mean, std, low, high: (
        _truncated_normal(draw, shape=shape, means=mean, stddevs=std, minvals=low, maxvals=high)
    ),
    # A time of the last 50 years, in microseconds, as TFF's seeds take it.
    "Timestamp": lambda draw, attr: (
        draw([], tf.raw_ops.StatelessRandomUniformV2, dtype=tf.float64) * 1.6e9
    ),
    "NonDeterministicInts": lambda draw, attr, shape: draw(
        shape, tf.raw_ops.StatelessRandomUniformFullIntV2, dtype=attr["dtype"].type
    ),
}
# The types of their inputs: attributes, or fixed.
INPUT_TYPES = {
    "RandomUniform": ["T"],
    "RandomStandardNormal": ["T"],
    "TruncatedNormal": ["T"],
    "RandomUniformInt": ["T", "Tout", "Tout"],
    "RandomShuffle": ["T"],
    "Multinomial": ["T", tf.int32],
    "RandomGamma": ["S", "T"],
    "RandomPoissonV2": ["S", "R"],
    "ParameterizedTruncatedNormal": ["T", "dtype", "dtype", "dtype", "dtype"],
    "Timestamp": [],
    "NonDeterministicInts": ["shape_dtype"],
}
