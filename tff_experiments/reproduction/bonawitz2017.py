"""Bonawitz et al. 2017, "Practical Secure Aggregation for Privacy-Preserving Machine Learning"
(https://eprint.iacr.org/2017/281): bytes by its formula and as measured, and seconds.

Nothing is trained: see `secure_sums`.
"""

import functools

from tff_experiments.reproduction import secure_sums
from tff_experiments.reproduction.published import Paper, Row, Table
from tff_experiments.reproduction.rules import Band

_EXPANSION = ((10, 20, 1.73), (14, 24, 1.98), (14, 20, 3.62))
# Clients, share that drops out, seconds of the server, whether they were recalled.
_SERVER = (
    (500, 0.0, 2.0, False),
    (500, 0.1, 62.0, False),
    (500, 0.3, 143.0, False),
    (1000, 0.0, 4.9, True),
    (1000, 0.1, 181.0, False),
    (1000, 0.3, 414.0, False),
)
_CLIENT = ((500, 0.849), (1000, 1.699))
# Another machine, language and random generator: all that can be asked is not to be slower.
NOT_SLOWER = Band(0.0, 1.0)


def _communication() -> tuple[Row, ...]:
    formula = [
        Row(
            key=f"formula_2^{n}_2^{m}",
            title=f"formula, 2^{n} users, 2^{m} entries",
            published=published,
            band=Band(-0.005, 0.005, "difference"),
            compute=functools.partial(secure_sums.formula, 2**n, 2**m),
        )
        for n, m, published in _EXPANSION
    ]
    measured = [
        Row(
            key=f"{adversary}_2^10_2^20",
            title=f"measured, {adversary}, 2^10 users, 2^20 entries",
            published=1.73,
            band=Band(1 / 1.05, 1.05) if adversary == "semi_honest" else None,
            minutes=3,
            compute=functools.partial(secure_sums.measured_expansion, adversary),
        )
        for adversary in ("semi_honest", "active")
    ]
    return (*formula, *measured)


def _seconds() -> tuple[Row, ...]:
    server = [
        Row(
            key=f"server_n{n}_d{dropout:g}",
            title=f"server, {n} clients, {dropout:.0%} dropped",
            published=published,
            recalled=recalled,
            band=NOT_SLOWER,
            minutes=n / 250,
            compute=functools.partial(secure_sums.seconds, "server", n, dropout),
        )
        for n, dropout, published, recalled in _SERVER
    ]
    client = [
        Row(
            key=f"client_n{n}",
            title=f"client, {n} clients",
            published=published,
            band=NOT_SLOWER,
            minutes=n / 250,
            compute=functools.partial(secure_sums.seconds, "client", n, 0.0),
        )
        for n, published in _CLIENT
    ]
    return (*server, *client)


PAPER = Paper(
    "bonawitz2017",
    "Bonawitz et al. 2017, Practical Secure Aggregation for Privacy-Preserving Machine Learning",
    (
        Table(
            "communication", "bytes of a client over those of its plain 16-bit vector",
            _communication(), unit="expansion",
        ),
        Table(
            "seconds", "100,000 entries of 62 bits, one thread, honest-but-curious", _seconds(),
            unit="seconds",
        ),
    ),
)  # fmt: skip
