"""Who takes part in a round, and how long it takes in simulated time.

    available   who can be asked at the round's start (`availability`)
    selected    ceil((1 + overselect) n) of them, as `sampling` draws
    reported    of those, the n that are first to report (`delays`), before the round's deadline
    late        the others: stragglers, whose work does not count

as Bonawitz et al. 2019, "Towards federated learning at scale" (https://arxiv.org/abs/1902.01046),
section 2.2. A client that drops out before it uploads (`dropouts`) never reports, and the server
does not know: it waits for the n-th report or for the deadline; without a deadline it waits for the
last that comes. A straggler is simulated as a client that drops before it uploads.

A round in which nobody can be asked takes the deadline, or a minute where there is none. The time
of a round is a function of the flags, the seed and the rounds before, which a resumed run replays.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tff_experiments import sampling
from tff_experiments.clients import availability, delays, dropouts
from tff_experiments.secure_sum import stages

IDLE_S = 60.0
LATE = stages.STAGES[stages.UPLOAD]


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of a round's selection."""

    overselect: float = 0.0
    """Share of clients selected beyond those that a round needs."""
    round_deadline_s: float = 0.0
    """Simulated seconds after which a round closes with those who reported; 0 is never."""

    def __post_init__(self):
        if not 0 <= self.overselect < math.inf:
            raise ValueError(f"overselect must be >= 0, got {self.overselect}.")
        if not 0 <= self.round_deadline_s < math.inf:
            raise ValueError(f"round_deadline_s must be >= 0, got {self.round_deadline_s}.")

    def selected(self, num_clients: int) -> int:
        """How many clients are asked where `num_clients` are needed."""
        return math.ceil(round((1 + self.overselect) * num_clients, 9))


@dataclasses.dataclass(frozen=True)
class World:
    """How clients behave beside their training."""

    selection: Hparams = dataclasses.field(default_factory=Hparams)
    delay: delays.Hparams = dataclasses.field(default_factory=delays.Hparams)
    available: availability.Hparams = dataclasses.field(default_factory=availability.Hparams)
    dropping: dropouts.Hparams = dataclasses.field(default_factory=dropouts.Hparams)

    @property
    def has_clock(self) -> bool:
        """Whether simulated time means anything."""
        return self.delay.model != "none" or self.available.model != "always"


class Round(NamedTuple):
    """One round's clients, as positions in the data, and its time."""

    clients: np.ndarray  # int64 [selected], in the order in which they were drawn.
    drops: tuple[str, ...]  # The stage at which each drops out, "" if it stays.
    stragglers: int
    available: int
    start_s: float  # Simulated seconds since the run's start.
    seconds: float
    has_clock: bool  # Whether time means anything.
    # Of buffered rounds (`buffered`): how many steps behind each client's model is, how many
    # updates were too stale to count, and how many clients dropped out before they uploaded.
    staleness: tuple[int, ...] | None = None
    too_stale: int = 0
    lost: int = 0

    def metrics(self) -> dict[str, float]:
        """Who dropped out or was late, and the simulated time where there is one."""
        dropped = sum(map(bool, self.drops)) - self.stragglers + self.lost
        counted: dict[str, float] = {"train/dropouts": dropped}
        if self.staleness is not None:
            counted["train/staleness_mean"] = float(np.mean(self.staleness or [0]))
            counted["train/staleness_max"] = max(self.staleness, default=0)
            counted["train/too_stale"] = self.too_stale
        elif self.has_clock:
            counted["train/stragglers"] = self.stragglers
        if self.has_clock:
            counted["train/available"] = self.available
            counted["time/round_s"] = self.seconds
            counted["time/total_s"] = self.start_s + self.seconds
        return counted


