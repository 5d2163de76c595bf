"""Clients, server and key holder of one session in one process, which exchange nothing but bytes.

A client that drops before it uploads is not in the sum; whatever becomes of it later does not
matter, as the key holder needs no client. Clients upload one after another, so that neither a
client nor the server holds more than one client's ciphertexts beside the sum; the libraries would
not encrypt in parallel anyway, as they hold Python's lock.

Simulated are: the network (an in-memory transport that counts), the machines, who drops out when
(given), and how clients come to know the key holder's verification key. Channels are taken to be
authentic, as TLS makes them: the sum of ciphertexts that somebody altered and that are still
ciphertexts is wrong, seen only where no clients have such a sum. The cryptography is not simulated.
"""

import threading
from collections.abc import Callable, Mapping

import numpy as np

from tff_experiments.secure_sum import he_key_holder, he_parties, keys, session, stages, transport
from tff_experiments.secure_sum.stages import ADVERTISE, UNMASK, UPLOAD

KEY_HOLDER = -1
"""Its number among server and clients."""


class Uploads(session.Session):
    """A session whose clients upload ciphertexts, from several threads, in any order."""

    def __init__(
        self,
        config: he_parties.Config,
        drops: Mapping[str, str],
        *,
        server: he_parties.Server,
        make_client: Callable[[], he_parties.Client],
        tamper: transport.Tamper | None,
    ):
        """Takes the server, and makes the clients; the keys are still to come."""
        super().__init__(drops, tamper=tamper)
        self._config, self.server = config, server
        self._clients = {i: make_client() for i in self._numbers.values()}
        self._uploading = threading.Lock()

    def add(self, name: str, vector: np.ndarray) -> None:
        """Has a client encrypt and upload its vector, int64 [length], unless it has dropped.

        Raises:
            ValueError: The vector does not fit.
        """
        self._config.layout.check(vector)
        number = self._numbers[name]
        if not self._is_there(number, UPLOAD):
            return
        with self._uploading:
            parts = self._clients[number].upload(vector)
            # A client that was refused sends no more.
            while self._is_there(number, UPLOAD):
                part = self._try(number, number, lambda: next(parts, None))
                if part is None:
                    return
                for arrived in self.transport.send(UPLOAD, number, transport.SERVER, part):
                    receive = lambda arrived=arrived: self.server.receive(number, arrived)
                    self._try(number, transport.SERVER, receive)

    def _check_enough(self, step: str, have: int) -> None:
        with self._with_metrics():
            stages.check_enough(step, have, self._config.threshold)


class Round(Uploads):
    """One sum under homomorphic encryption. Inputs may be added from several threads."""

    def __init__(
        self,
        config: he_parties.Config,
        drops: Mapping[str, str],
        *,
        random_bytes: keys.RandomBytes = keys.system_random,
        tamper: transport.Tamper | None = None,
    ):
        """Makes the keys and hands the public one out.

        Args:
            config: The session's.
            drops: Client -> the stage at which it drops, "" if it stays.
            random_bytes: Where the key holder's signing key comes from.
            tamper: See `transport.Transport`.

        Raises:
            AbortedError: Too few clients are left.
        """
        signing_key = keys.signing_key(random_bytes)
        verification_key = signing_key.public_key()
        super().__init__(
            config,
            drops,
            server=he_parties.Server(config, verification_key),
            make_client=lambda: he_parties.Client(config, verification_key),
            tamper=tamper,
        )
        self.seconds[KEY_HOLDER] = 0.0
        self.key_holder = self._work(
            KEY_HOLDER, lambda: he_key_holder.KeyHolder(config, signing_key)
        )
        self._advertise()

    def finish(self) -> np.ndarray:
        """Opens the sum of the vectors that were uploaded, int64 [length].

        Raises:
            AbortedError: Too few clients are left.
            ProtocolError: What came from the server or from the key holder is not as it must be.
        """
        self._check_enough("uploaded", len(self.server.survivors))
        questions, answer = self.server.questions(), b""
        while (question := self._work(transport.SERVER, lambda: next(questions, None))) is not None:
            for arrived in self.transport.send(UNMASK, transport.SERVER, KEY_HOLDER, question):
                answer = self._work(
                    KEY_HOLDER, lambda arrived=arrived: self.key_holder.decrypt(arrived)
                )
        for arrived in self.transport.send(UNMASK, KEY_HOLDER, transport.SERVER, answer):
            return self._work(
                transport.SERVER, lambda arrived=arrived: self.server.read_sum(arrived)
            )
        raise stages.ProtocolError("the key holder's answer did not arrive.")

    def metrics(self) -> dict[str, float]:
        """As of all sessions, and the key holder's CPU seconds."""
        return super().metrics() | {"secure_sum/key_holder_seconds": self.seconds[KEY_HOLDER]}

    def _advertise(self) -> None:
        """The key holder's public key goes to the server, which hands it to the clients."""
        key = self._work(KEY_HOLDER, self.key_holder.public_key)
        for arrived in self.transport.send(ADVERTISE, KEY_HOLDER, transport.SERVER, key):
            self._work(transport.SERVER, lambda arrived=arrived: self.server.take_key(arrived))
            for number in self._numbers.values():
                if self._is_there(number, ADVERTISE):
                    self._hand_out(number, arrived)
        there = [i for i in self._numbers.values() if self._is_there(i, ADVERTISE)]
        self._check_enough("took the key", len(there))

    def _hand_out(self, number: int, key: bytes) -> None:
        for arrived in self.transport.send(ADVERTISE, transport.SERVER, number, key):
            take = lambda arrived=arrived: self._clients[number].take_key(arrived)
            self._try(number, number, take)
