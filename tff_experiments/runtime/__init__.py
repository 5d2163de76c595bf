"""What executes TFF computations. Each entry has `Hparams` and a context manager `use(hparams,
quiet=...)`, which yields what runs rounds: `next(process, state, inputs, seed=..., round_num=...)`.

    from tff_experiments import runtime
    runtime.install()                # From here on TFF's computations run on our runtime,
    with runtime.use(seed=1): ...    # or only in a block.
"""

import atexit
import contextlib
from typing import Any

import tensorflow_federated as tff

from tff_experiments.runtime import local, native, ray_cluster

BY_NAME = {"local": local, "native": native, "ray": ray_cluster}
ClientError, RoundAborted = local.ClientError, local.RoundAborted
RefusedError = local.RefusedError
WorkerLostError = native.WorkerLostError

# TFF's default context ends its worker in a `__del__` that fails, with a traceback, when Python has
# begun to take modules away: it goes before.
atexit.register(lambda: tff.framework.set_default_context(local.Context(local.Hparams())))


def install(*, seed: int = 0, secure_sum: Any = None, **hparams) -> local.Context:
    """Makes our runtime TFF's default context.

    Args:
        seed: Seed of clients' and server's random ops.
        secure_sum: A protocol, such as `secagg.build(secagg.Hparams())`; by default sums are plain.
        **hparams: Fields of `local.Hparams`.

    Returns:
        The context.
    """
    context = local.Context(local.Hparams(**hparams), seed=seed, secure_sum=secure_sum)
    tff.framework.set_default_context(context)
    return context


def use(
    *, seed: int = 0, secure_sum: Any = None, **hparams
) -> contextlib.AbstractContextManager[local.Context]:
    """The same for a block, after which its sessions are closed."""
    return local.use(local.Hparams(**hparams), seed=seed, secure_sum=secure_sum)
