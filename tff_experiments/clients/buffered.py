"""Who fills a server's buffer, as an event simulation: rounds in which nobody is waited for.

Nguyen et al. 2022, "Federated learning with buffered asynchronous aggregation"
(https://arxiv.org/abs/2106.06639), algorithm 1. `concurrency` clients train at any time. Round r
ends when n updates are in the buffer; the server's step makes version r of the model. A client that
leaves in round r starts from version r - 1 and reports, after its delay, in a round s: its
staleness is s - r. Another one leaves in its place at that moment.

Who reports at a moment does so before others leave: without delays and with `concurrency` = n all
are fresh, and rounds are those of `participation`. Reports of one moment keep the order of leaving.

A client that has come back waits for the server's next step before it is asked again: none is twice
in a buffer, which secure sums need, and none trains twice at a time. One that drops out before its
upload frees its place when it would have reported. An update staler than `max_staleness` is not
counted. Where nobody trains and nobody can be asked, the round closes with the updates it has; if
nobody came at all, after a minute.

How long a client takes and whether it drops out are those of the round in which it leaves.
"""

import heapq
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tff_experiments.clients import participation
from tff_experiments.secure_sum import stages


class Flight(NamedTuple):
    """A client in training; the first to report is the least."""

    reports_s: float
    order: int  # Of leaving, in the whole run.
    client: int  # Position in the data.
    left_round: int
    drops: str

    @property
    def uploads(self) -> bool:
        """Whether its update reaches the server."""
        return stages.first_missing(self.drops) > stages.UPLOAD


class Buffered(participation.Participation):
    """A run's buffered rounds; `num_clients` updates fill the buffer."""

    def __init__(self, *args, concurrency: int, max_staleness: int, **kwargs):
        """Takes what `Participation` does, the clients that train at any time, and the number of
        steps after which an update does not count; raises ValueError where the flags do not go
        together.
        """
        super().__init__(*args, **kwargs)
        if self._how not in ("uniform", "weighted"):
            raise ValueError(
                f"a buffered server asks clients one by one, which --client_sampling={self._how} "
                f"does not; use uniform or weighted."
            )
        if self._world.selection != participation.Hparams():
            raise ValueError(
                "a buffered server waits for nobody; leave --overselect and --round_deadline_s out."
            )
        if concurrency > len(self._ids):
            raise ValueError(
                f"a concurrency of {concurrency} needs as many clients, the data has "
                f"{len(self._ids)}."
            )
        self._concurrency, self._max_staleness = concurrency, max_staleness
        self._events = self._simulate()

    def round(self, round_num: int) -> participation.Round:
        """A round, from 1; the rounds before are worked out first."""
        while len(self._rounds) < round_num:
            self._rounds.append(next(self._events))
        return self._rounds[round_num - 1]

    def _simulate(self) -> Iterator[participation.Round]:
        now, training, order = 0.0, [], itertools.count()
        for round_num in itertools.count(1):
            start_s, available = now, len(self._there(now, round_num))
            back, buffer, draws = [], [], itertools.count()
            while len(buffer) < self._n:
                if not training or training[0].reports_s > now:
                    for client in self._ask(training, back, now, round_num, draws):
                        reports_s = now + self._takes_s(client, round_num)
                        drops = self._drops(client, round_num)
                        flight = Flight(reports_s, next(order), int(client), round_num, drops)
                        heapq.heappush(training, flight)
                if not training:
                    break
                flight = heapq.heappop(training)
                now = flight.reports_s
                back.append(flight)
                if flight.uploads and round_num - flight.left_round <= self._max_staleness:
                    buffer.append(flight)
            if not back and self._world.has_clock:
                now += participation.IDLE_S
            lost = sum(not flight.uploads for flight in back)
            yield participation.Round(
                np.array([flight.client for flight in buffer], np.int64),
                tuple(flight.drops for flight in buffer),
                stragglers=0,
                available=available,
                start_s=start_s,
                seconds=now - start_s,
                has_clock=self._world.has_clock,
                staleness=tuple(round_num - flight.left_round for flight in buffer),
                too_stale=len(back) - lost - len(buffer),
                lost=lost,
            )

    def _ask(self, training, back, now: float, round_num: int, draws) -> np.ndarray:
        """Draws who leaves for the places that are free."""
        there = self._there(now, round_num)
        busy = [flight.client for flight in (*training, *back)]
        idle = np.setdiff1d(there, np.array(busy, np.int64), assume_unique=True)
        num = min(self._concurrency - len(training), len(idle))
        return self._draw(idle, num, round_num, next(draws)) if num else idle[:0]
