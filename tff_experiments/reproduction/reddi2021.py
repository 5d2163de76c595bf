"""Reddi et al. 2021, "Adaptive Federated Optimization" (https://arxiv.org/abs/2003.00295), table 1,
EMNIST: character recognition and the autoencoder. configs/reddi2021/ has a flagfile for each
number, with the rates of tables 8 and 9, and the variant of the authors' code: Keras' optimizers.

Minutes are reckoned: seconds a round and of an evaluation of results/femnist_fed_avg, in proportion
to the examples; the autoencoder's as the CNN's. See docs/reddi2021.md.
"""

from tff_experiments.reproduction.published import Data, Paper, Row, Table
from tff_experiments.reproduction.rules import Band, Rule

EMNIST_62 = Data(
    "federated EMNIST, 62 classes, 3,400 writers",
    "emnist-62, 671,585 train / 77,483 test examples",
    ("--dataset=emnist",),
)
# The published number, and whether it was recalled; rates and tau are in the configs.
_RECOGNITION = {
    "fed_adagrad": (85.1, True),
    "fed_adam": (85.6, True),
    "fed_yogi": (85.5, True),
    "fed_avgm": (85.2, True),
    "fed_avg": (84.9, True),
}
_AUTOENCODER = {
    "fed_adagrad": (4.20, False),
    "fed_adam": (1.01, False),
    "fed_yogi": (0.98, False),
    "fed_avgm": (1.65, True),
    "fed_avg": (6.47, False),
}
_TITLES = {
    "fed_adagrad": "FedAdagrad",
    "fed_adam": "FedAdam",
    "fed_yogi": "FedYogi",
    "fed_avgm": "FedAvgM",
    "fed_avg": "FedAvg",
}
STAND_IN_ROUNDS = 400


def _rows(of: dict, table: str, band: Band, minutes: float) -> tuple[Row, ...]:
    return tuple(
        Row(
            key=algorithm,
            title=_TITLES[algorithm],
            published=published,
            recalled=recalled,
            band=band,
            minutes=minutes,
            config=f"{table}_{algorithm}",
            stand_in_flags=(f"--rounds={STAND_IN_ROUNDS}",),
        )
        for algorithm, (published, recalled) in of.items()
    )


PAPER = Paper(
    "reddi2021",
    "Reddi et al. 2021, Adaptive Federated Optimization",
    (
        Table(
            "recognition", "table 1, EMNIST CR: accuracy, %",
            _rows(_RECOGNITION, "recognition", Band(-0.5, 0.5, "difference"), 45),
            rule=Rule(kind="mean_of_last", scale=100), data=EMNIST_62,
        ),
        Table(
            "autoencoder", "table 1, EMNIST AE: mean squared error x 1000",
            _rows(_AUTOENCODER, "autoencoder", Band(1 / 1.2, 1.2), 90),
            rule=Rule("test/mse", "mean_of_last", scale=1000), data=EMNIST_62,
        ),
    ),
)  # fmt: skip
