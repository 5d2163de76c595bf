"""What every algorithm and every aggregator must do, as run.py builds them: their flags parse, they
train, and a run that goes on from files has the bits of one that was not interrupted.

Fast: every algorithm but a few variants with secure_mean, or mean where it can't take that; fed_avg
with every aggregator. Slow: the rest of the product.
"""

import dataclasses
import itertools

import numpy as np
import pytest
from absl import flags

from tff_experiments import (
    aggregation,
    algorithms,
    checkpoints,
    experiment,
    records,
    runtime,
    training,
)
from tff_experiments.secure_sum import secagg

# Each differs from fed_yogi or mime in what other files test.
VARIANTS = ["fed_adagrad", "fed_adam", "mime_lite"]
SECURE = [
    (name, "secure_mean")
    for name, module in algorithms.BY_NAME.items()
    if module.NEEDS.supports_secure_sum
]
# They come first, so that the tests of a process have its place in common: pytest then makes it
# once for both.
FAST = SECURE + [
    (name, "mean") for name in algorithms.BY_NAME if (name, "secure_mean") not in SECURE
]
FAST = [pair for pair in FAST if pair[0] not in VARIANTS]
FAST += [("fed_avg", name) for name in aggregation.BY_NAME if ("fed_avg", name) not in FAST]
SLOW = [p for p in itertools.product(algorithms.BY_NAME, aggregation.BY_NAME) if p not in FAST]
PRIVATE = [name for name, module in aggregation.BY_NAME.items() if hasattr(module, "privacy")]
# These send more than the one vector that differential privacy accounts for, or none; or their
# rounds are not of sampled clients, or their mean is one with weights.
NOT_PRIVATE = ["agnostic_fed_avg", "centralized", "fed_buff", "fed_dyn", "fed_nova", "hypcluster"]
NOT_PRIVATE += ["k_means", "local_only", "mime", "mime_lite", "q_ffl", "scaffold"]
REFUSED = [*itertools.product(NOT_PRIVATE, PRIVATE)]
SLOW = [p for p in SLOW if p not in REFUSED]
# What a data set of ten digits asks for.
OWN = {
    "agnostic_fed_avg": ["--agnostic_fed_avg_domains=5"],
    "fed_buff": ["--fed_buff_concurrency=5"],
    "fed_recon": ["--fed_recon_local_layers=dense/bias"],
    "hypcluster": ["--hypcluster_init_noise=0.1"],
}


@pytest.fixture(scope="module")
def defined():
    """The flags of an experiment."""
    before = set(flags.FLAGS)
    experiment.define_shared_flags()
    experiment.define_own_flags()
    yield
    for name in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, name)


def parse(*args):
    flags.FLAGS.unparse_flags()
    # Of six clients, four: some are in both rounds, and read the state that they kept.
    data = ["--task=digits_linear", "--partition_clients=6", "--clients_per_round=4"]
    flags.FLAGS(["", *data, *args])
    return experiment.Experiment()


def build(algorithm, aggregator):
    """(process, task, data, hparams), as run.py makes them."""
    args = [f"--algorithm={algorithm}", f"--aggregator={aggregator}", *OWN.get(algorithm, [])]
    module = aggregation.BY_NAME[aggregator]
    if algorithms.BY_NAME[algorithm].NEEDS.exact_mean and hasattr(module, "lossy"):
        args += module.lossy(module.Hparams()).split()
    if aggregator in PRIVATE:
        has_weights = hasattr(algorithms.BY_NAME[algorithm].Hparams(), "weighting")
        args += [f"--{algorithm}_weighting=uniform"] if has_weights else []
        args += ["--client_sampling=round_robin"] if aggregator == "dp_ftrl" else []
    chosen = parse(*args, "--rounds=2", "--checkpoint_every=1", "--eval_every=1")
    chosen.check()
    data, task = chosen.build_data()
    return chosen.build_process(task, data), task, data, chosen.hparams


@pytest.fixture(scope="module")
def made(request, defined):
    """What `build` makes of (algorithm, aggregator): it takes seconds."""
    return build(*request.param)


def train(path, made, context, rounds):
    """Trains to a round; gives the checkpoint, clients' states, and what was measured but time."""
    process, task, data, hparams = made
    folder = records.RunFolder(path)
    hparams = dataclasses.replace(hparams, rounds=rounds)
    try:
        training.train(process, task, data, hparams, folder, runtime=context)
    finally:
        folder.close()
    kept = [f"checkpoints/round_{checkpoints.rounds(folder.checkpoints)[-1]:08d}.ckpt"]
    kept += [str(p.relative_to(path)) for p in sorted(path.glob("client_states/*/*"))]
    rows = [
        {name: value for name, value in row.items() if not name.startswith(("seconds", "memory"))}
        for row in records.read_metrics(path)
    ]
    return {name: (path / name).read_bytes() for name in kept}, rows


def check_contract(made, tmp_path):
    # What privacy draws is repeatable here: else no two runs have the same bits.
    with runtime.use(client_workers=1, seed_noise=1) as context:
        context.check(made[0])
        train(tmp_path / "cut", made, context, 1)
    # It goes on where nothing has run; and the whole run starts where something has.
    with runtime.use(client_workers=2, seed_noise=1) as context:
        resumed = train(tmp_path / "cut", made, context, 2)
        whole = train(tmp_path / "whole", made, context, 2)
    assert resumed == whole, "on resuming, or on another number of workers, bits differ"
    keeps = made[0].client_state is not None
    # Four of six in each of two rounds.
    assert len(whole[0]) > 5 if keeps else len(whole[0]) == 1
    rows = records.read_metrics(tmp_path / "whole")
    assert [row["round"] for row in rows] == [1, 2]
    main = f"test/{made[1].main_metric}"
    assert all(np.isfinite(row[main]) for row in rows)
    assert rows[0]["train/num_examples"] > 0 and not rows[0].get("train/lost_examples")


@pytest.mark.parametrize("made", FAST, indirect=True, ids="-".join)
def test_it_trains_and_resumes_to_the_same_bits(made, tmp_path):
    check_contract(made, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("made", SLOW, indirect=True, ids="-".join)
def test_any_combination_does(made, tmp_path):
    check_contract(made, tmp_path)


@pytest.mark.parametrize("algorithm", NOT_PRIVATE)
def test_what_differential_privacy_does_not_cover_is_refused(defined, algorithm):
    with pytest.raises(
        ValueError, match=r"privacy accounts for one|accountant covers|weighted mean"
    ):
        build(algorithm, "dp_fedavg")


@pytest.mark.parametrize(
    "made",
    [pytest.param(pair, marks=[pytest.mark.slow] * (pair not in FAST)) for pair in SECURE],
    indirect=True,
    ids="-".join,
)
def test_nothing_of_a_client_is_in_the_clear_under_a_secure_sum(made):
    process, *_ = made
    with runtime.use(secure_sum=secagg.build(secagg.Hparams())) as context:
        context.check(process)  # It refuses what would be sent in the clear.
