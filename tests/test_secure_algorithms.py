"""The algorithms under SecAgg: near their equations, and nothing of one client in the clear."""

import numpy as np
import pytest
from algorithm_helpers import make, run
from test_corrected_gradients import CASES, over_rounds

from tff_experiments.aggregation import secure_mean
from tff_experiments.runtime import local
from tff_experiments.secure_sum import secagg

# Nothing is clipped; levels of 6e-6, in sums that are divided by a cohort's weight.
EXACT = secure_mean.Hparams(zeroing=False, clipping=False, bits=24)
# FedNova's ||a_i||_1, no whole numbers with momentum, are summed in quarters.
TOLERANCE = {"fed_nova_momentum": 2e-3}


@pytest.fixture(scope="module")
def context():
    """The runtime under SecAgg; it refuses what clients would send in the clear."""
    with local.use(local.Hparams(), secure_sum=secagg.build(secagg.Hparams())) as context:
        yield context


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name != "fed_avg_uniform"])
def test_three_rounds_come_near_those_of_the_paper(context, name):
    module, hparams, changes, round_fn = CASES[name]
    made = make(aggregator=secure_mean, aggregator_hparams=EXACT, **changes)
    seen = run(context, module.build(hparams, made))
    wanted, _ = over_rounds(round_fn)
    atol = TOLERANCE.get(name, 1e-4)
    np.testing.assert_allclose([w for w, _, _ in seen], wanted, atol=atol)
