"""Which runs are of a row: those with its flags, on its data."""

import math
import pathlib
from collections import Counter

from tff_experiments.reporting import groups, runs
from tff_experiments.reproduction import plans
from tff_experiments.reproduction.published import Entry

# These do not change what is trained, or are the search's.
_FREE = {"rounds", "eval_every", "eval_clients", "checkpoint_every", "seed", "data_dir", "stop_at"}
# What a config that is silent means, by run.py's defaults (tests/test_published.py holds them to
# these); a run may have been given anything else. Flags of what no row uses are not here.
_SILENT = {
    "accountant": "rdp",
    "aggregator": "mean",
    "attack_kind": "none",
    "availability_model": "always",
    "canary_count": "0",
    "client_momentum": "0",
    "client_optimizer": "sgd",
    "client_sampling": "uniform",
    "client_schedule": "constant",
    "client_warmup_rounds": "0",
    "ddp_discrete_gaussian_beta": "0.6065306597126334",
    "ddp_discrete_gaussian_bits": "16",
    "ddp_discrete_gaussian_clip": "0.1",
    "ddp_discrete_gaussian_expected_dropout": "0",
    "ddp_discrete_gaussian_k_stddevs": "4",
    "ddp_discrete_gaussian_noise_multiplier": "1",
    "ddp_skellam_beta": "0.6065306597126334",
    "ddp_skellam_bits": "16",
    "ddp_skellam_clip": "0.1",
    "ddp_skellam_expected_dropout": "0",
    "ddp_skellam_k_stddevs": "4",
    "ddp_skellam_noise_multiplier": "1",
    "delay_model": "none",
    "delta": "0",
    "dp_fedavg_adaptive": "false",
    "dp_fedavg_clip": "0.1",
    "dp_fedavg_count_stddev": "0",
    "dp_fedavg_noise_multiplier": "1",
    "dp_fedavg_quantile": "0.5",
    "dp_fedavg_rate": "0.2",
    "dropout_rate": "0",
    "emnist_2nn_hidden_units": "200",
    "emnist_2nn_initializer": "keras",
    "emnist_cnn_dropout": "true",
    "emnist_cnn_pool_first": "false",
    "emnist_linear_inverted": "false",
    "fed_adagrad_beta_1": "0",
    "fed_adagrad_beta_2": "0.99",
    "fed_adagrad_tau": "0.001",
    "fed_adagrad_variant": "algorithm_2",
    "fed_adagrad_weighting": "examples",
    "fed_adam_beta_1": "0.9",
    "fed_adam_beta_2": "0.99",
    "fed_adam_tau": "0.001",
    "fed_adam_variant": "algorithm_2",
    "fed_adam_weighting": "examples",
    "fed_avg_weighting": "examples",
    "fed_avgm_beta": "0.9",
    "fed_avgm_weighting": "examples",
    "fed_sgd_weighting": "examples",
    "fed_yogi_beta_1": "0.9",
    "fed_yogi_beta_2": "0.99",
    "fed_yogi_tau": "0.001",
    "fed_yogi_variant": "algorithm_2",
    "fed_yogi_weighting": "examples",
    "max_examples_per_client": "0",
    "mnist_2nn_hidden_units": "200",
    "mnist_2nn_initializer": "keras",
    "mnist_cnn_initializer": "keras",
    "neighbours": "removed",
    "on_client_error": "stop",
    "overselect": "0",
    "partition": "natural",
    "partition_clients": "100",
    "partition_seed": "0",
    "partition_shards_per_client": "2",
    "partition_sigma": "1",
    "round_deadline_s": "0",
    "scaffold_option": "2",
    "secagg_threshold": "0",
    "secagg_variant": "active",
    "secure_mean_bits": "20",
    "secure_mean_bound": "50",
    "secure_mean_bound_quantile": "0.95",
    "secure_mean_clip": "1",
    "secure_mean_clip_quantile": "0.8",
    "secure_mean_clipping": "true",
    "secure_mean_rounding": "nearest",
    "secure_mean_zero": "10",
    "secure_mean_zeroing": "true",
    "secure_sum": "plain",
    "server_learning_rate": "1",
    "server_momentum": "0",
    "server_optimizer": "sgd",
    "server_schedule": "constant",
    "server_warmup_rounds": "0",
    "target_epsilon": "0",
}


def load(entry: Entry, path: pathlib.Path, *, stand_in: bool) -> tuple[list[runs.Run], list[str]]:
    """Reads the runs below a path.

    Args:
        entry: The row that they are to be of.
        path: A folder; it may be missing.
        stand_in: Whether they are to be on other data than the paper's, all on the same.

    Returns:
        The runs that are of the row, and for each of the others why it is not.
    """
    if not path.is_dir() or not any(path.rglob("*.jsonl")):
        return [], []
    of, left_out = [], []
    for each in runs.find([str(path)]):
        try:
            run = runs.load(each)
        except runs.BrokenRunError as error:
            left_out.append(f"{each}: {error}")
            continue
        reason = unlike(entry, run, stand_in=stand_in)
        of += [] if reason else [run]
        left_out += [f"{each}: {reason}"] if reason else []
    of, twice = _once(entry, of)
    left_out += twice
    if stand_in and of:
        # Any data may stand in, but not two at once.
        label = Counter(groups.examples_of(run.data) for run in of).most_common(1)[0][0]
        others = [run for run in of if groups.examples_of(run.data) != label]
        left_out += [f"{run.path}: on other data than most" for run in others]
        of = [run for run in of if run not in others]
    return of, left_out


def _once(entry: Entry, of: list[runs.Run]) -> tuple[list[runs.Run], list[str]]:
    """The first run of each setting and seed, and why not the others: the same seed twice would
    count as two.
    """
    first, left_out = {}, []
    for run in of:
        searched = run.flags.get(entry.row.grid.flag) if entry.row.grid else None
        there = first.setdefault((searched, run.seed), run)
        if there is not run:
            left_out.append(f"{run.path}: the same seed as {there.path}")
    return list(first.values()), left_out


def unlike(entry: Entry, run: runs.Run, *, stand_in: bool) -> str:
    """Why a run is not of this row; "" where it is."""
    is_papers = groups.examples_of(run.data) == entry.table.data.examples
    if is_papers == stand_in:
        return f"on {'' if stand_in else 'other data than '}the paper's data ({run.data})"
    free = _FREE | ({"dataset", "emnist_only_digits"} if stand_in else set())
    free |= {entry.row.grid.flag} if entry.row.grid else set()
    stated = plans.flags(entry, stand_in=stand_in)
    # What is older than a flag did not do what the flag brings.
    has = _SILENT | dict(run.flags)
    differing = [
        f"--{name} is {has.get(name, 'absent')}, not {value}"
        for name, value in (_SILENT | stated).items()
        if name not in free and not _same(has.get(name, "absent"), value)
    ]
    return ", ".join(differing)


def _same(a: str, b: str) -> bool:
    try:
        return math.isclose(float(a), float(b), rel_tol=1e-9)
    except ValueError:
        return a.lower() == b.lower()
