"""Clients and server of one session in one process, which exchange nothing but messages.

Simulated are: the network (an in-memory transport that counts), the clients' machines, who drops
out when (given), and for the active variant the directory of verification keys, which clients would
have from somebody other than the server. The cryptography is not.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tff_experiments.secure_sum import client, keys, server, stages, statements, transport, vectors
from tff_experiments.secure_sum.stages import ADVERTISE, CONSISTENCY, SHARE, UNMASK, UPLOAD


class Round:
    """One secure sum. Inputs may be added from several threads, in any order."""

    def __init__(
        self,
        config: statements.Config,
        segments: Sequence[vectors.Segment],
        drops: Mapping[str, str],
        *,
        randoms: Callable[[int], keys.RandomBytes],
        permutation: Sequence[int] = (),
        tamper: transport.Tamper | None = None,
        make_client: Callable[..., client.Client] = client.Client,
    ):
        """Lets the clients advertise and share their keys.

        Args:
            config: The session's.
            segments: Of vectors.
            drops: Client -> the stage at which it drops, "" if it stays.
            randoms: A client's number -> where its secrets come from.
            permutation: See `server.Server`.
            tamper: See `transport.Transport`.
            make_client: Called as the class is; a measurement may put others in.

        Raises:
            AbortedError: Too few clients are left.
        """
        self._layout = vectors.Layout(segments)
        self._numbers = {name: i for i, name in enumerate(drops, 1)}
        self._steps = [stages.first_missing(stage) for stage in drops.values()]
        # One source a client: a repeatable one starts again with the same bytes.
        sources = {i: randoms(i) for i in self._numbers.values()}
        signing = {}
        if config.active:
            signing = {i: keys.signing_key(source) for i, source in sources.items()}
        directory = {i: key.public_key() for i, key in signing.items()}
        self._clients = {
            i: make_client(
                i, config, self._layout, random_bytes=sources[i],
                signing_key=signing.get(i), directory=directory,
            )
            for i in self._numbers.values()
        }  # fmt: skip
        self._active = config.active
        self.server = server.Server(config, self._layout, permutation)
        self.transport = transport.Transport(tamper)
        self._lock = threading.Lock()
        self._server_seconds = 0.0
        self._client_seconds = dict.fromkeys(self._numbers.values(), 0.0)
        self._refusals: dict[int, str] = {}
        self._step(ADVERTISE, lambda party, _: party.advertise_keys())
        self._step(SHARE, lambda party, message: party.share_keys(message))

    def add(self, name: str, vector: np.ndarray) -> None:
        """Has a client upload its vector, int64 [length], unless it has dropped.

        Raises:
            ValueError: The vector does not fit.
        """
        self._layout.check(vector)
        number = self._numbers[name]
        if self._is_there(number, UPLOAD):
            self._ask(UPLOAD, number, lambda party, message: party.masked_input(message, vector))

    def finish(self) -> np.ndarray:
        """Opens the sum of the vectors that were uploaded, int64 [length].

        Raises:
            AbortedError: Too few clients are left.
            ProtocolError: The shares that came do not open it.
        """
        self._close(UPLOAD)
        if self._active:
            self._step(CONSISTENCY, lambda party, message: party.sign_survivors(message))
        self._step(UNMASK, lambda party, message: party.unmask(message))
        return self._counted(self.server.sum)

    def metrics(self) -> dict[str, float]:
        """Clients in the sum; bytes and CPU seconds a client (means) and at the server."""
        count = max(len(self._numbers), 1)
        sent, received = self.transport.upload_bytes, self.transport.download_bytes
        return {
            "secure_sum/clients": len(self._numbers),
            "secure_sum/survivors": len(self.server.survivors),
            "secure_sum/refusals": len(self._refusals),
            "secure_sum/upload_bytes_per_client": sum(sent.values()) / count,
            "secure_sum/download_bytes_per_client": sum(received.values()) / count,
            "secure_sum/seconds_per_client": sum(self._client_seconds.values()) / count,
            "secure_sum/server_seconds": self._server_seconds,
        }

    @property
    def refusals(self) -> dict[int, str]:
        """Clients that refused a message, and why."""
        return self._refusals

    @property
    def client_seconds(self) -> dict[int, float]:
        """CPU seconds of each client."""
        return self._client_seconds

    def _is_there(self, number: int, step: int) -> bool:
        return step < self._steps[number - 1] and number not in self._refusals

    def _step(self, step: int, act) -> None:
        for number in self._numbers.values():
            if self._is_there(number, step):
                self._ask(step, number, act)
        self._close(step)

    def _close(self, step: int) -> None:
        self._counted(lambda: self.server.close(step))

    def _counted(self, work):
        try:
            return self._serve(work)
        except stages.AbortedError as error:
            error.metrics = self.metrics()
            raise

    def _ask(self, step: int, number: int, act) -> None:
        """One client's step: a message to it, its answer, and what the server makes of that."""
        incoming: Sequence[bytes] = (b"",)
        if step != ADVERTISE:
            if not self._serve(lambda: self.server.knows(number)):
                return
            message = self._serve(lambda: self.server.message(number))
            incoming = self.transport.send(step, transport.SERVER, number, message)
        for message in incoming:
            start = time.thread_time()
            try:
                answer = act(self._clients[number], message)
            except (stages.ProtocolError, stages.AbortedError) as error:
                self._refusals[number] = str(error)
                return
            finally:
                self._client_seconds[number] += time.thread_time() - start
            for arrived in self.transport.send(step, number, transport.SERVER, answer):
                self._deliver(step, number, arrived)

    def _deliver(self, step: int, number: int, message: bytes) -> None:
        try:
            self._serve(lambda: self.server.receive(step, number, message))
        except stages.ProtocolError as error:
            self._refusals[number] = f"refused by the server: {error}"

    def _serve(self, work):
        with self._lock:
            start = time.thread_time()
            try:
                return work()
            finally:
                self._server_seconds += time.thread_time() - start
