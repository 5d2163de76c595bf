"""DP-FTRL: noise of the server's that is correlated over rounds, so that it cancels in the model.

    tree     Kairouz et al. 2021, algorithm 1 (https://arxiv.org/abs/2103.00039): noise at the nodes
             of a binary tree over rounds, restarted
    banded   Choquette-Choo et al. 2023 (https://arxiv.org/abs/2306.08153): C^-1 Z of a banded C

With SGD at the server, w_t = w_0 - eta (prefix sum of the noisy means): the paper's update without
its momentum; `--server_momentum` is its variant with. Nobody may come twice within a tree or within
the bands, which `--client_sampling=round_robin` keeps and the accountant insists on. It needs no
sampling at random, and no server that hides who took part.
"""

import dataclasses
from typing import Any, Literal

import tensorflow_federated as tff

from tff_experiments.aggregation import correlated_noise, private_mean
from tff_experiments.privacy import matrix_factorization

METRICS_AGGREGATOR = tff.learning.metrics.sum_then_finalize
SUPPORTS_SECURE_SUM = False
STACKED = False


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of DP-FTRL."""

    noise: Literal["tree", "banded"] = "tree"
    """How noise is correlated over rounds."""
    noise_multiplier: float = 1.0
    """Standard deviation of the noise in a node, or of Z, over the clip; 0 is no privacy."""
    clip: float = 0.1
    """L2 norm of an update, at most."""
    restart_every: int = 0
    """tree: rounds of a tree; 0 is as many as nobody comes twice in."""
    bands: int = 0
    """banded: rounds over which noise is correlated; 0 is as many as nobody comes twice in."""

    def __post_init__(self):
        if not self.clip > 0 or not self.noise_multiplier >= 0:
            raise ValueError("clip must be > 0, noise_multiplier >= 0.")


def privacy(hparams: Hparams) -> dict[str, Any]:
    """What `privacy.plan` has to know."""
    return {
        "mechanism": "tree_aggregation" if hparams.noise == "tree" else "banded_factorization",
        "noise_multiplier": hparams.noise_multiplier,
        "clip": hparams.clip,
        "restart_every": hparams.restart_every,
        "bands": hparams.bands,
    }


def build(
    hparams: Hparams, mechanism: Any, plan: Any
) -> tff.aggregators.WeightedAggregationFactory:
    """Makes the aggregator of model updates; arguments as of `dp_fedavg.build`."""
    noise = correlated_noise.Independent()
    if mechanism and hparams.noise == "tree":
        noise = correlated_noise.Tree(mechanism.restart_every)
    elif mechanism:
        bands = min(mechanism.bands, plan.rounds)
        noise = correlated_noise.Banded(
            matrix_factorization.toeplitz_coefficients(plan.rounds, bands)
        )
    return private_mean.PrivateMeanFactory(
        private_mean.Clipping(hparams.clip),
        mechanism.noise_multiplier if mechanism else 0.0,
        noise,
        clients_per_round=plan.clients_per_round,
    )
