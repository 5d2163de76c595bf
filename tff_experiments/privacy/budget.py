"""The budget of a run: epsilon(delta) as planned, as spent, and the noise for a target.

What was spent is a function of the rounds so far (`rules.of_rounds`), so that a run's state needs
no more than their list, and any accountant can be asked later.
"""

import dataclasses
from collections.abc import Callable, Sequence

import dp_accounting

from tff_experiments.privacy import accountants, distributed, mechanisms, participation, rules

LEAST_NOISE, MOST_NOISE = 2.0**-10, 2.0**20  # Where calibration looks.
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
        return self._epsilon(self._plan(rounds))

    def spent(self, arrived: Sequence[int]) -> float:
        """Epsilon after the rounds that were.

        Args:
            arrived: For each round the clients whose noise is in the sum that was released, or
                `rules.ABORTED` where none was.

        Raises:
            ValueError: As `planned`.
        """
        return self._epsilon(rules.of_rounds(self.mechanism, self.participation, arrived))

    def _epsilon(self, rule: rules.Rule) -> float:
        try:
            accountant = self.accountant(rule.relation).compose(rule.event)
        except dp_accounting.UnsupportedEventError as error:
            what = f"{type(self.mechanism).__name__} under {type(self.participation).__name__}"
            raise ValueError(
                f"this accountant has no rule for {what}; take --accountant=rdp."
            ) from error
        return accountant.get_epsilon(self.delta)

    def _plan(self, rounds: int) -> rules.Rule:
        arrivals = getattr(self.mechanism, "expected_arrivals", 0)
        return rules.of_rounds(self.mechanism, self.participation, [arrivals] * rounds)

    @property
    def relation(self) -> str:
        """Which neighbours epsilon is for, in words."""
        relation = rules.of_rounds(self.mechanism, self.participation, []).relation
        poisson = isinstance(self.participation, participation.Poisson)
        if poisson and isinstance(self.mechanism, distributed.Distributed):
            # A client that was not there would take its noise along, and the sum would show it.
            relation = rules.Relation.REPLACE_SPECIAL
        central = not isinstance(self.mechanism, distributed.Distributed)
        if relation is rules.Relation.REPLACE_SPECIAL and central:
            # Zeros would still be counted, by an adaptive clip.
            return "a client is left out of its rounds"
        hidden = poisson and not central and self.participation.cohort_is_hidden
        assumed = ", and nobody sees how many came (as published)" if hidden else ""
        return _RELATIONS[relation] + assumed


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
    search = budget
    if isinstance(budget.mechanism, mechanisms.AdaptiveClipping):
        # It costs what the Gaussian does, and does not exist for all noise on the way.
        search = dataclasses.replace(budget, mechanism=mechanisms.Gaussian(1.0))
    plan = lambda noise: _with_noise(search, noise)._plan(rounds)
    low, high = _bracket(lambda z: budget._epsilon(plan(z)) - target_epsilon)
    noise = dp_accounting.calibrate_dp_mechanism(
        lambda: budget.accountant(plan(high).relation),
        lambda z: plan(z).event,
        target_epsilon,
        budget.delta,
        dp_accounting.ExplicitBracketInterval(low, high),
    )
    return _with_noise(budget, noise)


def _bracket(excess: Callable[[float], float]) -> tuple[float, float]:
    """Two noise multipliers, one too small and one that is enough, a factor 2 apart."""
    low = high = 1.0
    while excess(low) <= 0:
        high, low = low, low / 2
        if low < LEAST_NOISE:
            raise ValueError(
                f"this epsilon takes a noise_multiplier below {LEAST_NOISE:g}, which protects "
                "nobody; ask for a smaller one."
            )
    while excess(high) > 0:
        low, high = high, high * 2
        if high > MOST_NOISE:
            raise ValueError(f"no noise_multiplier up to {MOST_NOISE:g} gives this epsilon.")
    return low, high


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
    """What epsilon tends to as noise takes the whole ring."""
    return _with_noise(budget, MOST_NOISE).planned(rounds)
