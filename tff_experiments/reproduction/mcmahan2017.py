"""McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks from Decentralized Data"
(https://arxiv.org/abs/1602.05629), tables 1 and 2, MNIST: rounds to a test accuracy.

Minutes: four rates, 1.3 times the published rounds each, at the seconds a round that were measured.
"""

from tff_experiments.reproduction.published import Data, Paper, Row, Table
from tff_experiments.reproduction.rules import Band, Grid, Rule

MNIST = Data(
    "MNIST, complete",
    "mnist, 60,000 train / 10,000 test examples",
    ("--dataset=mnist",),
)
BAND = Band(1 / 1.3, 1.3)
_DIVISIONS = {"iid": ("IID", "iid"), "shards": ("non-IID", "label_shards")}
# E, B (0: all of a client's examples), published IID and non-IID rounds, whether they were
# recalled, seconds a round.
_TABLE_2 = {
    "fedsgd": ("FedSGD", 1, 0, (626, False), (483, True), 2.5),
    "e5_binf": ("FedAvg E 5, B all", 5, 0, (179, False), (1000, True), 9.0),
    "e1_b50": ("FedAvg E 1, B 50", 1, 50, (65, True), (600, True), 2.5),
    "e20_binf": ("FedAvg E 20, B all", 20, 0, (234, False), (672, True), 34.0),
    "e1_b10": ("FedAvg E 1, B 10", 1, 10, (34, False), (350, True), 3.3),
    "e5_b50": ("FedAvg E 5, B 50", 5, 50, (29, True), (334, True), 9.0),
    "e20_b50": ("FedAvg E 20, B 50", 20, 50, (32, True), (426, True), 34.0),
    "e5_b10": ("FedAvg E 5, B 10", 5, 10, (20, False), (229, True), 13.0),
    "e20_b10": ("FedAvg E 20, B 10", 20, 10, (18, True), (173, True), 50.0),
}
# C, clients a round, published rounds, all recalled, and seconds a round.
_TABLE_1 = {
    "c0": (1, 316, 3275, 0.05),
    "c0.1": (10, 87, 664, 0.21),
    "c0.2": (20, 77, 619, 0.4),
    "c0.5": (50, 75, 443, 0.87),
    "c1": (100, 70, 380, 1.8),
}


def _row(key, title, division, published, recalled, seconds, config, flags, exponents) -> Row:
    long = published >= 500
    return Row(
        key=f"{division}_{key}",
        title=f"{title}, {_DIVISIONS[division][0]}",
        published=published,
        recalled=recalled,
        band=BAND,
        minutes=4 * 1.3 * published * seconds / 60,
        config=config,
        flags=(
            f"--partition={_DIVISIONS[division][1]}",
            *flags,
            f"--eval_every={5 if long else 1}",
        ),
        grid=Grid("client_learning_rate", exponents),
        most_rounds=4 * published,
    )


def _table_1() -> tuple[Row, ...]:
    starts = {"iid": (-1, 0, 1), "shards": (-2, -1, 0)}
    return tuple(
        _row(
            key, f"C = {key[1:]}", division, rounds, True, seconds,
            "table1_2nn", (f"--clients_per_round={clients}",), starts[division],
        )
        for division in _DIVISIONS
        for key, (clients, *both, seconds) in _TABLE_1.items()
        for rounds in [both[division == "shards"]]
    )  # fmt: skip


def _table_2() -> tuple[Row, ...]:
    rows = []
    for division in _DIVISIONS:
        for key, (title, epochs, batch, *both, seconds) in _TABLE_2.items():
            published, recalled = both[division == "shards"]
            # All examples in one batch make few steps, which take large rates. What was measured
            # with small batches is best at 0.1 or a step above, whatever the division and E.
            middle = 0 if batch else 1
            flags = (f"--client_epochs={epochs}", f"--batch_size={batch}")
            exponents = (middle - 1, middle, middle + 1)
            rows.append(
                _row(
                    key, title, division, published, recalled, seconds,
                    "table2_cnn", flags, exponents,
                )
            )  # fmt: skip
    return tuple(rows)


PAPER = Paper(
    "mcmahan2017",
    "McMahan et al. 2017, Communication-Efficient Learning of Deep Networks from Decentralized "
    "Data",
    (
        Table(
            "table1", "2NN on MNIST, E = 1, B = 10", _table_1(),
            rule=Rule(kind="rounds_to", target=0.97), data=MNIST, folder="t1_2nn",
        ),
        Table(
            "table2", "CNN on MNIST, C = 0.1", _table_2(),
            rule=Rule(kind="rounds_to", target=0.99), data=MNIST, folder="t2_cnn",
        ),
    ),
)  # fmt: skip
