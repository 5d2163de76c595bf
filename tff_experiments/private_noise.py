"""Noise that privacy rests on: asked for in a TensorFlow graph, drawn outside of it.

TensorFlow's generators are seeded with 64 bits or less, TFF's with the time, and a run's are
functions of its seed: who knows these subtracts the noise. So a graph only says which noise it
wants (`normal`, `integers`), and our runtime makes an input of it (`take`), drawn from the
operating system's generator. On any other runtime such a graph fails.

    normal          Phi^-1(u), u = (k + 1/2) 2^-52, k of 52 random bits: |x| < 8.3
    integers        a random sign, and a magnitude m with P(> m) a multiple of 2^-63, by a table

Gaussian noise is rounded to floats, and has gaps that an attacker may use (Mironov 2012); integers
have none: the probabilities of their tails are within a relative 2^-34 and 2^-62 of the law's.
Drawing does not take constant time.
"""

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable
from typing import Literal

import numpy as np
import scipy.special
import tensorflow as tf

_MARK = "_private_noise"  # The attribute that says what an op stands for.
_DEVIATIONS = 9.5  # Beyond so many less than 2^-63 is left, of a Gaussian.
_GUIDE_BITS = 16


@dataclasses.dataclass(frozen=True)
class Noise:
    """What is drawn."""

    distribution: Literal["normal", "discrete_gaussian", "skellam"]
    """The first is float32, the others are int64."""
    stddev: float
    """Standard deviation (discrete Gaussian: its parameter sigma), > 0; 1 of "normal"."""
    shape: tuple[int, ...]
    """Of the independent draws."""

    def __post_init__(self):
        if not self.stddev > 0 or (self.distribution == "normal" and self.stddev != 1):
            raise ValueError(f"stddev must be > 0 (normal: 1), got {self.stddev}.")


def normal(shape) -> tf.Tensor:
    """Asks for standard normal noise, float32 of a static shape."""
    noise = Noise("normal", 1.0, tuple(tf.TensorShape(shape).as_list()))
    shape = tf.constant(noise.shape, tf.int32, [len(noise.shape)])
    with tf.control_dependencies([_fails([])]):
        return _mark(noise, tf.raw_ops.RandomStandardNormal(shape=shape, dtype=tf.float32))


def integers(
    distribution: Literal["discrete_gaussian", "skellam"], stddev: float, size: int
) -> tf.Tensor:
    """Asks for integer noise of mean 0, int64 [size]."""
    return _mark(Noise(distribution, float(stddev), (size,)), _fails([size]))


def _fails(shape) -> tf.Tensor:
    """An op that fails where it is run, int64: there is no integer >= 0 and < 0."""
    zero = tf.constant(0, tf.int64)
    return tf.raw_ops.RandomUniformInt(
        shape=tf.constant(shape, tf.int32, [len(shape)]), minval=zero, maxval=zero
    )


def _mark(noise: Noise, tensor: tf.Tensor) -> tf.Tensor:
    # An op that draws, for compilers must neither fold it into a constant nor merge two of them.
    text = json.dumps(dataclasses.asdict(noise)).encode()
    tensor.op._set_attr(_MARK, tf.compat.v1.AttrValue(s=text))
    return tensor


def is_asked(graph_def: tf.compat.v1.GraphDef) -> bool:
    """Whether a graph asks for noise."""
    return any(_MARK in node.attr for node in graph_def.node)


def take(graph_def: tf.compat.v1.GraphDef) -> dict[str, Noise]:
    """Makes placeholders of the noise that a graph asks for, in place.

    Returns:
        {name of the placeholder: what to feed}, in the graph's order.

    Raises:
        ValueError: A function of the graph asks for noise, where nothing can be fed.
    """
    for function in graph_def.library.function:
        if any(_MARK in node.attr for node in function.node_def):
            raise ValueError("private noise can't be asked for inside of a tf.function.")
    found = {}
    for node in graph_def.node:
        if _MARK not in node.attr:
            continue
        fields = json.loads(node.attr[_MARK].s)
        noise = Noise(fields["distribution"], fields["stddev"], tuple(fields["shape"]))
        found[node.name] = noise
        name, dtype = node.name, tf.float32 if noise.distribution == "normal" else tf.int64
        node.Clear()
        node.name, node.op = name, "Placeholder"
        node.attr["dtype"].type = dtype.as_datatype_enum
        node.attr["shape"].shape.CopyFrom(tf.TensorShape(noise.shape).as_proto())
    return found


