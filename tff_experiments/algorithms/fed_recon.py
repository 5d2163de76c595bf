"""Federated reconstruction: local layers that no client keeps and no client sends.

Singhal et al. 2021, "Federated reconstruction: partially local federated learning", algorithm 1
(https://arxiv.org/abs/2102.03448). A client k of a round gets the global layers g and

    l_k     = l_0, some epochs on  l <- l - eta_r gradient_l F_S(g, l)       reconstruction
    g_k     = g, some epochs of the client optimizer on  F_Q(., l_k)         sent
    g_{t+1} = ServerOptimizer(g, sum_k n_k (g - g_k) / sum_k n_k)            n_k examples of Q

S and Q, support and query, are the halves of each of the client's batches; without `split` both are
all of its data. l_0 are the model's first weights. As `tff.learning.algorithms.build_fed_recon`,
which splits by batches, so that a client with one batch would have no query.

Local are the last so many layers of the Keras model that have weights, or what is named. With none,
and no split, it is FedAvg.

The plain evaluation, `test/...`, is of g with l_0, what a client has before it reconstructs: a
floor, not a result. `--eval_personalized` reconstructs on all of a client's training data.
`train/...` is of g_k and l_k, over all of the client's examples.
"""

import dataclasses
from typing import Literal

import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.algorithms import composition, local_training, rules
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs(personal=True)


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of federated reconstruction."""

    local_layers: str = "1"
    """What stays local: a number of layers, the last ones with weights, or names of layers or
    weights in Keras (dense_1, dense/bias) with commas between.
    """
    epochs: int = 1
    """Passes over the query, in which the global layers are trained."""
    recon_epochs: int = 1
    """Passes over the support, in which the local layers are reconstructed."""
    recon_learning_rate: float = 0.1
    """Learning rate of reconstruction, by SGD."""
    split: bool = True
    """Whether support and query are disjoint halves of a client's data."""
    weighting: Literal["examples", "uniform"] = "examples"
    """Whether a client counts as many times as it has examples in its query, or once."""

    def __post_init__(self):
        for name, least in (("epochs", 1), ("recon_epochs", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"fed_recon_{name} must be >= {least}, got {getattr(self, name)}.")
        if not self.recon_learning_rate > 0:
            raise ValueError(
                f"fed_recon_recon_learning_rate must be > 0, got {self.recon_learning_rate}."
            )


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process.

    Raises:
        ValueError: There are no such layers, none is left to be global, or a client's epochs are
            not what a split can divide.
    """
    if hparams.split and ingredients.client_epochs > 1:
        raise ValueError(
            "fed_recon divides one pass over a client's examples: leave --client_epochs at 1 and "
            "set --fed_recon_epochs and --fed_recon_recon_epochs, or give --nofed_recon_split."
        )
    local, shared = divide(ingredients.model_fn, hparams.local_layers)
    sgd = tff.learning.optimizers.build_sgdm(hparams.recon_learning_rate)

    def only(which):
        def correct(gradients, weights, batch):
            del weights, batch
            return [g if i in which else tf.zeros_like(g) for i, g in enumerate(gradients)]

        return correct

    def reconstruct(model, sent, data):
        # Nothing was assigned yet: the local layers hold their first values.
        begun = local_training.values(model)
        trainable = list(begun.trainable)
        for i, value in zip(shared, sent.trainable, strict=True):
            trainable[i] = value
        begun = rules.Weights(trainable, sent.non_trainable)
        epochs = data.repeat(hparams.recon_epochs)
        local_training.train(model, begun, epochs, optimizer=sgd, correct=only(local))
        return local_training.values(model)

    def client_update(model, received, client):
        support, query = _split(client.data) if hparams.split else [client.data] * 2
        trained = local_training.train(
            model,
            reconstruct(model, received.weights, support),
            query.repeat(hparams.epochs),
            optimizer=ingredients.client_optimizer,
            hparams=received.hparams,
            correct=only(shared),
        )
        model.reset_metrics()
        for batch in iter(client.data):
            model.forward_pass(batch, training=False)
        weight = local_training.example_weight(hparams.weighting, trained)
        delta = [trained.delta[i] for i in shared]
        return rules.ClientResult({"delta": rules.Part(delta, weight)})

    def server_update(step, weights, state, means, totals):
        del totals
        trainable = list(weights.trainable)
        moved = step([trainable[i] for i in shared], means["delta"])
        for i, value in zip(shared, moved, strict=True):
            trainable[i] = value
        return weights._replace(trainable=trainable), state

    take_shared = lambda weights: [weights.trainable[i] for i in shared]
    return composition.build(
        ingredients,
        rules.Rules(
            client_update=client_update,
            server_update=server_update,
            sent=lambda weights: weights._replace(trainable=take_shared(weights)),
            optimized=lambda weights, state: take_shared(weights),
            personalize=lambda model, received, client: reconstruct(
                model, received.weights, client.data
            ),
        ),
    )


def divide(model_fn, local_layers: str) -> tuple[list[int], list[int]]:
    """Positions of the local and of the global layers' variables among the trainable ones.

    Args:
        model_fn: Makes the model.
        local_layers: As in `Hparams`.

    Returns:
        (local, global).

    Raises:
        ValueError: There are no such layers, or none is left to be global.
    """
    # Keras numbers the layers of a graph from 0.
    with tf.Graph().as_default():
        names = [v.name.removesuffix(":0") for v in model_fn().trainable_variables]
    layers = list(dict.fromkeys(map(_layer, names)))
    chosen = [name.strip() for name in local_layers.split(",")]
    if local_layers.strip().isdigit():
        chosen = layers[max(len(layers) - int(local_layers), 0) :]
    local = [i for i, name in enumerate(names) if name in chosen or _layer(name) in chosen]
    if set(chosen) - set(names) - set(layers) or len(local) == len(names):
        raise ValueError(
            f"fed_recon_local_layers must leave something global: a number < {len(layers)}, or "
            f"some of {','.join(layers)}, or weights such as {names[-1]}; got {local_layers!r}."
        )
    return local, [i for i in range(len(names)) if i not in local]


def _layer(variable: str) -> str:
    return variable.rsplit("/", 1)[0]


def _split(data: tf.data.Dataset) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    """The first halves of the batches, and the second ones but for those without rows."""
    rows = lambda batch: tf.shape(tf.nest.flatten(batch)[0])[0]
    half = lambda batch: (rows(batch) + 1) // 2
    first = lambda *batch: tf.nest.map_structure(lambda x: x[: half(batch)], batch)
    second = lambda *batch: tf.nest.map_structure(lambda x: x[half(batch) :], batch)
    return data.map(first), data.map(second).filter(lambda *batch: rows(batch) > 0)
