"""Makes tracing cheaper, which is most of what a run does before its first round.

AutoGraph: `tff.tensorflow.computation` has the source of each function that it meets rewritten, so
that `if` and `for` may be over tensors, in some 50 ms a function, once in a process. `MODULES` of
TFF branch on Python's values only, and are left as they are; the layers, losses and metrics that
they call are still rewritten, by Keras itself.

Garbage: each full collection goes through all that the imports have made, some 400,000 objects.
"""

import functools
import gc

from tensorflow.python.autograph.core import config

MODULES = (
    "attr",
    *(
        f"tensorflow_federated.python.{name}"
        for name in (
            "aggregators.primitives",
            "common_libs.py_typecheck",
            "common_libs.structure",
            "learning.metrics.counters",
            "learning.metrics.keras_finalizer",
            "learning.models.keras_utils",
            "learning.optimizers.adagrad",
            "learning.optimizers.adam",
            "learning.optimizers.nest_utils",
            "learning.optimizers.optimizer",
            "learning.optimizers.sgdm",
            "learning.optimizers.yogi",
        )
    ),
)


@functools.cache
def make_cheaper() -> None:
    """Does so for all of the process, once: what is there is taken as there for good."""
    rules = [config.DoNotConvert(name) for name in MODULES]
    config.CONVERSION_RULES = (*rules, *config.CONVERSION_RULES)
    gc.freeze()
