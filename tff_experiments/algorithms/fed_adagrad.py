"""FedAdagrad: FedAvg with Adagrad at the server; Reddi et al. 2021, see `adaptive`.

Its experiments, section 5, are without momentum.
"""

import dataclasses

from tff_experiments.algorithms import adaptive, composition
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs(is_optimizer=True)


@dataclasses.dataclass(frozen=True)
class Hparams(adaptive.Hparams):
    """Knobs of FedAdagrad."""

    beta_1: float = 0.0
    """Decay of the first moment, in [0, 1); Reddi et al. have 0, and Keras has none."""

    def __post_init__(self):
        super().__post_init__()
        if self.variant == "keras" and self.beta_1:
            raise ValueError(
                f"Keras' Adagrad has no momentum: fed_adagrad_variant=keras needs "
                f"fed_adagrad_beta_1=0, got {self.beta_1}."
            )


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process."""
    return adaptive.build("adagrad", hparams, ingredients)
