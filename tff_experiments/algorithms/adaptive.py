"""Adaptive server optimizers: FedAdagrad, FedAdam and FedYogi.

Reddi et al., "Adaptive Federated Optimization", ICLR 2021, algorithm 2
(https://arxiv.org/abs/2003.00295). The server treats the clients' mean delta as a gradient g_t and,
coordinate by coordinate, computes

    m_t     = beta_1 m_{t-1} + (1 - beta_1) g_t
    v_t     = v_{t-1} + g_t^2                                        (adagrad)
            = beta_2 v_{t-1} + (1 - beta_2) g_t^2                    (adam)
            = v_{t-1} - (1 - beta_2) g_t^2 sign(v_{t-1} - g_t^2)     (yogi)
    x_{t+1} = x_t - eta m_t / (sqrt(v_t) + tau)

with m_0 = 0 and v_0 = tau^2, the least that it allows. The authors' own code
(github.com/google-research/federated, `utils/optimizers`) ran Keras' optimizers instead, with v_0 =
0. `variant` "keras" is those: Adam and Yogi with bias correction,

    x_{t+1} = x_t - eta sqrt(1 - beta_2^t) / (1 - beta_1^t) m_t / (sqrt(v_t) + tau),

Adagrad without momentum. `tff.learning.optimizers.build_adagrad` would not do: it has tau under the
root.
"""

import collections
import dataclasses
from typing import Literal

import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.algorithms import fed_avg
from tff_experiments.algorithms import ingredients as ingredients_lib

# v_t at one coordinate, from v_{t-1}, g_t^2 and beta_2.
SECOND_MOMENTS = {
    "adagrad": lambda v, g2, beta_2: v + g2,
    "adam": lambda v, g2, beta_2: beta_2 * v + (1 - beta_2) * g2,
    "yogi": lambda v, g2, beta_2: v - (1 - beta_2) * g2 * tf.sign(v - g2),
}


@dataclasses.dataclass(frozen=True)
class Hparams(fed_avg.Hparams):
    """Knobs of the family."""

    beta_1: float = 0.9
    """Decay of the first moment, in [0, 1)."""
    beta_2: float = 0.99
    """Decay of the second moment, in [0, 1); unused by adagrad."""
    tau: float = 1e-3
    """Adaptivity: floor of the root of the second moment, > 0."""
    variant: Literal["algorithm_2", "keras"] = "algorithm_2"
    """The paper's algorithm, or what its authors ran: Keras' optimizers, bias-corrected."""

    def __post_init__(self):
        # "fed_adam", of the member's module: errors name flags.
        algorithm = type(self).__module__.rpartition(".")[2]
        for name in ("beta_1", "beta_2"):
            if not 0 <= getattr(self, name) < 1:
                value = getattr(self, name)
                raise ValueError(f"{algorithm}_{name} must be in [0, 1), got {value}.")
        if not self.tau > 0:
            raise ValueError(f"{algorithm}_tau must be > 0, got {self.tau}.")


class FedOpt(tff.learning.optimizers.Optimizer):
    """One member of the family as in algorithm 2, whose names constants have.

    State: learning_rate (eta), m (first moment, starts at 0) and v (second).
    """

    def __init__(
        self, kind: str, *, eta: float, beta_1: float, beta_2: float, tau: float, v_0: float
    ):
        """Chooses the rule, "adagrad", "adam" or "yogi", and where v starts."""
        if kind not in SECOND_MOMENTS:
            raise ValueError(f"kind must be one of {sorted(SECOND_MOMENTS)}, got {kind!r}.")
        self._next_v = SECOND_MOMENTS[kind]
        self._eta, self._beta_1, self._beta_2 = eta, beta_1, beta_2
        self._tau, self._v_0 = tau, v_0

    def initialize(self, specs):
        """The first state; see the base class."""
        fill = lambda value: tf.nest.map_structure(lambda s: tf.fill(s.shape, value), specs)
        return collections.OrderedDict(
            learning_rate=self._eta, m=fill(0.0), v=fill(float(self._v_0))
        )

    def next(self, state, weights, gradients):
        """One step; see the base class."""
        tree_map = tf.nest.map_structure
        next_m = lambda m, g: self._beta_1 * m + (1 - self._beta_1) * g
        next_v = lambda v, g: self._next_v(v, g**2, self._beta_2)
        eta = state["learning_rate"]
        next_x = lambda x, m, v: x - eta * m / (tf.sqrt(v) + self._tau)
        m = tree_map(next_m, state["m"], gradients)
        v = tree_map(next_v, state["v"], gradients)
        new = collections.OrderedDict(learning_rate=eta, m=m, v=v)
        return new, tree_map(next_x, weights, m, v)

    def get_hparams(self, state):
        """The learning rate, which schedules change."""
        return collections.OrderedDict(learning_rate=state["learning_rate"])

    def set_hparams(self, state, hparams):
        """The state with another learning rate."""
        return collections.OrderedDict(state, learning_rate=hparams["learning_rate"])


def build(kind: str, hparams: Hparams, ingredients: ingredients_lib.Ingredients):
    """FedAvg with one of the optimizers at the server, eta its learning rate."""
    eta = ingredients_lib.server_rate(f"fed_{kind}", ingredients)
    changed = dataclasses.replace(ingredients, server_optimizer=optimizer(kind, eta, hparams))
    return fed_avg.build(hparams, changed)


def optimizer(kind: str, eta: float, hparams: Hparams) -> tff.learning.optimizers.Optimizer:
    """Makes the server's optimizer."""
    library, tau = tff.learning.optimizers, hparams.tau
    betas = {"beta_1": hparams.beta_1, "beta_2": hparams.beta_2}
    if hparams.variant == "algorithm_2":
        return FedOpt(kind, eta=eta, tau=tau, v_0=tau**2, **betas)
    if kind == "adagrad":
        return FedOpt(kind, eta=eta, tau=tau, v_0=0.0, **betas)
    if kind == "adam":
        return library.build_adam(eta, epsilon=tau, **betas)
    return library.build_yogi(eta, epsilon=tau, initial_preconditioner_value=0.0, **betas)
