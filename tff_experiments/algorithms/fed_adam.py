"""FedAdam: FedAvg with Adam at the server; Reddi et al. 2021, see `adaptive`."""

import dataclasses

from tff_experiments.algorithms import adaptive, composition
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs(is_optimizer=True)


@dataclasses.dataclass(frozen=True)
class Hparams(adaptive.Hparams):
    """Knobs of FedAdam."""


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process."""
    return adaptive.build("adam", hparams, ingredients)
