"""TFF's tutorial "Differential Privacy in TFF" on EMNIST-10: accuracy after 100 rounds by noise,
and epsilon of the last run.
"""

from tff_experiments.reproduction.published import Computed, Data, Paper, Row, Table
from tff_experiments.reproduction.rules import Band, Rule

EMNIST_10 = Data(
    "federated EMNIST, digits only, 3,383 writers",
    "emnist-10, 341,873 train / 40,832 test examples",
    ("--dataset=emnist", "--emnist_only_digits"),
)
# Noise multiplier, clients a round, accuracy in %.
_RUNS = ((0.0, 50, 80.5), (0.5, 50, 77.0), (0.75, 50, 70.9), (1.0, 50, 38.3), (1.2, 120, 79.6))


def _row(noise: float, clients: int, accuracy: float) -> Row:
    return Row(
        key=f"noise{noise:g}_c{clients}",
        title=f"noise multiplier {noise:g}, {clients} clients",
        published=accuracy,
        # One seed is published; where noise is large, seeds lie far apart.
        band=Band(-3, 3, "difference") if noise != 1 else Band(-20, 20, "difference"),
        minutes=3 if clients == 50 else 5,
        config="accuracy",
        stand_in_flags=("--npz_labels_below=10",),
        stand_in_is_npz=True,
        flags=(f"--dp_fedavg_noise_multiplier={noise:g}", f"--clients_per_round={clients}"),
    )


def _epsilon(may_measure: bool) -> Computed:
    from tff_experiments.privacy import plan

    del may_measure
    asked = plan.Hparams(
        mechanism="adaptive_clipping",
        num_clients=3383,
        clients_per_round=120,
        rounds=100,
        noise_multiplier=1.2,
        delta=1e-5,
    )
    return Computed(plan.answer(asked).planned, "RDP, q = 120 / 3383, delta 1e-5")


PAPER = Paper(
    "tff_dp_tutorial",
    "TensorFlow Federated's tutorial Differential Privacy in TFF",
    (
        Table(
            "accuracy", "2NN on EMNIST-10, 100 rounds: accuracy, %",
            tuple(_row(*run) for run in _RUNS), rule=Rule(scale=100), data=EMNIST_10,
        ),
        Table(
            "epsilon", "epsilon of 100 rounds",
            (Row("noise1.2_c120", "noise multiplier 1.2, 120 of 3,383 clients", 1.986,
                 Band(0.999, 1.001), compute=_epsilon),),
            unit="epsilon",
        ),
    ),
)  # fmt: skip
