"""The budget of a run: epsilon(delta) as planned, as spent, and the noise for a target.

What was spent is a function of the rounds so far (`rules.of_rounds`), so that a run's state needs
no more than their list, and any accountant can be asked later.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import dp_accounting

from tff_experiments.privacy import accountants, distributed, participation, rules

_LEAST_NOISE, _MOST_NOISE = 2.0**-10, 2.0**20  # Where calibration looks.
_MOST_BITS = 32


@dataclasses.dataclass(frozen=True)
class Budget:
    """A mechanism, a participation and how they are accounted for."""

    mechanism: rules.Mechanism
    """What is noised."""
    participation: participation.Participation
    """How clients come to rounds."""
    delta: float
    """At which epsilon is asked for, in (0, 1); below 1 / clients to be worth something."""
    accountant: Callable[[rules.Relation], dp_accounting.PrivacyAccountant] = (
        accountants.RdpAccountant
    )
    """Makes an accountant; an entry of `accountants.BY_NAME`."""

    def __post_init__(self):
        if not 0 < self.delta < 1:
            raise ValueError(f"delta must be in (0, 1), got {self.delta}.")

    def planned(self, rounds: int) -> float:
        """Epsilon after so many rounds in which no more clients drop out than is expected.

        Raises:
            ValueError: There is no rule for it (`rules.of_rounds`), or the accountant has none.
        """
        return self.spent([self._expected_arrivals] * rounds)

    def spent(self, arrived: Sequence[int]) -> float:
        """Epsilon after the rounds that were.

        Args:
            arrived: For each round the clients whose noise is in the sum that was released, or
                `rules.ABORTED` where none was.

        Raises:
            ValueError: As `planned`.
        """
        event, relation = rules.of_rounds(self.mechanism, self.participation, arrived)
        try:
            accountant = self.accountant(relation).compose(event)
        except dp_accounting.UnsupportedEventError as error:
            raise ValueError(self._refusal()) from error
        return accountant.get_epsilon(self.delta)

    @property
    def relation(self) -> str:
        """Which neighbours epsilon is for, in words."""
        return _RELATIONS[rules.of_rounds(self.mechanism, self.participation, []).relation]

    @property
    def _expected_arrivals(self) -> int:
        return getattr(self.mechanism, "expected_arrivals", 0)

    def _refusal(self) -> str:
        what = f"{type(self.mechanism).__name__} under {type(self.participation).__name__}"
        return f"{self.accountant.__name__} has no rule for {what}; take the accountant rdp."


_RELATIONS = {
    rules.Relation.ADD_OR_REMOVE_ONE: "a client is added or removed",
    rules.Relation.REPLACE_ONE: "a client is replaced by another",
    rules.Relation.REPLACE_SPECIAL: "a client's updates are replaced by zeros",
}


def calibrate(budget: Budget, target_epsilon: float, *, rounds: int) -> Budget:
    """The same budget with the least noise that spends `target_epsilon` in so many rounds.

    Args:
        budget: Its mechanism's noise_multiplier is replaced.
        target_epsilon: At the budget's delta, > 0.
        rounds: All rounds of the run.

    Returns:
        Noise whose planned epsilon is at most the target, to 1e-6 in the noise multiplier.

    Raises:
        ValueError: No noise will do, with the reason, and the bits that would; or as `planned`.
    """
    if not target_epsilon > 0:
        raise ValueError(f"target_epsilon must be > 0, got {target_epsilon}.")
    _check_reachable(budget, target_epsilon, rounds)
    with_noise = functools.partial(_with_noise, budget)
    epsilon = lambda z: with_noise(z).planned(rounds)
    low = high = 1.0
    while epsilon(low) <= target_epsilon:
        high, low = low, low / 2
        if low < _LEAST_NOISE:
            raise ValueError(
                f"epsilon {target_epsilon:g} takes a noise_multiplier below {_LEAST_NOISE:g}, "
                "which protects nobody; ask for a smaller one."
            )
    while epsilon(high) > target_epsilon:
        low, high = high, high * 2
        if high > _MOST_NOISE:
            raise ValueError(f"no noise_multiplier up to {_MOST_NOISE:g} gives {target_epsilon:g}.")
    rule = lambda z: rules.of_rounds(
        with_noise(z).mechanism,
        budget.participation,
        [with_noise(z)._expected_arrivals] * rounds,
    )
    relation = rule(high).relation
    noise = dp_accounting.calibrate_dp_mechanism(
        lambda: budget.accountant(relation),
        lambda z: rule(z).event,
        target_epsilon,
        budget.delta,
        dp_accounting.ExplicitBracketInterval(low, high),
    )
    return with_noise(noise)


def _with_noise(budget: Budget, noise_multiplier: float) -> Budget:
    mechanism = dataclasses.replace(budget.mechanism, noise_multiplier=noise_multiplier)
    return dataclasses.replace(budget, mechanism=mechanism)


def _check_reachable(budget: Budget, target_epsilon: float, rounds: int) -> None:
    """Refuses a target that few bits can't give: more noise means coarser rounding, too."""
    if not isinstance(budget.mechanism, distributed.Distributed):
        return
    if (least := _least_epsilon(budget, rounds)) <= target_epsilon:
        return
    for bits in range(budget.mechanism.bits + 1, _MOST_BITS + 1):
        mechanism = dataclasses.replace(budget.mechanism, bits=bits)
        other = dataclasses.replace(budget, mechanism=mechanism)
        if _least_epsilon(other, rounds) <= target_epsilon:
            way_out = f"{bits} bits would do"
            break
    else:
        way_out = "take fewer rounds or clients a round"
    raise ValueError(
        f"no noise gives epsilon {target_epsilon:g} in {budget.mechanism.bits} bits: the more "
        f"noise, the coarser the rounding, and epsilon stays above {least:.4g}; {way_out}."
    )


def _least_epsilon(budget: Budget, rounds: int) -> float:
    """What epsilon tends to as noise takes the whole ring; infinite where there is no bound."""
    epsilon = _with_noise(budget, _MOST_NOISE).planned(rounds)
    return math.inf if math.isnan(epsilon) else epsilon
