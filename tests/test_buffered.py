"""A buffered server's rounds: worked out by hand, limits, and laws that hold in any world."""

import collections
import math

import numpy as np
import pytest
from test_participation import by_client, of_world, trace

from tff_experiments.clients import availability, buffered, delays, dropouts, participation

LOGNORMAL = delays.Hparams(model="lognormal", median_s=10, client_sigma=0.8, round_sigma=0.4)


def of_buffer(num=2, ids=("c0", "c1", "c2"), *, concurrency=3, max_staleness=9, **kwargs):
    how, seed = kwargs.pop("how", "uniform"), kwargs.pop("seed", 0)
    counts = np.arange(1, len(ids) + 1)
    return buffered.Buffered(
        participation.World(**kwargs),
        ids,
        counts,
        num_clients=num,
        how=how,
        examples=counts,
        seed=seed,
        concurrency=concurrency,
        max_staleness=max_staleness,
    )


def told(rounds, numbers):
    """[(clients, staleness, end)]"""
    found = [rounds.round(number) for number in numbers]
    return [([*r.clients], [*r.staleness], r.start_s + r.seconds) for r in found]


def test_rounds_are_those_worked_out_by_hand(tmp_path):
    """c0, c1, c2 take 2, 3 and 7 s; two updates fill the buffer; all three train at any time.

    0: all leave. 2: c0. 3: c1, step 1; both leave. 5: c0. 6: c1, step 2; both leave. 7: c2, two
    steps old. 8: c0, step 3; c2 and c0 leave. 9: c1, one step old. 10: c0, step 4.
    """
    rounds = of_buffer(delay=by_client(tmp_path, [2, 3, 7]))
    assert told(rounds, [1, 2, 3, 4]) == [
        ([0, 1], [0, 0], 3.0),
        ([0, 1], [0, 0], 6.0),
        ([2, 0], [2, 0], 8.0),
        ([1, 0], [1, 0], 10.0),
    ]
    metrics = rounds.round(3).metrics()
    assert metrics["train/staleness_mean"] == 1 and metrics["train/staleness_max"] == 2
    assert (metrics["time/round_s"], metrics["time/total_s"]) == (2.0, 8.0)
    assert metrics["train/too_stale"] == metrics["train/dropouts"] == 0


def test_who_is_too_stale_does_not_count(tmp_path):
    """As above, but c2 at 7 s is two steps old: c0 at 8 and c1 at 9 make step 3."""
    rounds = of_buffer(delay=by_client(tmp_path, [2, 3, 7]), max_staleness=1)
    assert told(rounds, [3]) == [([0, 1], [0, 0], 9.0)]
    assert [rounds.round(r).metrics()["train/too_stale"] for r in (1, 2, 3)] == [0, 0, 1]


def test_when_all_drop_out_the_round_closes_with_nobody(tmp_path):
    gone = dropouts.Hparams(rate=1.0, stage="before_upload")
    found = of_buffer(delay=by_client(tmp_path, [2, 3, 7]), dropping=gone).round(1)
    assert not len(found.clients) and found.seconds == 7
    assert found.metrics()["train/dropouts"] == 3
    assert found.metrics()["train/staleness_max"] == 0


def test_who_drops_out_after_its_upload_counts(tmp_path):
    later = dropouts.Hparams(rate=1.0, stage="before_unmasking")
    found = of_buffer(delay=by_client(tmp_path, [2, 3, 7]), dropping=later).round(1)
    assert found.drops == ("before_unmasking",) * 2 and found.metrics()["train/dropouts"] == 2


def test_when_few_are_there_the_round_takes_them_and_then_waits_a_minute(tmp_path):
    path = trace(tmp_path, "c0,0,10\nc1,100,200\n", "there.csv")
    rounds = of_buffer(
        delay=delays.Hparams(model="trace", trace=trace(tmp_path, "20\n", "all.csv")),
        available=availability.Hparams(model="trace", trace=path),
    )
    assert told(rounds, [1, 2, 3, 4]) == [
        ([0], [0], 20.0),
        ([], [], 80.0),
        ([], [], 140.0),
        ([1], [0], 160.0),
    ]
    assert [rounds.round(r).available for r in (1, 2, 4)] == [1, 0, 1]


