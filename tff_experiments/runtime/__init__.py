"""What executes TFF computations. Each entry has `Hparams` and a context manager `use(hparams,
quiet=...)`.
"""

from tff_experiments.runtime import native

BY_NAME = {"native": native}
