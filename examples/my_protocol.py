"""A secure sum of your own: two servers that do not talk to each other.

    python scripts/run.py --plugin=examples/my_protocol.py --secure_sum=my_protocol \
        --aggregator=secure_mean --task=digits_linear

A client sends a fresh key to server A, its vector plus the key's mask to server B. B's sum less the
masks that A adds up is the sum. Hides each vector from either server alone, honest but curious;
reveals the sum. Not covered: servers that collude or lie. Channels are simulated.
"""

import dataclasses
import secrets

from tff_experiments.secure_sum import masks, plain

ROOM = "secure_sum"


@dataclasses.dataclass(frozen=True)
class Hparams:
    """No knobs; fields would become flags."""


class Round(plain.Round):
    """One round's sum; `_sum` is what server B has, `_keys` what server A has."""

    def __init__(self, segments, drops):
        super().__init__(segments, drops)
        self._keys = []

    def add(self, client, vector):
        """Takes a client's vector, int64 [length], entries in [0, modulus); threads call this."""
        if client in self._uploads:
            key, words = secrets.token_bytes(32), self._layout.words(vector)
            masks.add(words, self._layout, [(key, 1)])
            with self._lock:
                self._keys.append(key)
                self._layout.add(self._sum, words)

    def finish(self):
        """The sum, int64 [length]."""
        masks.add(self._sum, self._layout, [(key, -1) for key in self._keys])
        return super().finish()


class Protocol(plain.Plain):
    """What the runtime asks for rounds."""

    is_secure = True

    def start(self, segments, drops, *, seed=None):
        """Begins a round of {client: stage at which it drops, "" if it stays}."""
        return Round(segments, drops)


def build(hparams):
    """Makes it."""
    return Protocol()
