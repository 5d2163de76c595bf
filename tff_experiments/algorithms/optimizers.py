"""Client and server optimizers, by name, from `tff.learning.optimizers`."""

import dataclasses
from typing import Literal

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
    """Adaptivity floor, tau in Reddi et al. 2021 (adagrad, adam, yogi)."""

    def __post_init__(self):
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be > 0, got {self.learning_rate}.")
        for name in ("momentum", "beta_1", "beta_2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}.")
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