@pytest.mark.parametrize("how", ["uniform", "weighted"])
def test_without_delays_and_with_as_many_in_training_rounds_are_the_sampled_ones(how):
    ids = tuple(f"c{i}" for i in range(8))
    dropping = dropouts.Hparams(rate=0.4, stage="before_unmasking")
    ours = of_buffer(3, ids, concurrency=3, how=how, dropping=dropping)
    # `of_buffer` counts 1, 2, ...; the law of "weighted" is the same for ten times as many.
    sampled = of_world(n=3, how=how, dropping=dropping)
    for round_num in range(1, 10):
        found, wanted = ours.round(round_num), sampled.round(round_num)
        np.testing.assert_array_equal(found.clients, wanted.clients)
        assert found.drops == wanted.drops and found.staleness == (0, 0, 0)
        assert found.seconds == 0 and "time/total_s" not in found.metrics()


def test_without_delays_the_second_half_of_twice_as_many_is_one_step_old():
    rounds = of_buffer(3, tuple(f"c{i}" for i in range(20)), concurrency=6)
    assert [rounds.round(r).staleness for r in range(1, 7)] == [(0, 0, 0), (1, 1, 1)] * 3


def test_as_many_updates_come_as_littles_law_has_it():
    """Updates a second = concurrency / mean delay. 3,000 updates of a lognormal with sigma 0.5: the
    mean's standard deviation is 1 %, 5 of them allowed.
    """
    delay = delays.Hparams(model="lognormal", median_s=10, client_sigma=0, round_sigma=0.5)
    rounds = of_buffer(5, tuple(f"c{i}" for i in range(300)), concurrency=10, delay=delay)
    last = rounds.round(600)
    found = (last.start_s + last.seconds) / 600
    assert abs(found / (5 / 10 * 10 * math.exp(0.5**2 / 2)) - 1) < 0.05


def test_nobody_is_twice_in_a_buffer_nor_trains_twice_at_a_time():
    rounds = of_buffer(
        5,
        tuple(f"c{i}" for i in range(13)),
        concurrency=8,
        max_staleness=3,
        delay=LOGNORMAL,
        dropping=dropouts.Hparams(rate=0.2, stage="mix"),
        available=availability.Hparams(model="sine"),
    )
    left = collections.defaultdict(list)
    for round_num in range(1, 300):
        found = rounds.round(round_num)
        assert len(set(found.clients)) == len(found.clients) <= 5
        assert max(found.staleness, default=0) <= 3 and found.seconds >= 0
        for client, staleness in zip(found.clients, found.staleness, strict=True):
            # From leaving to reporting, in rounds; the next one begins after the last ended.
            assert not left[client] or round_num - staleness > left[client][-1]
            left[client].append(round_num)
    assert rounds.round(299).start_s > 0 and len(left) == 13


def test_rounds_are_the_same_whichever_is_asked_for_first():
    world = {"delay": LOGNORMAL, "dropping": dropouts.Hparams(rate=0.2, stage="mix")}
    make = lambda seed: of_buffer(4, tuple("abcdefghij"), concurrency=6, seed=seed, **world)
    one, other = make(0), make(0)
    whole = told(one, range(1, 9))
    assert told(other, [8, 1, 5]) == [whole[7], whole[0], whole[4]]
    assert told(make(1), range(1, 9)) != whole


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"how": "poisson"}, "--client_sampling=poisson does not; use uniform or weighted"),
        ({"how": "round_robin"}, "--client_sampling=round_robin does not"),
        (
            {"selection": participation.Hparams(overselect=0.3), "delay": LOGNORMAL},
            "leave --overselect and --round_deadline_s out",
        ),
        ({"concurrency": 4}, "a concurrency of 4 needs as many clients, the data has 3"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        of_buffer(**changes)
