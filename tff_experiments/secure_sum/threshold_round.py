"""Clients, parties and server of one session in one process, which exchange nothing but bytes.

Parties are clients. One that drops out before it shared its key part has none in the joint key; one
that drops later has, and it is recovered if t parties are left. Parties open one after another, so
that the server holds the partial decryptions of one beside their sum.

    stages             before_advertising, before_key_sharing     no party; not in the sum
                       before_upload                              not in the sum; recovered
                       before_consistency                         in the sum; recovered
                       before_unmasking                           opened; gives no share of others'

Simulated are: the network (an in-memory transport that counts), the machines, who drops out when
(given), and who draws the committee: here nobody's preference, elsewhere a public lottery. Channels
are taken to be authentic, as TLS makes them. The cryptography is not simulated.
"""

from collections.abc import Callable, Mapping

import numpy as np

from tff_experiments.secure_sum import (
    he_simulation,
    keys,
    threshold_parties,
    threshold_server,
    transport,
)
from tff_experiments.secure_sum.stages import ADVERTISE, SHARE, UPLOAD
from tff_experiments.secure_sum.threshold_parties import OPEN, RECOVER
from tff_experiments.secure_sum.transport import SERVER


class Round(he_simulation.Uploads):
    """One sum that parties open together. Inputs may be added from several threads."""

    def __init__(
        self,
        config: threshold_parties.Config,
        drops: Mapping[str, str],
        *,
        randoms: Callable[[int], keys.RandomBytes],
        tamper: transport.Tamper | None = None,
    ):
        """Makes and shares the keys.

        Args:
            config: The session's.
            drops: Client -> the stage at which it drops, "" if it stays.
            randoms: A party's number -> where its own secrets come from; OpenFHE has its own.
            tamper: See `transport.Transport`.

        Raises:
            AbortedError: Too few parties are left.
        """
        super().__init__(
            config.sums,
            drops,
            server=threshold_server.Server(config),
            make_client=lambda: threshold_parties.Client(config.sums),
            tamper=tamper,
        )
        self.parties = {i: threshold_parties.Party(i, config, randoms(i)) for i in config.parties}
        server = self.server
        self._step(ADVERTISE, server.lead, threshold_parties.Party.advertise, server.take_key)
        self._step(SHARE, server.directory, threshold_parties.Party.share, server.take_shares)
        with self._with_metrics():
            self._joint_key = self._work(SERVER, server.joint_key)

    def add(self, name: str, vector: np.ndarray) -> None:
        """Has a client encrypt and upload its vector, int64 [length], unless it has dropped.

        Raises:
            ValueError: The vector does not fit.
        """
        number = self._numbers[name]
        if self._is_there(number, UPLOAD):
            for arrived in self.transport.send(UPLOAD, SERVER, number, self._joint_key):
                take = lambda arrived=arrived: self._clients[number].take_key(arrived)
                self._try(number, number, take)
        super().add(name, vector)

    def finish(self) -> np.ndarray:
        """Opens the sum of the vectors that were uploaded, int64 [length].

        Raises:
            AbortedError: Too few clients or parties are left.
            ProtocolError: What came from the parties does not open it.
        """
        server = self.server
        self._check_enough("uploaded", len(server.survivors))
        # All parties get the same.
        halves = self._work(SERVER, lambda: list(server.halves()))
        for number in server.parties:
            for half in halves:
                self._ask(OPEN, number, half, threshold_parties.Party.open, server.take_partials)
        with self._with_metrics():
            server.check_opened()
            if server.missing:
                for number in server.opened:
                    self._ask(
                        RECOVER, number, self._work(SERVER, lambda n=number: server.question(n)),
                        threshold_parties.Party.recover, server.take_given,
                    )  # fmt: skip
                self._work(SERVER, server.recover)
        return self._work(SERVER, server.total)

    def metrics(self) -> dict[str, float]:
        """As of all sessions, the parties, and those whose key part was recovered."""
        opened = self.server.opened
        return super().metrics() | {
            "secure_sum/parties": len(self.server.parties),
            "secure_sum/recovered": len(self.server.missing) if opened else 0,
        }

    def _step(self, step: int, question, act, take) -> None:
        for number in self.parties:
            self._ask(step, number, self._work(SERVER, question), act, take)

    def _ask(self, step: int, number: int, question: bytes, act, take) -> None:
        """One party's step: a question to it, its answer, and what the server makes of that."""
        if not self._is_there(number, step):
            return
        party = self.parties[number]
        for message in self.transport.send(step, SERVER, number, question):
            answer = self._try(number, number, lambda m=message: act(party, m))
            if answer is None:
                return
            for arrived in self.transport.send(step, number, SERVER, answer):
                self._try(number, SERVER, lambda m=arrived: take(number, m))
