"""A round's clients: who takes part, and what each of them gets.

`hparams` is `training.Hparams`: what of it is read is how many clients there are, how they are
drawn, and how their examples are batched.
"""

import functools
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from tff_experiments import sampling
from tff_experiments.clients import attacks, buffered, participation
from tff_experiments.datasets import batching, federated_data
from tff_experiments.runtime import clients
from tff_experiments.tasks import task as task_lib

WELL_BEHAVED = participation.World()
NO_ATTACK = attacks.Hparams()


def pooled(
    hparams: Any,
    task: task_lib.Task,
    data: federated_data.FederatedData,
    round_num: int,
    *,
    num_examples: int,
) -> list[clients.ClientInputs]:
    """Makes one client of all data, with the next `num_examples` of them (0: as many as an average
    cohort's clients go through, drawn uniformly).
    """
    counts = np.minimum(data.train.counts, hparams.max_examples_per_client or np.inf)
    of_cohort = hparams.clients_per_round * hparams.client_epochs * counts.mean()
    rows = sampling.stream(
        data.train.total,
        num_examples or max(round(of_cohort), 1),
        seed=hparams.seed,
        round_num=round_num,
    )
    batches = batching.in_order(
        data.train.rows(rows), batch_size=hparams.batch_size, preprocess=task.preprocess
    )
    return [clients.ClientInputs(batches, client="all")]


def participants(
    hparams: Any,
    data: federated_data.FederatedData,
    world: participation.World,
    process: Any = None,
    seed: int | None = None,
) -> participation.Participation:
    """The rounds' clients, those of a buffered server where `process` has one, drawn from the run's
    seed unless from another; raises ValueError where the flags do not go together.
    """
    counts = data.train.counts
    buffer = getattr(process, "buffer", None)
    make = functools.partial(buffered.Buffered, **buffer._asdict()) if buffer else None
    return (make or participation.Participation)(
        world,
        data.train.client_ids,
        counts,
        num_clients=hparams.clients_per_round,
        how=hparams.client_sampling,
        examples=hparams.client_epochs
        * np.minimum(counts, hparams.max_examples_per_client or np.inf),
        seed=hparams.seed if seed is None else seed,
    )


def cohort(
    hparams: Any,
    task: task_lib.Task,
    data: federated_data.FederatedData,
    round_num: int,
    *,
    rounds: participation.Participation | None = None,
    attacking: attacks.Hparams = NO_ATTACK,
    canaries: Mapping[str, int] = types.MappingProxyType({}),
) -> list[clients.ClientInputs]:
    """Draws a round's clients, who drops out or attacks or is a canary, and the order of their
    examples.
    """
    taken = (rounds or participants(hparams, data, WELL_BEHAVED)).round(round_num)
    inputs = []
    for i, (client, drops) in enumerate(zip(taken.clients, taken.drops, strict=True)):
        name = data.train.client_ids[client]
        examples = data.train.examples(name)
        attacker = attacks.attacks(attacking, str(name), seed=hparams.seed)
        if attacker:
            examples = attacks.flip_labels(attacking, examples, num_classes=data.num_classes)
        batches = batching.make(
            examples,
            batch_size=hparams.batch_size,
            epochs=hparams.client_epochs,
            max_examples=hparams.max_examples_per_client,
            preprocess=task.preprocess,
            rng=sampling.client_rng(hparams.seed, round_num, int(client)),
        )
        extras = {} if taken.staleness is None else {"version": np.int32(taken.staleness[i])}
        if attacking.changes_updates:
            extras["attack"] = attacks.factor(attacking, attacker)
        if canaries:
            extras["canary"] = np.int64(canaries.get(str(name), 0))
        inputs.append(clients.ClientInputs(batches, extras or (), str(name), drops))
    return inputs