class Participation:
    """A run's rounds. What is remembered are rounds that were worked out, no progress."""

    def __init__(
        self,
        world: World,
        client_ids: Sequence[str],
        counts: np.ndarray,
        *,
        num_clients: int,
        how: str,
        examples: np.ndarray,
        seed: int,
    ):
        """Takes the clients.

        Args:
            world: How they behave.
            client_ids: Their names.
            counts: Their examples, int [clients].
            num_clients: How many a round needs.
            how: A key of `sampling.BY_NAME`.
            examples: That each goes through in a round, all epochs, int [clients].
            seed: The run's seed.

        Raises:
            ValueError: The flags do not go together, or a trace is not of these clients.
        """
        if how in ("poisson", "round_robin"):
            if world.selection.overselect:
                raise ValueError(
                    f"--overselect needs a cohort of so many clients drawn at random; "
                    f"--client_sampling={how} is none: use uniform or weighted."
                )
            if how == "round_robin" and world.available.model != "always":
                raise ValueError(
                    "--client_sampling=round_robin promises a separation that clients who are "
                    "away can't keep; use --availability_model=always, or uniform."
                )
        if world.selection.overselect and world.delay.model == "none":
            raise ValueError("--overselect: nobody is late without a --delay_model; choose one.")
        if world.selection.round_deadline_s and not world.has_clock:
            raise ValueError(
                "--round_deadline_s: no time passes without a --delay_model; choose one."
            )
        delays.check(world.delay, client_ids)
        availability.check(world.available, client_ids)
        self._world, self._ids, self._counts = world, client_ids, np.asarray(counts)
        self._n, self._how, self._examples, self._seed = num_clients, how, examples, seed
        self._rounds: list[Round] = []

    def round(self, round_num: int) -> Round:
        """A round, from 1; the rounds before are worked out first where time depends on them."""
        if not self._world.has_clock:
            return self._work_out(round_num, 0.0)
        while len(self._rounds) < round_num:
            last = self._rounds[-1] if self._rounds else None
            start_s = last.start_s + last.seconds if last else 0.0
            self._rounds.append(self._work_out(len(self._rounds) + 1, start_s))
        return self._rounds[round_num - 1]

    def _work_out(self, round_num: int, start_s: float) -> Round:
        world, there = self._world, self._there(start_s, round_num)
        wanted = world.selection.selected(self._n)
        drawn = np.zeros(0, np.int64)
        if len(there):
            # Who is few is asked whole.
            num = min(wanted, len(there)) if world.has_clock or wanted > self._n else wanted
            drawn = self._draw(there, num, round_num)
        drops = [self._drops(client, round_num) for client in drawn]
        times = np.array([self._takes_s(client, round_num) for client in drawn])
        late, seconds = self._close(drops, times)
        if not len(drawn):
            seconds = world.selection.round_deadline_s or IDLE_S * world.has_clock
        final = [LATE if is_late else stage for stage, is_late in zip(drops, late, strict=True)]
        return Round(
            drawn, tuple(final), int(sum(late)), len(there), start_s, seconds, world.has_clock
        )

    def _there(self, time_s: float, round_num: int) -> np.ndarray:
        """Who can be asked, positions in the data."""
        at = {"seed": self._seed, "round_num": round_num}
        return availability.available(self._world.available, self._ids, time_s=time_s, **at)

    def _draw(self, among: np.ndarray, num: int, round_num: int, draw: int = 0) -> np.ndarray:
        """Draws `num` of some clients."""
        at = {"seed": self._seed, "round_num": round_num, "draw": draw}
        return among[sampling.sample(self._counts[among], num, how=self._how, **at)]

    def _drops(self, client: int, round_num: int) -> str:
        at = {"seed": self._seed, "round_num": round_num}
        return dropouts.draw(self._world.dropping, str(self._ids[client]), **at)

    def _takes_s(self, client: int, round_num: int) -> float:
        at = {"examples": int(self._examples[client]), "seed": self._seed, "round_num": round_num}
        return delays.seconds(self._world.delay, str(self._ids[client]), **at)

    def _close(self, drops: Sequence[str], times: np.ndarray) -> tuple[list[bool], float]:
        """Who of the selected is late, and after how many seconds the round closes."""
        reports = [stages.first_missing(stage) > stages.UPLOAD for stage in drops]
        deadline = self._world.selection.round_deadline_s or math.inf
        first = sorted(np.flatnonzero(reports), key=lambda i: (times[i], i))
        # Poisson cohorts have no number that would be enough: all that were asked are waited for.
        enough = len(drops) if self._how == "poisson" else self._n
        counted = {int(i) for i in first[:enough] if times[i] <= deadline}
        closes = max((float(times[i]) for i in counted), default=0.0)
        if len(counted) < min(enough, len(drops)) and deadline < math.inf:
            closes = deadline
        return [r and i not in counted for i, r in enumerate(reports)], closes
