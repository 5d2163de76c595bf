"""Random rotations of a vector, in blocks: signs at random, then a Walsh-Hadamard transform.

    R x = H D x,    D = diag of +-1, drawn from a seed;    R^-1 y = D H y,    H = H^T = H^-1

Afterwards the coordinates of a block are of about one size, whatever it was. `repeats` rotations
in a row bring nearer to a uniform one what is very uneven, such as a block with two coordinates.

`tff.aggregators.HadamardTransformFactory` rotates each tensor as a whole, padded to the next power
of two: 1.8 times the coordinates for the EMNIST CNN, all of which are sent. Blocks pad the last one
only. They are also faster: H of a block is a Kronecker product, so that it takes two small matrix
products.
"""

import numpy as np
import scipy.linalg
import tensorflow as tf

MAX_BLOCK = 2**16


def check_block(block: int) -> None:
    """Raises ValueError unless blocks can be of that many coordinates."""
    if not (2 <= block <= MAX_BLOCK and block & (block - 1) == 0):
        raise ValueError(f"block must be a power of two in 2 .. {MAX_BLOCK}, got {block}.")


class Blocks:
    """Vectors cut into blocks.

    Attributes:
        size: Coordinates of a vector.
        width: Coordinates of a block; less than asked for where the vector is shorter.
        count: Number of blocks.
    """

    def __init__(self, size: int, block: int):
        """Takes the vector's size and the largest width, a power of two."""
        self.size = size
        self.width = min(block, 2 ** max(size - 1, 1).bit_length())
        self.count = -(-size // self.width)

    def cut(self, vector: tf.Tensor) -> tf.Tensor:
        """[size] -> [count, width], the last block padded by zeros."""
        padded = tf.pad(vector, [[0, self.count * self.width - self.size]])
        return tf.reshape(padded, [self.count, self.width])

    def join(self, blocks: tf.Tensor) -> tf.Tensor:
        """The reverse of `cut`."""
        return tf.reshape(blocks, [-1])[: self.size]


def rotate(blocks: tf.Tensor, seed: tf.Tensor, repeats: int = 1) -> tf.Tensor:
    """Rotates each block.

    Args:
        blocks: float32 [count, width], width a power of two.
        seed: int64 [2]; seeds whose last number differs by less than `repeats` share signs.
        repeats: How often.

    Returns:
        float32 [count, width].
    """
    for i in range(repeats):
        blocks = _transform(blocks * _signs(blocks.shape, seed + [0, i]))
    return blocks


def rotate_back(blocks: tf.Tensor, seed: tf.Tensor, repeats: int = 1) -> tf.Tensor:
    """The inverse of `rotate`."""
    for i in reversed(range(repeats)):
        blocks = _transform(blocks) * _signs(blocks.shape, seed + [0, i])
    return blocks


def _signs(shape, seed: tf.Tensor) -> tf.Tensor:
    # One algorithm on all devices: client and server must draw the same.
    uniform = tf.random.stateless_uniform(shape, seed, alg="philox")
    return tf.where(uniform < 0.5, -1.0, 1.0)


def _transform(blocks: tf.Tensor) -> tf.Tensor:
    """H of each row: a Kronecker product of small ones, each along an axis of its own."""
    width, inner = blocks.shape[1], blocks.shape[1]
    for n in _factors(width):
        inner //= n
        matrix = tf.constant(scipy.linalg.hadamard(n), tf.float32)
        blocks = tf.linalg.matmul(matrix, tf.reshape(blocks, [-1, n, inner]))
    return tf.reshape(blocks, [-1, width]) / np.float32(np.sqrt(width))


def _factors(width: int) -> list[int]:
    """Powers of two about equal, at most 2^8, whose product is the width."""
    bits = width.bit_length() - 1
    count = max(2, -(-bits // 8))
    return [2 ** (bits * (i + 1) // count - bits * i // count) for i in range(count)]
