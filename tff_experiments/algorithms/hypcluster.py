"""HypCluster / IFCA: K models, each client trains the one that fits it best.

Mansour et al. 2020, "Three approaches for personalization", algorithm 2
(https://arxiv.org/abs/2002.10619); Ghosh et al. 2020, "An efficient framework for clustered
federated learning", algorithm 1 with model averaging (https://arxiv.org/abs/2006.04088). A client k
of a round gets all models w^1 .. w^K:

    j_k = argmin_j F_k(w^j)                                      mean loss on its training data
    d_k = w^j - ClientUpdate(k, w^j),    j = j_k
    w^j <- ServerOptimizer(w^j, sum_{k: j_k = j} n_k d_k / sum_{k: j_k = j} n_k)

The models start from weights of different seeds. With K = 1 it is FedAvg. A model that starts worse
than another for every client is never chosen and never trained.

What a client sends is one update of all models, [K, ...], that is 0 but for its own: clipping,
quantization and noise see each client once, and no zeros instead of other clusters' clients. The
mean over all clients is divided by the cluster's share of the weights, which are summed beside it,
so that means are per cluster. That wants an aggregator that is a mean: a median of updates that are
mostly 0 is 0.

The plain evaluation, `test/...`, is of the cluster that most clients chose lately (a round counts
0.9 of the next one); `--eval_personalized` gives each client the cluster of the least loss on its
training data. `train/cluster_<j>_clients` counts who chose what.

Deviations: a model that nobody chose stays, while the server optimizer's moments see a gradient of
0; the model's dropout is off where F_k is measured; weights that are not trained are shared.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tff_experiments.algorithms import composition, fed_avg, local_training, rules
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs(personal=True)
_LARGEST = float(2**20)  # No client has more examples.
_FADE = 0.9


@dataclasses.dataclass(frozen=True)
class Hparams(fed_avg.Hparams):
    """Knobs of HypCluster."""

    clusters: int = 2
    """Number of models, K."""
    init_noise: float = 0.0
    """Standard deviation of noise on the first weights of all models but one, for tasks whose first
    weights are the same for all seeds.
    """

    def __post_init__(self):
        for name, least in (("clusters", 1), ("init_noise", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(
                    f"hypcluster_{name} must be >= {least}, got {getattr(self, name)}."
                )


class Clusters(NamedTuple):
    """The server's state of the clusters; the first model is the process' weights."""

    others: list  # The other models, stacked: as the trainable weights, [K - 1, ...].
    chosen: tf.Tensor  # How many clients chose each, fading with the rounds, float32 [K].


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process; raises ValueError where all models would start from the same weights."""
    k = hparams.clusters
    # Keras' weights have values outside of traces only.
    models = _of_seeds(hparams, ingredients)

    def choose(model, received, client):
        """The number of the best model, int32 [], and its weights."""
        models = _stacked(received.weights.trainable, received.server)
        losses = tf.TensorArray(tf.float32, k)
        for j in tf.range(k):
            weights = received.weights._replace(trainable=[w[j] for w in models])
            losses = losses.write(j, local_training.mean_loss(model, weights, client.data))
        finite = tf.where(tf.math.is_nan(losses.stack()), np.inf, losses.stack())
        best = tf.argmin(finite, output_type=tf.int32)
        return best, received.weights._replace(trainable=[w[best] for w in models])

    def client_update(model, received, client):
        best, weights = choose(model, received, client)
        trained = local_training.train(
            model,
            weights,
            client.data,
            optimizer=ingredients.client_optimizer,
            hparams=received.hparams,
        )
        is_own = tf.one_hot(best, k)
        value = [_per_cluster(is_own, d[tf.newaxis]) for d in trained.delta]
        weight = local_training.example_weight(hparams.weighting, trained)
        own = tf.cast(is_own, tf.int32)
        totals = {
            "clients": rules.Total(own, 1),
            "examples": rules.Total(own * tf.cast(trained.num_examples, tf.int32), _LARGEST),
        }
        return rules.ClientResult({"delta": rules.Part(value, weight)}, totals)

    def server_update(step, weights, state, means, totals):
        of_weights = totals["examples" if hparams.weighting == "examples" else "clients"]
        of_weights = tf.cast(of_weights, tf.float32)
        scale = tf.math.divide_no_nan(tf.reduce_sum(of_weights), of_weights)
        models = _stacked(weights.trainable, state.others)
        moved = step(models, [_per_cluster(scale, g) for g in means["delta"]])
        clients = totals["clients"]
        pairs = zip(moved, models, strict=True)
        # The scale of a model that nobody chose is 0.
        new = [tf.where(_per_cluster(scale, tf.ones_like(n)) > 0, n, m) for n, m in pairs]
        chosen = _FADE * state.chosen + tf.cast(clients, tf.float32)
        metrics = {f"cluster_{j}_clients": clients[j] for j in range(k)}
        weights = weights._replace(trainable=[w[0] for w in new])
        return weights, Clusters([w[1:] for w in new], chosen), metrics

    return composition.build(
        ingredients,
        rules.Rules(
            client_update=client_update,
            server_update=server_update,
            server_state=lambda weights: _first(hparams, ingredients, models, weights),
            broadcast=lambda weights, state: state.others,
            optimized=lambda weights, state: _stacked(weights.trainable, state.others),
            evaluated=_evaluated,
            personalize=lambda *args: choose(*args)[1],
        ),
    )


def _stacked(first, others):
    return [tf.concat([w[tf.newaxis], o], 0) for w, o in zip(first, others, strict=True)]


def _per_cluster(factors, stacked):
    """Factors of the clusters, [K], times what is [K, ...], or [1, ...] for all."""
    return tf.reshape(factors, [-1, *[1] * (len(stacked.shape) - 1)]) * stacked


def _evaluated(state: rules.State) -> rules.Weights:
    weights, clusters = state.global_model_weights, state.algorithm
    best = int(np.argmax(clusters.chosen))
    if best == 0:
        return weights
    return weights._replace(trainable=[np.asarray(o)[best - 1] for o in clusters.others])


def _seeds(hparams, ingredients) -> list[np.random.SeedSequence]:
    """Of the models but the first."""
    numbers = range(1, hparams.clusters)
    return [np.random.SeedSequence([ingredients.seed, number]) for number in numbers]


def _of_seeds(hparams, ingredients) -> list[list[np.ndarray]] | None:
    """First weights of the models but the first, None where they have the first's."""
    make = ingredients.weights_of_seed
    models = None
    if make is not None:
        models = [make(int(s.generate_state(1)[0])) for s in _seeds(hparams, ingredients)]
    if hparams.clusters == 1 or hparams.init_noise:
        return models
    if models is None or all(map(np.array_equal, models[0], make(ingredients.seed))):
        raise ValueError(
            "all models of hypcluster would start from the same weights, whatever the seed; give "
            "--hypcluster_init_noise."
        )
    return models


def _first(hparams, ingredients, models, weights: rules.Weights) -> Clusters:
    first = weights.trainable
    stacked = [tf.zeros([0, *w.shape]) for w in first]
    for i, seed in enumerate(_seeds(hparams, ingredients)):
        rng = np.random.default_rng(seed)
        noise = [hparams.init_noise * rng.standard_normal(w.shape, np.float32) for w in first]
        model = models[i] if models else first
        stacked = [
            tf.concat([s, (w + n)[tf.newaxis]], 0)
            for s, w, n in zip(stacked, model, noise, strict=True)
        ]
    return Clusters(stacked, tf.zeros([hparams.clusters]))
