"""What stands between clients and server: bytes, counted.

A test may put an adversary in: `tamper(step, sender, recipient, message)` returns what arrives
instead, nothing, once or several times.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

SERVER = 0

Tamper = Callable[[int, int, int, bytes], Sequence[bytes]]


class Transport:
    """Counts what is sent; clients are numbered from 1, the server is 0."""

    def __init__(self, tamper: Tamper | None = None):
        """Takes an adversary, or none."""
        self._tamper = tamper
        self.upload_bytes: dict[int, int] = defaultdict(int)
        self.download_bytes: dict[int, int] = defaultdict(int)

    def send(self, step: int, sender: int, recipient: int, message: bytes) -> Sequence[bytes]:
        """Sends a message; returns what arrives."""
        if recipient == SERVER:
            self.upload_bytes[sender] += len(message)
        else:
            self.download_bytes[recipient] += len(message)
        return self._tamper(step, sender, recipient, message) if self._tamper else (message,)