Bits = Callable[[int], np.ndarray]


def from_system(count: int) -> np.ndarray:
    """Random bits of the operating system, uint64 [count]."""
    return np.frombuffer(os.urandom(8 * count), np.uint64)


def repeatable(*key: object) -> Bits:
    """Bits that are a function of a key: for tests and for runs that are not private."""
    digest = hashlib.sha256("\0".join(map(str, key)).encode()).digest()
    generator = np.random.Philox(key=np.frombuffer(digest[:16], np.uint64))
    return lambda count: generator.random_raw(count)


def draw(noise: Noise, bits: Bits) -> np.ndarray:
    """Draws the noise, float32 or int64 of its shape."""
    random = bits(int(np.prod(noise.shape, dtype=np.int64)))
    if noise.distribution == "normal":
        # One bit more, and the largest would round to 1.
        uniform = (random >> np.uint64(12)) * 2.0**-52 + 2.0**-53
        values = scipy.special.ndtri(uniform).astype(np.float32)
    else:
        values = _table(noise.distribution, noise.stddev)(random)
    return values.reshape(noise.shape)


class Table:
    """Draws from a distribution on the integers that is symmetric around 0."""

    def __init__(self, probabilities: np.ndarray):
        """Takes those of 0, 1, 2, ..., float64 [most + 1]; the rest has less than 2^-63."""
        tail = np.cumsum(probabilities[:0:-1])[::-1]  # P(X > m), the small ones exactly.
        above = 2 * tail / (probabilities[0] + 2 * tail[0])
        # Falling: |x| is how many of them a number of 63 bits is below.
        self._rising = np.ascontiguousarray((above * 2.0**63).astype(np.uint64)[::-1])
        edges = np.arange(2**_GUIDE_BITS + 1, dtype=np.uint64) << np.uint64(63 - _GUIDE_BITS)
        edges[-1] -= np.uint64(1)
        self._guide = self._magnitude(edges)

    def _magnitude(self, uniform: np.ndarray) -> np.ndarray:
        return len(self._rising) - np.searchsorted(self._rising, uniform, side="right")

    def __call__(self, random: np.ndarray) -> np.ndarray:
        """Integers from uint64 [n]: a bit for the sign, 63 for the magnitude."""
        uniform = random >> np.uint64(1)
        cell = (uniform >> np.uint64(63 - _GUIDE_BITS)).astype(np.int64)
        magnitude = self._guide[cell]
        unsure = np.flatnonzero(self._guide[cell + 1] != magnitude)
        magnitude[unsure] = self._magnitude(uniform[unsure])
        return np.where(random & np.uint64(1), magnitude, -magnitude)


@functools.lru_cache(maxsize=8)
def _table(distribution: str, stddev: float) -> Table:
    if distribution == "discrete_gaussian":
        k = np.arange(int(_DEVIATIONS * stddev) + 11)
        return Table(np.exp(-((k / stddev) ** 2) / 2))
    # Heavier tails than a Gaussian's where the variance is small.
    return Table(_skellam(np.arange(int(_DEVIATIONS * stddev) + 41), stddev**2))


def _skellam(k: np.ndarray, mu: float) -> np.ndarray:
    """Probabilities of Skellam noise of variance mu: e^-mu I_k(mu), float64."""
    if mu < 1e7:
        return scipy.special.ive(k, mu)
    # Debye's expansion (https://dlmf.nist.gov/10.41.E3), to a relative 0.1 / mu^2.
    s = np.hypot(mu, k)
    exponent = k**2 / (s + mu) - k * np.arcsinh(k / mu)
    return np.exp(exponent) / np.sqrt(2 * np.pi * s) * (1 + (3 - 5 * (k / s) ** 2) / (24 * s))
