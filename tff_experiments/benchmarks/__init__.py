"""What is measured, one subject a file. Each has `Hparams` and `run(hparams)`, which returns a
title, the table's head, and its rows.
"""

from tff_experiments.benchmarks import (
    aggregators,
    he,
    memory,
    runtime,
    scaling,
    scaling_costs,
    secure_sum,
    startup,
    threshold_he,
)

BY_NAME = {
    "aggregators": aggregators,
    "he": he,
    "memory": memory,
    "runtime": runtime,
    "scaling": scaling,
    "scaling_costs": scaling_costs,
    "secure_sum": secure_sum,
    "startup": startup,
    "threshold_he": threshold_he,
}
