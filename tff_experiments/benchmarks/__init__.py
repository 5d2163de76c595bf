"""What is measured, one subject a file. Each has `Hparams` and `run(hparams)`, which returns a
title, the table's head, and its rows.
"""

from tff_experiments.benchmarks import memory, runtime, startup

BY_NAME = {"memory": memory, "runtime": runtime, "startup": startup}
