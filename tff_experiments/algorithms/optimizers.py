"""Client and server optimizers, by name, from `tff.learning.optimizers`, and schedules of their
learning rates over rounds.

The rate of round r (from 1) is `learning_rate` times a factor: a linear warm-up to 1 over
`warmup_rounds`, then, with t = r - warmup_rounds - 1 and T = `decay_rounds`,

    constant     1
    step         decay^floor(t / T)
    exponential  decay^(t / T)
    inverse_sqrt 1 / sqrt(1 + t / T)
    linear       1 - min(t, T) / T (1 - decay)
    cosine       decay + (1 - decay) (1 + cos(pi min(t, T) / T)) / 2
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Literal

import tensorflow as tf
import tensorflow_federated as tff


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of one optimizer; clients and server have one each."""

    optimizer: Literal["sgd", "adagrad", "adam", "yogi"] = "sgd"
    """Update rule; adam is bias-corrected, as Keras' is."""
    learning_rate: float = 1.0
    """Step size."""
    momentum: float = 0.0
    """Momentum in [0, 1) (sgd)."""
    beta_1: float = 0.9
    """Decay of the first moment (adam, yogi)."""
    beta_2: float = 0.999
    """Decay of the second moment (adam, yogi)."""
    epsilon: float = 1e-7
    """Adaptivity floor: tau in Reddi et al. 2021 (adam, yogi), its square (adagrad)."""
    schedule: Literal["constant", "step", "exponential", "inverse_sqrt", "linear", "cosine"] = (
        "constant"
    )
    """How the learning rate changes over rounds."""
    warmup_rounds: int = 0
    """Rounds in which the learning rate rises linearly to its value."""
    decay_rounds: int = 100
    """The schedule's unit of rounds: between steps, or until the last value (linear, cosine)."""
    decay: float = 0.1
    """What the rate is multiplied by in `decay_rounds`, 0 to 1 (all but inverse_sqrt)."""

    def __post_init__(self):
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be > 0, got {self.learning_rate}.")
        for name in ("momentum", "beta_1", "beta_2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}.")
        for name, least in (("warmup_rounds", 0), ("decay_rounds", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}.")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must be in [0, 1], got {self.decay}.")
        if not self.epsilon > 0:
            raise ValueError(f"epsilon must be > 0, got {self.epsilon}.")


def build(hparams: Hparams) -> tff.learning.optimizers.Optimizer:
    """Makes the optimizer."""
    rate, eps = hparams.learning_rate, hparams.epsilon
    if hparams.optimizer == "sgd":
        return tff.learning.optimizers.build_sgdm(rate, momentum=hparams.momentum or None)
    if hparams.optimizer == "adagrad":
        return tff.learning.optimizers.build_adagrad(
            rate, initial_preconditioner_value=0.0, epsilon=eps
        )
    build_adaptive = {
        "adam": tff.learning.optimizers.build_adam,
        "yogi": tff.learning.optimizers.build_yogi,
    }[hparams.optimizer]
    return build_adaptive(rate, beta_1=hparams.beta_1, beta_2=hparams.beta_2, epsilon=eps)


_FACTORS = {
    "constant": lambda t, decay: tf.ones_like(t),
    "step": lambda t, decay: decay ** tf.floor(t),
    "exponential": lambda t, decay: decay**t,
    "inverse_sqrt": lambda t, decay: tf.math.rsqrt(1 + t),
    "linear": lambda t, decay: 1 - tf.minimum(t, 1) * (1 - decay),
    "cosine": lambda t, decay: decay + (1 - decay) * (1 + tf.cos(math.pi * tf.minimum(t, 1))) / 2,
}


def build_schedule(hparams: Hparams) -> Callable[[tf.Tensor], tf.Tensor]:
    """Makes the schedule: round_num, int32 [] from 1 -> factor of the learning rate, float32 []."""

    def factor(round_num):
        after = tf.cast(round_num - 1, tf.float32) - hparams.warmup_rounds
        t = tf.maximum(after, 0.0) / hparams.decay_rounds
        warmup = tf.cast(round_num, tf.float32) / (hparams.warmup_rounds + 1)
        return tf.minimum(warmup, 1.0) * _FACTORS[hparams.schedule](t, hparams.decay)

    return factor
