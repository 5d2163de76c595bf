"""Who is in a session, until when, and what it costs them: what all simulated rounds keep."""

import contextlib
import time
from collections.abc import Mapping

from tff_experiments.secure_sum import stages, transport


class Session:
    """The clients of one session, numbered from 1, and what is counted of them."""

    def __init__(self, drops: Mapping[str, str], *, tamper: transport.Tamper | None = None):
        """Numbers the clients.

        Args:
            drops: Client -> the stage at which it drops, "" if it stays.
            tamper: See `transport.Transport`.
        """
        self._numbers = {name: i for i, name in enumerate(drops, 1)}
        self._steps = [stages.first_missing(stage) for stage in drops.values()]
        self.transport = transport.Transport(tamper)
        # Clients that refused a message, or whose message was refused, and why.
        self.refusals: dict[int, str] = {}
        # CPU seconds of each party.
        self.seconds = dict.fromkeys([transport.SERVER, *self._numbers.values()], 0.0)

    def metrics(self) -> dict[str, float]:
        """Clients in the sum; bytes and CPU seconds a client (means) and at the server."""
        numbers = self._numbers.values()
        mean = lambda values: sum(values.get(i, 0) for i in numbers) / max(len(numbers), 1)
        return {
            "secure_sum/clients": len(numbers),
            "secure_sum/survivors": len(self.server.survivors),
            "secure_sum/refusals": len(self.refusals),
            "secure_sum/upload_bytes_per_client": mean(self.transport.upload_bytes),
            "secure_sum/download_bytes_per_client": mean(self.transport.download_bytes),
            "secure_sum/seconds_per_client": mean(self.seconds),
            "secure_sum/server_seconds": self.seconds[transport.SERVER],
        }

    def _is_there(self, number: int, step: int) -> bool:
        return step < self._steps[number - 1] and number not in self.refusals

    def _work(self, party: int, work):
        """Does a party's work on its time."""
        start = time.thread_time()
        try:
            return work()
        finally:
            self.seconds[party] += time.thread_time() - start

    def _try(self, client: int, party: int, work):
        """Does a party's work for a client, which is left out if the protocol was broken."""
        try:
            return self._work(party, work)
        except stages.ProtocolError as error:
            self.refusals[client] = str(error)
            return None

    @contextlib.contextmanager
    def _with_metrics(self):
        """Around what may abort the round."""
        try:
            yield
        except stages.AbortedError as error:
            error.metrics = self.metrics()
            raise
