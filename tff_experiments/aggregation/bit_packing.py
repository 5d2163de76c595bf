"""Integers of few bits in words of 64, so that what a client sends is as large as it is said to be.

A word holds floor(64 / bits) integers: it is full for bits that divide 64, and else leaves less
than `bits` of its own unused.
"""

import tensorflow as tf

WORD = 64


def num_words(count: int, bits: int) -> int:
    """Words for so many integers."""
    return -(-count // (WORD // bits))


def pack(integers: tf.Tensor, bits: int) -> tf.Tensor:
    """Packs integers [count] in 0 .. 2^bits - 1, bits <= 32, into int64 [num_words]."""
    count, per_word = integers.shape[0], WORD // bits
    padding = num_words(count, bits) * per_word - count
    padded = tf.pad(tf.cast(integers, tf.int64), [[0, padding]])
    shifted = tf.bitwise.left_shift(tf.reshape(padded, [-1, per_word]), _shifts(bits))
    # Bits do not overlap: the sum is their union, the sign bit included.
    return tf.reduce_sum(shifted, 1)


def unpack(words: tf.Tensor, bits: int, count: int) -> tf.Tensor:
    """The integers of `pack`, int64 [count]."""
    shifted = tf.bitwise.right_shift(words[:, tf.newaxis], _shifts(bits))
    # A shift to the right repeats the sign bit.
    integers = tf.bitwise.bitwise_and(shifted, tf.constant(2**bits - 1, tf.int64))
    return tf.reshape(integers, [-1])[:count]


def _shifts(bits: int) -> tf.Tensor:
    return tf.range(WORD // bits, dtype=tf.int64) * bits
