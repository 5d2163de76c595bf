"""Protocols that sum integer vectors, one protocol a file. Each has `Hparams` and `build(hparams)`.

A protocol knows vectors of integers, one per client, and moduli; it knows nothing of models, and
nothing of TensorFlow.
"""

from tff_experiments.secure_sum import plain

BY_NAME = {"plain": plain}
