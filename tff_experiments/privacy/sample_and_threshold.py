"""Differential privacy without noise: few of many clients vote, and what has too few votes is lost.

Zhu, Kairouz, McMahan, Sun, Li, AISTATS 2020, theorem 1 and corollary 1
(https://arxiv.org/abs/1902.08534). In each of L rounds m of n clients, drawn at random, have one
vote each, and no more is told than what has theta votes or more:

    epsilon = L ln(1 + 1 / (n / (m theta) - 1)) = -L ln(1 - m theta / n)
    delta   = (theta - 2) / ((theta - 3) theta!)

for 4 <= theta <= sqrt(n) and sqrt(n) <= m <= n / (theta + 1). Neighbours differ in one client's
words. Nobody may know who was drawn.
"""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class SampleAndThreshold:
    """A vote in rounds."""

    num_clients: int
    """Clients there are, n."""
    clients_per_round: int
    """Clients that are drawn in a round, m."""
    threshold: int
    """Votes that are needed, theta."""
    rounds: int
    """L."""

    def __post_init__(self):
        root = math.sqrt(self.num_clients)
        if not 4 <= self.threshold <= root:
            raise ValueError(
                f"sampling without noise needs a threshold of 4 to sqrt(clients) = {root:.4g}, "
                f"got {self.threshold}: take more clients, more epsilon, or noise."
            )
        most = self.num_clients / (self.threshold + 1)
        if not root <= self.clients_per_round <= most:
            raise ValueError(
                f"sampling without noise needs {root:.4g} to {most:.4g} clients in a round, "
                f"sqrt(clients) to clients / (threshold + 1), got {self.clients_per_round}: take "
                f"more clients, another epsilon, or noise."
            )

    @property
    def epsilon(self) -> float:
        """Of all rounds."""
        share = self.clients_per_round * self.threshold / self.num_clients
        return -self.rounds * math.log1p(-share)

    @property
    def delta(self) -> float:
        """Of all rounds."""
        return _delta(self.threshold)


def calibrate(
    target_epsilon: float, *, delta: float, num_clients: int, rounds: int
) -> SampleAndThreshold:
    """The least threshold that has `delta`, and the most clients that have the target.

    Raises:
        ValueError: There are no such; says what would help.
    """
    if not target_epsilon > 0 or not 0 < delta < 1:
        raise ValueError(f"epsilon must be > 0 and delta in (0, 1), got {target_epsilon}, {delta}.")
    a_round = target_epsilon / rounds
    # The last is what m <= n / (theta + 1) asks for.
    threshold = max(4, math.ceil(math.expm1(a_round) - 1e-9))
    while _delta(threshold) > delta:
        threshold += 1
    drawn = math.floor(num_clients * -math.expm1(-a_round) / threshold + 1e-9)
    return SampleAndThreshold(num_clients, drawn, threshold, rounds)


def _delta(threshold: int) -> float:
    return (threshold - 2) / ((threshold - 3) * math.factorial(threshold))
