"""What a run spends of privacy: planned before its first round, measured after each.

It joins the chosen aggregator's mechanism with how the run draws its clients, and hands both to the
privacy room. What was spent depends on the rounds' sums alone, whose numbers of clients stand in
`metrics.jsonl` (`privacy/arrived`): a resumed run needs nothing else.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from tff_experiments.privacy import accountants, budget, plan, rules

FILE = "privacy.json"


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of a run's accounting, beside those of its aggregator."""

    target_epsilon: float = 0.0
    """Finds the noise with which all rounds spend so much; 0 takes the aggregator's noise."""
    delta: float = 0.0
    """At which epsilon is meant; 0 is 1 / the number of clients."""
    accountant: Literal[tuple(accountants.BY_NAME)] = "rdp"
    """Renyi DP, the same at integer orders only, or privacy loss distributions."""
    neighbours: Literal["removed", "replaced"] = "removed"
    """--client_sampling=uniform: data without a client, or with another in its place."""

    def __post_init__(self):
        if not 0 <= self.target_epsilon < math.inf:
            raise ValueError(f"target_epsilon must be >= 0, got {self.target_epsilon}.")
        if not 0 <= self.delta < 1:
            raise ValueError(f"delta must be in [0, 1), got {self.delta}.")


def make_plan(hparams: Hparams, mechanism: Mapping[str, Any], **run: Any) -> plan.Hparams:
    """The question to the privacy room.

    Args:
        hparams: The knobs.
        mechanism: What the aggregator's `privacy` says.
        **run: num_clients, clients_per_round, client_sampling, rounds, dim.
    """
    shared = {name: getattr(hparams, name) for name in ("delta", "accountant", "neighbours")}
    return plan.Hparams(**mechanism, **shared, **run)


def make_budget(hparams: Hparams, planned: plan.Hparams) -> budget.Budget | None:
    """The run's budget, its noise as given or found; None where there is no noise.

    Raises:
        ValueError: No accountant covers it, or no noise meets the target; with the reason.
    """
    if hparams.target_epsilon:
        return plan.answer(planned, hparams.target_epsilon).budget
    if not planned.noise_multiplier:
        return None
    made = plan.build(planned)
    made.planned(planned.rounds)
    return made


class Meter:
    """Counts what the rounds of a run spend."""

    def __init__(self, made: budget.Budget, rounds: int):
        """Takes the budget and the number of all rounds."""
        self.budget, self._rounds = made, rounds
        self._arrived: list[int] = []

    @property
    def planned(self) -> float:
        """Epsilon of all rounds, if all goes as expected."""
        return self.budget.planned(self._rounds)

    def claim(self, folder: pathlib.Path) -> None:
        """Writes what the noise is, or checks it; raises ValueError where a run began with other
        noise, since then nobody's rule covers the whole.
        """
        now = {name: repr(getattr(self.budget, name)) for name in ("mechanism", "participation")}
        path = folder / FILE
        if not path.exists():
            path.write_text(json.dumps(now | {"delta": self.budget.delta}, indent=1) + "\n")
        elif any(json.loads(path.read_text())[name] != text for name, text in now.items()):
            raise ValueError(
                f"{folder} began with other noise than these flags ask for ({path.name} says "
                f"which): with --target_epsilon or --dp_ftrl_noise=banded the number of rounds is "
                f"part of it. Take another --output_dir."
            )

    def restore(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Takes the rounds that were recorded before."""
        self._arrived = [int(row["privacy/arrived"]) for row in rows]

    def spend(self, arrived: int | None) -> dict[str, float]:
        """Counts a round.

        Args:
            arrived: Clients whose noise is in the released sum, None where none was released.

        Returns:
            {metric: value}: epsilon so far, delta, and what `restore` takes.
        """
        self._arrived.append(rules.ABORTED if arrived is None else arrived)
        return {
            "privacy/epsilon": self.budget.spent(self._arrived),
            "privacy/delta": self.budget.delta,
            "privacy/arrived": self._arrived[-1],
        }
