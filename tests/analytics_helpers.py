"""Queries asked of a few clients whose values are written out."""

import numpy as np

from tff_experiments import runtime, spending
from tff_experiments.analytics import BY_NAME, questions, study, values
from tff_experiments.clients import participation
from tff_experiments.secure_sum import plain, secagg

SECAGG = secagg.build(secagg.Hparams(variant="semi_honest"))
PLAIN = plain.build(plain.Hparams())
LEAVES = "before_upload"


def numbers(*clients, upper=10.0, domain=()):
    """Clients with numbers."""
    held = [np.array(client, np.float64) for client in clients]
    names = tuple(f"client {i}" for i in range(len(held)))
    words = [client.astype(int).astype(str) for client in held] if domain else None
    return values.Values("test", "test", names, held, words, upper=upper, domain=domain)


def words(*clients, domain=()):
    """Clients with words, given as a text with spaces between."""
    held = [np.array(client.split(), str) for client in clients]
    names = tuple(f"client {i}" for i in range(len(held)))
    return values.Values("test", "test", names, words=held, domain=domain)


class Leaving(participation.Participation):
    """Rounds that some clients leave before they upload."""

    def __init__(self, *args, leaving=(), **kwargs):
        super().__init__(*args, **kwargs)
        self._leaving = leaving

    def _drops(self, client, round_num):
        return LEAVES if client in self._leaving else ""


def prepare(name, held, own=None, asked=None, shared=None):
    """A study, from dicts of knobs."""
    module = BY_NAME[name]
    return questions.prepare(
        name,
        module,
        module.Hparams(**(own or {})),
        held,
        questions.Hparams(**(asked or {})),
        spending.Hparams(**(shared or {})),
    )


def ask(made, monkeypatch=None, *, protocol=PLAIN, leaving=(), context=None, **hparams):
    """A study's result, on a runtime of its own or the one that is given."""
    if monkeypatch is not None:
        monkeypatch.setattr(
            study.participation,
            "Participation",
            lambda *args, **kwargs: Leaving(*args, leaving=leaving, **kwargs),
        )
    if context is not None:
        return study.ask(made, context, participation.World())
    with runtime.use(secure_sum=protocol, **hparams) as context:
        return study.ask(made, context, participation.World())
