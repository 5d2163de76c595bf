"""What an algorithm is built from, and what it says of itself.

Each algorithm is a module with `Hparams`, `build(hparams, ingredients)` and `NEEDS`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff


def constant_rate(round_num: tf.Tensor) -> tf.Tensor:
    """The schedule that changes nothing: 1.0 in every round."""
    del round_num
    return tf.constant(1.0)


@dataclasses.dataclass(frozen=True)
class Ingredients:
    """What the flags choose beside the algorithm.

    Attributes:
        model_fn: Makes a `tff.learning.models.VariableModel`.
        client_optimizer: What clients train with.
        server_optimizer: What applies the clients' mean update, taken as a gradient.
        aggregator: Makes one out of the clients' updates.
        metrics_aggregator: Of `tff.learning.metrics`; None sums metrics in the clear.
        secure: Whether numbers beside the updates go through secure sums, too.
        client_schedule: round_num, int32 from 1 -> factor of the clients' learning rate, float32.
        server_schedule: The same for the server.
        private: Whether the aggregator is one of differential privacy, whose noise is for one
            part of equal weights.
        canary_norm: L2 norm of what canaries send, see `clients.canaries`; 0 where there are none.
        attacked: Whether clients multiply what they send by a number that they are given, see
            `clients.attacks`.
        num_clients: Of the data set.
        clients_per_round: As many as a round has, or is expected to have.
        num_classes: Of the labels, which are 0 .. num_classes - 1.
        per_example_loss: (labels [b], outputs [b, ...]) -> float32 [b].
        client_epochs: Passes over a client's examples that its data make.
        seed: The run's.
        weights_of_seed: seed -> first trainable weights of the model under it, numpy; None where
            the model is the same for all seeds.
    """

    model_fn: Callable[[], tff.learning.models.VariableModel]
    client_optimizer: tff.learning.optimizers.Optimizer
    server_optimizer: tff.learning.optimizers.Optimizer
    aggregator: tff.aggregators.WeightedAggregationFactory
    metrics_aggregator: Any = None
    secure: bool = False
    private: bool = False
    canary_norm: float = 0.0
    client_schedule: Callable[[tf.Tensor], tf.Tensor] = constant_rate
    server_schedule: Callable[[tf.Tensor], tf.Tensor] = constant_rate
    attacked: bool = False
    num_clients: int = 1
    clients_per_round: int = 1
    num_classes: int = 1
    per_example_loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None
    client_epochs: int = 1
    seed: int = 0
    weights_of_seed: Callable[[int], list[np.ndarray]] | None = None


def hparams_of(optimizer: tff.learning.optimizers.Optimizer) -> dict[str, float]:
    """An optimizer's hyperparameters, such as "learning_rate"."""
    # Graphs are traced around this; numbers must come out.
    with tf.Graph().as_default():
        state = optimizer.initialize(tf.TensorSpec([], tf.float32))
        return {
            name: float(tf.get_static_value(tf.convert_to_tensor(value)))
            for name, value in optimizer.get_hparams(state).items()
        }


def check_plain_sgd(name: str, ingredients: Ingredients) -> None:
    """Raises ValueError unless clients train by SGD without momentum."""
    found = set(hparams_of(ingredients.client_optimizer))
    if found != {"learning_rate"}:
        raise ValueError(
            f"--algorithm={name} is defined for clients that train by SGD without momentum; use "
            f"--client_optimizer=sgd --client_momentum=0."
        )


def server_rate(name: str, ingredients: Ingredients) -> float:
    """The server's learning rate, for algorithms that are its optimizer themselves.

    Raises:
        ValueError: The server's optimizer is another than SGD without momentum.
    """
    found = hparams_of(ingredients.server_optimizer)
    if set(found) != {"learning_rate"}:
        raise ValueError(
            f"--algorithm={name} is the server's optimizer itself; leave --server_optimizer and "
            f"--server_momentum out."
        )
    return found["learning_rate"]


@dataclasses.dataclass(frozen=True)
class Needs:
    """What an algorithm needs and allows; refusals, docs and tests read it.

    Attributes:
        client_state: Clients keep a state from round to round.
        supports_secure_sum: All that clients send may be summed securely.
        supports_attacks: Clients can be told to misbehave.
        is_optimizer: It is the server's optimizer itself; the server's must be SGD.
        cohort: "sampled" clients of the same round; "pooled", their data as one client's; or
            "buffered", those whose updates arrived, each from the model of an earlier round.
        own_weights: Its mean is one with weights that it makes.
        exact_mean: What it keeps at the server is right only if the aggregator loses nothing.
        server_step: It takes the server optimizer's step.
        personal: What it gives are models of clients; what the plain evaluation says of its global
            one is in its module's docstring.
    """

    client_state: bool = False
    supports_secure_sum: bool = True
    supports_attacks: bool = True
    is_optimizer: bool = False
    cohort: str = "sampled"
    own_weights: bool = False
    exact_mean: bool = False
    server_step: bool = True
    personal: bool = False
