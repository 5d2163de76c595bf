"""What a run spends of privacy: planned before its first round, measured after each.

It joins the chosen aggregator's mechanism with how the run draws its clients, and hands both to the
privacy room.
"""

import dataclasses
import json
import math
import os
import pathlib
import secrets
from collections.abc import Mapping
from typing import Any, Literal

from tff_experiments import whole_files
from tff_experiments.privacy import accountants, budget, mechanisms, plan, rules

NOISE, LEDGER = "privacy.json", "privacy.jsonl"
_MODE = 0o600


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of a run's accounting, beside those of its aggregator."""

    target_epsilon: float = 0.0
    """Finds the noise with which all rounds spend so much; 0 takes the aggregator's noise."""
    delta: float = 0.0
    """At which epsilon is meant; 0 is 1 / the number of clients."""
    accountant: Literal[tuple(accountants.BY_NAME)] = "rdp"
    """Renyi DP, the same at integer orders only, or privacy loss distributions."""
    neighbours: Literal["removed", "replaced", "published"] = "removed"
    """uniform: data without a client, or with another in its place; poisson, distributed noise:
    counted as in its papers, which is less than it is.
    """

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
    if not math.isfinite(made.planned(planned.rounds)):
        raise ValueError(
            "no bound is known for this noise; take a larger noise_multiplier, or more bits."
        )
    return made


class Meter:
    """Counts what the rounds of a run spend, in two files of its folder.

    privacy.json    the noise, which a resumed run must share; and the secret that cohorts are drawn
                    from: who knows the cohorts of a run, as from its seed, knows who was in none,
                    and no sampling amplifies anything for him
    privacy.jsonl   a line a round, on disk before anybody sees the round
    """

    def __init__(self, made: budget.Budget, rounds: int, *, repeatable: bool = False):
        """Takes the budget, the number of all rounds, and whether cohorts are a function of the
        run's seed: for runs whose noise is, too.
        """
        self.budget, self._rounds, self._repeatable = made, rounds, repeatable
        self._arrived: list[int] = []
        self._folder: pathlib.Path | None = None
        self.cohort_seed: int | None = None

    @property
    def planned(self) -> float:
        """Epsilon of all rounds, if all goes as expected."""
        return self.budget.planned(self._rounds)

    def _noise(self) -> dict[str, Any]:
        noise = {name: repr(getattr(self.budget, name)) for name in ("mechanism", "participation")}
        if isinstance(self.budget.mechanism, mechanisms.BandedFactorization):
            noise["rounds"] = self._rounds  # Its matrix depends on them.
        return noise

    def check(self, folder: pathlib.Path) -> None:
        """Raises ValueError where a run began with other noise: no rule covers the whole then."""
        path = folder / NOISE
        if not path.exists():
            return
        began = json.loads(path.read_text())
        if any(began.get(name) != value for name, value in self._noise().items()):
            raise ValueError(
                f"{folder} began with other noise than these flags ask for ({NOISE} says which): "
                f"with --target_epsilon or --dp_ftrl_noise=banded the number of rounds is part of "
                f"it. Take another --output_dir."
            )

    def claim(self, folder: pathlib.Path, done: int, recorded: int) -> None:
        """Makes a folder the run's, or goes on there.

        Args:
            folder: The run's.
            done: The round of the checkpoint that the run goes on from.
            recorded: The last round that metrics are there of.

        Raises:
            ValueError: The run began with other noise; or a round after the checkpoint was seen,
                and would be released a second time, with other noise.
        """
        self.check(folder)
        if recorded > done:
            raise ValueError(
                f"{folder}: the newest checkpoint is of round {done}, and round {recorded} was "
                f"seen; to go on would release a round twice, which is not accounted for. Bring "
                f"the checkpoint back, or take another --output_dir."
            )
        path = folder / NOISE
        if not path.exists():
            secret = None if self._repeatable else secrets.token_hex(16)
            about = self._noise() | {"delta": self.budget.delta, "cohort_secret": secret}
            whole_files.write(path, json.dumps(about, indent=1) + "\n", mode=_MODE)
        secret = json.loads(path.read_text())["cohort_secret"]
        self.cohort_seed = None if secret is None else int(secret, 16)
        self._folder = folder
        entries = [json.loads(line) for line in _whole_lines(folder / LEDGER)]
        # What was drawn in a round that nobody saw is drawn anew.
        latest = {entry["round"]: entry["arrived"] for entry in entries if entry["round"] <= done}
        missing = set(range(1, done + 1)) - set(latest)
        if missing:
            raise ValueError(
                f"{folder / LEDGER} lacks round {min(missing)}; what was spent is not known."
            )
        self._arrived = [latest[number] for number in range(1, done + 1)]

    def spend(self, arrived: int | None) -> dict[str, float]:
        """Counts a round, and has it on disk.

        Args:
            arrived: Clients whose noise is in the released sum, None where none was released.

        Returns:
            {metric: value}: epsilon so far, delta, and who arrived.
        """
        self._arrived.append(rules.ABORTED if arrived is None else int(arrived))
        entry = {"round": len(self._arrived), "arrived": self._arrived[-1]}
        _append(self._folder / LEDGER, json.dumps(entry) + "\n")
        return {
            "privacy/epsilon": self.budget.spent(self._arrived),
            "privacy/delta": self.budget.delta,
            "privacy/arrived": self._arrived[-1],
        }


def _whole_lines(path: pathlib.Path) -> list[str]:
    """A file's lines; one that was cut by a kill or a full disk, the last, is taken away: its round
    was not released.
    """
    text = path.read_text() if path.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        whole_files.write(path, whole, mode=_MODE)
    return whole.splitlines()


def _append(path: pathlib.Path, text: str) -> None:
    with open(path, "a", opener=lambda name, flags: os.open(name, flags, _MODE)) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
