"""TFF's native runtime: its worker is ours, and a lost one is said so."""

import os
import signal

import numpy as np
import pytest
import tensorflow_federated as tff

from tff_experiments.runtime import native


@tff.federated_computation(tff.FederatedType(np.int32, tff.CLIENTS))
def total(values):
    return tff.federated_sum(values)


def test_the_worker_ends_with_the_context():
    with native.use(native.Hparams(max_concurrent_calls=2)) as worker:
        assert total([1, 2, 3]) == 6 and total([]) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


def test_a_worker_that_was_killed_is_an_error_and_not_an_endless_retry():
    with native.use(native.Hparams()) as worker:
        total([1])
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(
            native.WorkerLostError, match=r"worker process ended with code -9 .killed"
        ):
            total([1])


def test_knobs_are_checked():
    with pytest.raises(ValueError, match="max_concurrent_calls must be >= 0"):
        native.Hparams(max_concurrent_calls=-1)
