"""Karimireddy et al. 2020, "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning"
(https://arxiv.org/abs/1910.06378), table 3: logistic regression on EMNIST, rounds to 0.5 test
accuracy at 0, 10 and 100 % similarity. All numbers were recalled.

Minutes: four rates, 1.3 times the published rounds each.
"""

from tff_experiments.reproduction.published import Paper, Row, Table
from tff_experiments.reproduction.reddi2021 import EMNIST_62
from tff_experiments.reproduction.rules import Band, Grid, Rule

BAND = Band(1 / 1.5, 1.5)
SIMILARITIES = (0, 10, 100)
# Title, flags, published rounds by similarity, seconds a round, which rate, where its search
# begins.
_ROWS = {
    "sgd": (
        "SGD", ("--algorithm=fed_sgd", "--client_epochs=1"), (317, 365, 416), 0.8,
        Grid("server_learning_rate", (-2, -1, 0)),
    ),
    "scaffold_e5": (
        "SCAFFOLD, 5 epochs", ("--algorithm=scaffold", "--client_epochs=5"), (152, 20, 10), 4.0,
        Grid("client_learning_rate", (-4, -3, -2)),
    ),
    "fed_avg_e5": (
        "FedAvg, 5 epochs", ("--algorithm=fed_avg", "--client_epochs=5"), (428, 34, 10), 4.0,
        Grid("client_learning_rate", (-4, -3, -2)),
    ),
}  # fmt: skip


def _rows() -> tuple[Row, ...]:
    return tuple(
        Row(
            key=f"{key}_s{similarity}",
            title=f"{title}, {similarity} % similar",
            published=rounds,
            recalled=True,
            band=BAND,
            minutes=4 * 1.3 * rounds * seconds / 60,
            config="table3",
            flags=(*flags, f"--partition_similarity={similarity / 100:g}"),
            grid=grid,
            most_rounds=1000,
            # A fifth of a client's examples, as there.
            stand_in_flags=("--batch_size=109",),
            stand_in_is_npz=True,
        )
        for key, (title, flags, published, seconds, grid) in _ROWS.items()
        for similarity, rounds in zip(SIMILARITIES, published, strict=True)
    )


PAPER = Paper(
    "karimireddy2020",
    "Karimireddy et al. 2020, SCAFFOLD: Stochastic Controlled Averaging for Federated Learning",
    (
        Table(
            "table3", "logistic regression on EMNIST, 100 clients, 20 a round", _rows(),
            rule=Rule(kind="rounds_to", target=0.5), data=EMNIST_62,
        ),
    ),
)  # fmt: skip
