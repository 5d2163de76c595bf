"""One contract for all protocols: the exact sum of those that uploaded, or a clean abort."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secagg_helpers import PROTOCOLS, names, summed

from tff_experiments.secure_sum import graph, plain, secagg, secagg_plus, stages
from tff_experiments.secure_sum.vectors import Segment

ALL = {"plain": plain.build(plain.Hparams()), **PROTOCOLS}
SECAGG = ("secagg_semi_honest", "secagg_active")

moduli = st.one_of(
    st.integers(0, 62).map(lambda bits: 2**bits),
    st.integers(1, 2**62),
    st.sampled_from([3, 2**32 - 5, 2**62 - 1]),
)
segments = st.lists(st.builds(Segment, st.integers(0, 5), moduli, st.none()), max_size=4)
seeds = st.integers(0, 2**16)


def left(drops, stage):
    """Clients that take the step before which others drop at `stage`."""
    at = stages.STAGES.index(stage)
    return sum(not s or stages.STAGES.index(s) > at for s in drops.values())


def shortage(protocol, drops):
    """The step at which a round of SecAgg lacks clients, and how many it has; None if it opens.

    Bonawitz et al.: |U_1| .. |U_5| >= t, the semi-honest variant without U_4.
    """
    threshold = secagg.threshold(protocol._hparams, len(drops))
    for stage in stages.STAGES:
        if stage == "before_consistency" and protocol._hparams.variant == "semi_honest":
            continue
        have = left(drops, stage)
        if have < threshold:
            return stage, have, threshold
    return None


@pytest.mark.parametrize("name", SECAGG)
@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.integers(0, 12), st.integers(0, 5), segments, seeds)
def test_any_dropouts_give_the_exact_sum_or_an_abort_that_counts(name, count, gone, parts, seed):
    protocol, rng = ALL[name], np.random.default_rng(seed)
    drops = dict.fromkeys(rng.permutation(names(count)).tolist(), "")
    drops.update({client: str(rng.choice(stages.STAGES)) for client in list(drops)[:gone]})
    drops = dict(sorted(drops.items()))
    lacks = shortage(protocol, drops)
    if lacks is None:
        sum_of, wanted = summed(protocol, parts, drops, seed=seed)
        got = sum_of.finish()
        assert got.tolist() == wanted and got.dtype == np.int64
        assert not sum_of.refusals
        return
    stage, have, need = lacks
    text = f"{have} clients were left {stage[len('before_') :]}, {need} are needed"
    with pytest.raises(stages.AbortedError, match=text):
        summed(protocol, parts, drops, seed=seed)[0].finish()


@pytest.mark.parametrize("name", SECAGG)
@pytest.mark.parametrize("stage", stages.STAGES)
@pytest.mark.parametrize("count", [1, 2, 3, 6, 10])
def test_exactly_t_open_the_sum_and_one_fewer_do_not(name, stage, count):
    """At the consistency step the semi-honest variant has nothing to do: they drop one later."""
    parts = [Segment(4, 2**20), Segment(1, 1000)]
    protocol = ALL[name]
    threshold = secagg.threshold(protocol._hparams, count)
    for have in (threshold, threshold - 1):
        stages_of = [stage] * (count - have) + [""] * have
        drops = dict(zip(names(count), stages_of, strict=True))
        if have == threshold:
            sum_of, wanted = summed(protocol, parts, drops)
            assert sum_of.finish().tolist() == wanted
        else:
            with pytest.raises(stages.AbortedError, match=f"{have} clients .* {threshold} are"):
                summed(protocol, parts, drops)[0].finish()


@pytest.mark.parametrize("threshold", [0.67, 0.9, 1.0])
def test_a_threshold_of_ones_own_is_kept_for_any_number_of_clients(threshold):
    for variant, bound in (("active", 2 / 3), ("semi_honest", 1 / 2)):
        hparams = secagg.Hparams(variant=variant, threshold=threshold)
        for count in range(1, 100):
            t = secagg.threshold(hparams, count)
            assert bound * count < t <= count and t >= threshold * count - 1e-9
    default = [secagg.threshold(secagg.Hparams(), count) for count in (1, 2, 3, 4, 10, 1000)]
    assert default == [1, 2, 3, 3, 7, 667]


@pytest.mark.parametrize("name", ["secagg_plus_semi_honest", "secagg_plus_semi_malicious"])
@settings(deadline=None, max_examples=12, derandomize=True)
@given(st.data(), segments, seeds)
def test_secagg_plus_is_exact_up_to_its_dropout_rate(name, data, parts, seed):
    """20 to 40 clients on a ring, 15 % of them gone at any stage."""
    count = data.draw(st.integers(20, 40))
    gone = data.draw(st.lists(st.sampled_from(stages.STAGES), max_size=graph.most(0.15, count)))
    order = np.random.default_rng(seed).permutation(names(count)).tolist()
    drops = dict.fromkeys(names(count), "")
    drops.update(zip(order, gone, strict=False))
    assert ALL[name].parameters(count).degree < count - 1
    sum_of, wanted = summed(ALL[name], parts, drops, seed=seed)
    # The graph itself is random: it does not open with a probability of 2^-10 (a fixed seed).
    assert sum_of.finish().tolist() == wanted
    assert not sum_of.refusals


@pytest.mark.parametrize("name", ["secagg_plus_semi_honest", "secagg_plus_semi_malicious"])
@pytest.mark.parametrize("stage", stages.STAGES[:3])
def test_secagg_plus_aborts_beyond_its_dropout_rate(name, stage):
    """Its graph hides if at most 15 % drop out: 3 of 20; the paper's server stops, too."""
    drops = dict(zip(names(20), [stage] * 4 + [""] * 16, strict=True))
    with pytest.raises(stages.AbortedError, match=r"16 clients were left .* 17 are needed"):
        summed(ALL[name], [Segment(1, 2)], drops)[0].finish()


@pytest.mark.parametrize(
    "adversary, count, rate, threshold",
    [("semi_honest", 10, 0.4, 5), ("semi_malicious", 20, 0.3, 13)],
)
def test_where_all_are_neighbours_the_threshold_alone_counts(adversary, count, rate, threshold):
    """Of each client t neighbours must be left, so t + 1 clients: more may drop out than said."""
    hparams = secagg_plus.Hparams(adversary, corrupt_rate=rate, max_dropout_rate=rate)
    protocol = secagg_plus.build(hparams)
    assert protocol.parameters(count) == (count - 1, threshold)
    for have in (threshold + 1, threshold):
        stages_of = ["before_upload"] * (count - have) + [""] * have
        drops = dict(zip(names(count), stages_of, strict=True))
        sum_of, wanted = summed(protocol, [Segment(3, 10)], drops)
        if have > threshold:
            assert sum_of.finish().tolist() == wanted
        else:
            with pytest.raises(stages.AbortedError):
                sum_of.finish()


def test_secagg_plus_of_too_few_clients_says_so():
    with pytest.raises(stages.AbortedError, match="no graph for 2 clients"):
        ALL["secagg_plus_semi_malicious"].start([Segment(1, 2)], {"a": "", "b": ""})
