"""Published tables as data, and how runs are held against them. Imports no TensorFlow: only what
computes a number does, when it is asked.
"""

from tff_experiments.reproduction import (
    bonawitz2017,
    kairouz2021,
    karimireddy2020,
    mcmahan2017,
    reddi2021,
    tff_dp_tutorial,
)

PAPERS = tuple(
    module.PAPER
    for module in (
        mcmahan2017,
        reddi2021,
        karimireddy2020,
        kairouz2021,
        bonawitz2017,
        tff_dp_tutorial,
    )
)
