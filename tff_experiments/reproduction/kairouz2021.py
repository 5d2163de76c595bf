"""Kairouz, Liu, Steinke 2021, "The Distributed Discrete Gaussian Mechanism for Federated Learning
with Secure Aggregation" (https://arxiv.org/abs/2102.06387), and Agarwal, Kairouz, Liu 2021, "The
Skellam Mechanism for Differentially Private Federated Learning" (https://arxiv.org/abs/2110.04995),
EMNIST-62.

Noise multipliers were made by running the authors' accounting. Utility is published as curves, of
which two sentences were recalled: they are rows of a ratio to the central Gaussian.
"""

import functools

from tff_experiments.reproduction.published import Computed, Paper, Row, Table
from tff_experiments.reproduction.reddi2021 import EMNIST_62
from tff_experiments.reproduction.rules import Band, Rule

# Mechanism, accountant, epsilon, bits, noise multiplier.
_NOISE = (
    ("discrete_gaussian", "rdp_integer", 3, 16, 1.8581),
    ("discrete_gaussian", "rdp_integer", 6, 16, 1.1247),
    ("discrete_gaussian", "rdp_integer", 10, 16, 0.8938),
    ("discrete_gaussian", "rdp_integer", 10, 14, 0.9159),
    ("discrete_gaussian", "rdp_integer", 10, 12, 1.9980),
    ("skellam", "rdp_integer", 3, 16, 1.8581),
    ("skellam", "rdp_integer", 6, 16, 1.1247),
    ("skellam", "rdp_integer", 10, 16, 0.8938),
    ("skellam", "rdp_integer", 10, 14, 0.9159),
    ("gaussian", "rdp_integer", 3, 0, 1.6136),
    ("gaussian", "rdp_integer", 6, 0, 1.0682),
    ("gaussian", "rdp_integer", 10, 0, 0.8479),
    ("gaussian", "pld", 3, 0, 1.4908),
    ("gaussian", "pld", 6, 0, 0.9974),
    ("gaussian", "pld", 10, 0, 0.7913),
)
_TITLES = {
    "gaussian": "central Gaussian",
    "discrete_gaussian": "distributed discrete Gaussian",
    "skellam": "distributed Skellam",
}


def _noise(
    mechanism: str, accountant: str, epsilon: float, bits: int, may_measure: bool
) -> Computed:
    from tff_experiments.privacy import plan

    del may_measure
    asked = plan.Hparams(
        mechanism=mechanism,
        accountant=accountant,
        # As the papers count; what that leaves out is in docs/privacy.md.
        neighbours="removed" if mechanism == "gaussian" else "published",
        num_clients=3400,
        clients_per_round=100,
        rounds=1500,
        clip=0.03,
        bits=bits or 16,
        dim=2**20,
    )
    found = plan.answer(asked, epsilon).budget.mechanism.noise_multiplier
    return Computed(found, f"accountant {accountant}")


def _noise_row(mechanism, accountant, epsilon, bits, published) -> Row:
    width = f", {bits} bits" if bits else f", {accountant.split('_')[0].upper()}"
    return Row(
        key=f"{mechanism}{'_pld' * (accountant == 'pld')}_e{epsilon}"
        + (f"_b{bits}" if bits else ""),
        title=f"{_TITLES[mechanism]}, epsilon {epsilon}{width}",
        published=published,
        band=Band(0.999, 1.001),
        minutes=1 if accountant == "pld" else 0.1,
        compute=functools.partial(_noise, mechanism, accountant, epsilon, bits),
    )


def _utility_rows() -> tuple[Row, ...]:
    rows = []
    for epsilon in (3, 6, 10):
        common = {"minutes": 300, "config": "utility", "stand_in_flags": ("--rounds=400",)}
        target = f"--target_epsilon={epsilon}"
        central = f"gaussian_e{epsilon}"
        rows.append(
            Row(central, f"{_TITLES['gaussian']}, epsilon {epsilon}",
                flags=("--aggregator=dp_fedavg", "--neighbours=removed", target), **common)
        )  # fmt: skip
        distributed = [("ddp_discrete_gaussian", 16), ("ddp_skellam", 16)]
        if epsilon == 10:
            distributed.append(("ddp_discrete_gaussian", 12))
        for aggregator, bits in distributed:
            name = aggregator.removeprefix("ddp_")
            rows.append(
                Row(
                    f"{name}_e{epsilon}_b{bits}",
                    f"{_TITLES[name]}, epsilon {epsilon}, {bits} bits: over the central one's",
                    published=1.0 if bits == 16 else 0.0,
                    recalled=True,
                    told="matches it" if bits == 16 else "collapses",
                    band=Band(-0.02, 0.02 if bits == 16 else 0.5, "difference"),
                    flags=(
                        f"--aggregator={aggregator}",
                        f"--{aggregator}_bits={bits}",
                        "--neighbours=published",
                        target,
                    ),
                    relative_to=central,
                    **common,
                )
            )
    return tuple(rows)


PAPER = Paper(
    "kairouz2021",
    "Kairouz, Liu, Steinke 2021, The Distributed Discrete Gaussian Mechanism; Agarwal, Kairouz, "
    "Liu 2021, The Skellam Mechanism",
    (
        Table(
            "noise", "noise multiplier for epsilon, 100 of 3,400 clients, 1,500 rounds",
            tuple(_noise_row(*row) for row in _NOISE), unit="noise multiplier",
        ),
        Table(
            "utility", "CNN on EMNIST-62: accuracy over the central Gaussian's", _utility_rows(),
            rule=Rule(kind="mean_of_last"), data=EMNIST_62,
        ),
    ),
)  # fmt: skip
