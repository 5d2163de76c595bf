"""What makes an algorithm: what clients do, what the server does, and what passes between them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

Weights = tff.learning.models.ModelWeights


class Received(NamedTuple):
    """What a client gets from the server."""

    weights: Any  # What `Rules.sent` gives of the weights.
    hparams: Any  # Of the client optimizer, its learning rate as scheduled.
    server: Any  # What the algorithm adds; () if nothing.


class Client(NamedTuple):
    """One client: its data and what it gets beside it."""

    data: tf.data.Dataset
    state: Any = ()  # Its own, of the last round in which it took part; () if it keeps none.
    extras: Mapping[str, tf.Tensor] = {}


class Part(NamedTuple):
    """Something to be averaged."""

    value: Any  # A structure of float32.
    weight: tf.Tensor  # float32 []


class Total(NamedTuple):
    """Numbers to be summed, of a known range, so that they can be summed securely."""

    value: tf.Tensor  # int32: exact; float32: quantized to 32 bits if secure. Not negative.
    largest: float  # A client's values are clipped to it.


class ClientResult(NamedTuple):
    """What a client's work gives."""

    parts: Mapping[str, Part]
    totals: Mapping[str, Total] = {}
    state: Any = ()  # Its new one.


class State(NamedTuple):
    """State of a process."""

    global_model_weights: Weights
    round_num: Any  # Rounds that are over, int32 [].
    algorithm: Any  # What the algorithm adds.
    aggregator: Any  # {part: state}
    finalizer: Any  # Of the server optimizer.


class Buffer(NamedTuple):
    """How a buffered server is filled, see `clients.buffered`; clients get `extras["version"]`, how
    many steps ago the server's model was theirs.
    """

    concurrency: int  # Clients in training at any time.
    max_staleness: int  # Older updates are not counted.


def apply_delta(step, weights: Weights, state: Any, means, totals):
    """Takes the mean of the part "delta" as the server's gradient."""
    del totals
    return weights._replace(trainable=step(weights.trainable, means["delta"])), state


@dataclasses.dataclass(frozen=True)
class Rules:
    """An algorithm. Its functions are traced as TensorFlow.

    Attributes:
        client_update: (model, Received, Client) -> ClientResult.
        server_update: (step, weights, algorithm's state, means, totals) -> (weights, algorithm's
            state), and if it likes {metric: scalar}. `step(trainable, gradient)` is the server
            optimizer's step, to be made once.
        server_state: weights -> the algorithm's first state.
        broadcast: (weights, algorithm's state) -> what `Received.server` is.
        client_state: weights, as `tf.TensorSpec`s -> a client's first state, numpy; None where
            clients keep none.
        extras: What clients get beside data and state: {name: numpy scalar type}.
        sent: weights -> what of them clients get; all, if not said otherwise.
        optimized: (weights, algorithm's state) -> what the server optimizer's steps change.
        evaluated: state -> the weights to evaluate.
        personalize: (model, Received, Client) -> a client's own weights, from its training data and
            its state, see `personalization`; None fine-tunes the weights.
        buffer: For an algorithm whose rounds are those of a buffered server.
        downloaded: type of `Received` -> what of it one client downloads.
        passed: (weights, algorithm's state) -> the algorithm's state after a round that changed
            nothing, since it was aborted or a mean was not finite.
    """

    client_update: Callable[..., ClientResult]
    server_update: Callable = apply_delta
    server_state: Callable[[Weights], Any] = lambda weights: ()
    broadcast: Callable[[Weights, Any], Any] = lambda weights, state: ()
    client_state: Callable[[Weights], Any] | None = None
    extras: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sent: Callable[[Weights], Any] = lambda weights: weights
    optimized: Callable[[Weights, Any], Any] = lambda weights, state: weights.trainable
    evaluated: Callable[[State], Weights] = lambda state: state.global_model_weights
    personalize: Callable[..., Weights] | None = None
    buffer: Buffer | None = None
    downloaded: Callable[[Any], Any] = lambda received: received
    passed: Callable[[Weights, Any], Any] = lambda weights, state: state


def zeros(specs: Any) -> Any:
    """Zeros of a structure of `tf.TensorSpec`s or tensors, as numpy or as tensors."""

    def zero(spec):
        if isinstance(spec, tf.TensorSpec):
            return np.zeros(spec.shape, spec.dtype.as_numpy_dtype)
        return tf.zeros(spec.shape, spec.dtype)

    return tf.nest.map_structure(zero, specs)
