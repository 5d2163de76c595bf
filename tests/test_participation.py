"""Delays, availability, over-selection, deadlines: closed forms, and rounds worked out by hand."""

import numpy as np
import pytest

from tff_experiments import sampling
from tff_experiments.clients import availability, delays, dropouts, participation, traces

IDS = tuple(f"c{i}" for i in range(8))
COUNTS = np.arange(1, 9) * 10


def of_world(n=3, how="uniform", ids=IDS, counts=COUNTS, seed=0, **world):
    return participation.Participation(
        participation.World(**world),
        ids,
        counts,
        num_clients=n,
        how=how,
        examples=counts,
        seed=seed,
    )


def trace(tmp_path, text, name="trace.csv"):
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


def by_client(tmp_path, seconds):
    lines = "".join(f"c{i},{s}\n" for i, s in enumerate(seconds))
    return delays.Hparams(model="trace", trace=trace(tmp_path, lines))


@pytest.mark.parametrize("how", sampling.BY_NAME)
def test_without_a_world_rounds_are_those_of_sampling(how):
    for round_num in (1, 2, 9):
        found = of_world(how=how).round(round_num)
        wanted = sampling.sample(COUNTS, 3, how=how, seed=0, round_num=round_num)
        np.testing.assert_array_equal(found.clients, wanted)
        assert not any(found.drops) and found.stragglers == 0 and found.seconds == 0


def test_lognormal_delays_have_their_quantiles():
    hparams = delays.Hparams(model="lognormal", median_s=8, client_sigma=0.3, round_sigma=0.4)
    draw = lambda client, r: delays.seconds(hparams, client, examples=5, seed=1, round_num=r)
    logs = np.log([draw(f"client {i}", 1) for i in range(4000)]) - np.log(8)
    # sigma 0.5 over 4,000: standard deviations 0.008 of the mean, 0.0056 of sigma; 5 of each.
    assert abs(logs.mean()) < 0.04 and abs(logs.std() - 0.5) < 0.028
    rounds = np.log([draw("client 7", r) for r in range(1, 4001)])
    assert abs(rounds.std() - 0.4) < 0.023, "a client's own speed does not change"
    assert draw("a", 3) == draw("a", 3) != draw("a", 4)


def test_examples_take_their_time():
    hparams = delays.Hparams(
        model="lognormal", median_s=2, per_example_s=0.5, client_sigma=0, round_sigma=0
    )
    assert delays.seconds(hparams, "a", examples=6, seed=0, round_num=1) == 5.0


def test_a_trace_without_names_is_for_all(tmp_path):
    hparams = delays.Hparams(model="trace", trace=trace(tmp_path, "seconds\n3\n5\n"))
    found = {delays.seconds(hparams, "x", examples=1, seed=0, round_num=r) for r in range(1, 40)}
    assert found == {3.0, 5.0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("c0,1\nc1,x\n", "line 2: expected 2 columns.*got 'c1,x'"),
        ("c0,1,2\n", "line 1: expected 2 columns"),
        ("c0,-1\nc0,2\n", "line 1: expected 2 columns.*got 'c0,-1'"),
        ("", "holds no line"),
    ],
)
def test_a_wrong_trace_names_the_line(tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        traces.read(trace(tmp_path, text, f"{abs(hash(text))}.csv"), 2, flag="delay_trace")


def test_a_trace_that_lacks_a_client_or_a_file_says_so(tmp_path):
    hparams = delays.Hparams(model="trace", trace=trace(tmp_path, "c0,1\n", "one.csv"))
    with pytest.raises(ValueError, match="no line of client 'c9'"):
        delays.seconds(hparams, "c9", examples=1, seed=0, round_num=1)
    with pytest.raises(ValueError, match="--delay_trace=/no/such is not a file"):
        traces.read("/no/such", 2, flag="delay_trace")
    with pytest.raises(ValueError, match="go together"):
        delays.Hparams(model="trace")


def test_availability_is_a_sine_of_local_time():
    hparams = availability.Hparams(model="sine", mean=0.5, amplitude=0.3, period_h=24)
    noon = 6 * 3600  # A quarter of a day: the peak at phase 0, the trough at phase 1/2.
    found = availability.probability(hparams, noon, np.array([0.0, 0.25, 0.5]))
    np.testing.assert_allclose(found, [0.8, 0.5, 0.2])
    ids = [str(i) for i in range(20_000)]
    there = availability.available(hparams, ids, time_s=noon, seed=0, round_num=1)
    # Phases are uniform: half of the clients; standard deviation 71, 5 of them.
    assert abs(len(there) - 10_000) < 354
    phase = availability.phases(len(ids), seed=0)
    near_peak = np.abs(phase - 0.0) < 0.02
    assert np.isin(np.flatnonzero(near_peak), there).mean() > 0.7


def test_availability_by_a_trace_begins_again(tmp_path):
    path = trace(tmp_path, "client,start_s,end_s\nc0,0,10\nc1,5,20\nc0,15,20\n", "there.csv")
    hparams = availability.Hparams(model="trace", trace=path)
    at = lambda t: [*availability.available(hparams, IDS, time_s=t, seed=0, round_num=1)]
    assert [at(t) for t in (0, 7, 12, 16, 20, 27)] == [[0], [0, 1], [1], [0, 1], [0], [0, 1]]
    bad = availability.Hparams(model="trace", trace=trace(tmp_path, "c0,9,3\n", "bad.csv"))
    with pytest.raises(ValueError, match=r"from 9.0 to 3.0; it must end after its start"):
        availability.available(bad, IDS, time_s=0, seed=0, round_num=1)


def late_of(found):
    return {IDS[c] for c, d in zip(found.clients, found.drops, strict=True) if d}


def test_an_over_selected_round_closes_with_the_last_report_that_it_needs(tmp_path):
    world = {
        "selection": participation.Hparams(overselect=1.5),  # ceil(2.5 * 3) = 8: all of them.
        "delay": by_client(tmp_path, [9, 2, 7, 4, 8, 3, 6, 5]),
    }
    rounds = of_world(**world)
    found = rounds.round(1)
    assert sorted(found.clients) == list(range(8))
    # c1 (2 s), c5 (3 s) and c3 (4 s) are first.
    assert late_of(found) == {"c0", "c2", "c4", "c6", "c7"} and found.stragglers == 5
    assert (found.start_s, found.seconds) == (0.0, 4.0)
    assert (rounds.round(3).start_s, rounds.round(3).seconds) == (8.0, 4.0)


def test_a_deadline_closes_a_round_with_those_who_came(tmp_path):
    world = {
        "selection": participation.Hparams(overselect=1.5, round_deadline_s=3.5),
        "delay": by_client(tmp_path, [9, 2, 7, 4, 8, 3, 6, 5]),
    }
    found = of_world(**world).round(1)
    assert late_of(found) == set(IDS) - {"c1", "c5"} and found.seconds == 3.5


def test_the_share_is_rounded_up_and_not_by_floats():
    selection = participation.Hparams(overselect=0.1)
    world = {"selection": selection, "delay": delays.Hparams(model="lognormal")}
    found = of_world(10, ids=[str(i) for i in range(50)], counts=np.ones(50), **world)
    assert len(found.round(1).clients) == 11


def test_who_drops_never_reports_and_the_server_waits_for_others(tmp_path):
    world = {
        "selection": participation.Hparams(overselect=1.5, round_deadline_s=20),
        "delay": by_client(tmp_path, [9, 2, 7, 4, 8, 3, 6, 5]),
        "dropping": dropouts.Hparams(rate=0.5),
    }
    found = of_world(**world).round(1)
    dropped = {c for c in range(8) if dropouts.draw(world["dropping"], IDS[c], seed=0, round_num=1)}
    assert 0 < len(dropped) < 5
    seconds = dict(enumerate([9, 2, 7, 4, 8, 3, 6, 5]))
    counted = sorted(set(range(8)) - dropped, key=seconds.get)[:3]
    assert late_of(found) == {IDS[c] for c in set(range(8)) - set(counted)}
    assert found.stragglers == 8 - 3 - len(dropped) and found.seconds == seconds[counted[-1]]


def test_of_a_poisson_cohort_the_server_waits_for_those_that_will_not_report(tmp_path):
    world = {
        "selection": participation.Hparams(round_deadline_s=20),
        "delay": by_client(tmp_path, [9, 2, 7, 4, 8, 3, 6, 5]),
    }
    (all_there, dropping) = (
        of_world(6, how="poisson", **world, dropping=dropouts.Hparams(rate=rate)).round(2)
        for rate in (0.0, 0.5)
    )
    assert sorted(all_there.clients) == sorted(dropping.clients) and any(dropping.drops)
    assert 0 < all_there.seconds < 10 and dropping.seconds == 20


def test_rounds_are_the_same_whichever_is_asked_for_first(tmp_path):
    world = {
        "delay": delays.Hparams(model="lognormal", median_s=3600),
        "available": availability.Hparams(model="sine"),
    }
    whole = [of_world(**world).round(r) for r in range(1, 8)]
    other = of_world(**world)
    again = [other.round(r) for r in (7, 1, 4)]
    for a, b in zip([whole[6], whole[0], whole[3]], again, strict=True):
        np.testing.assert_array_equal(a.clients, b.clients)
        assert a[1:] == b[1:]
    assert whole[6].start_s == pytest.approx(sum(r.seconds for r in whole[:6]))


def test_when_few_are_there_all_of_them_are_asked_and_none_is_waited_for(tmp_path):
    path = trace(tmp_path, "c0,0,10\nc1,100,200\n", "few.csv")
    rounds = of_world(available=availability.Hparams(model="trace", trace=path))
    first, second, third = (rounds.round(r) for r in (1, 2, 3))
    assert list(first.clients) == [0] and first.available == 1
    assert list(second.clients) == [0], "no delay: no time has passed"
    world = {
        "available": availability.Hparams(model="trace", trace=path),
        "delay": by_client(tmp_path, [20] * 8),
    }
    rounds = of_world(**world)
    found = [(list(r.clients), r.start_s) for r in map(rounds.round, (1, 2, 3))]
    assert found == [([0], 0.0), ([], 20.0), ([], 80.0)], "nobody is there: a minute"
    assert list(rounds.round(4).clients) == [1]
    assert third.start_s == 0.0


@pytest.mark.parametrize(
    ("how", "world", "said"),
    [
        ("poisson", {"selection": participation.Hparams(overselect=0.3)}, "use uniform"),
        ("round_robin", {"available": availability.Hparams(model="sine")}, "separation"),
        ("uniform", {"selection": participation.Hparams(overselect=0.3)}, "nobody is late"),
        ("uniform", {"selection": participation.Hparams(round_deadline_s=9)}, "no time passes"),
    ],
)
def test_what_does_not_go_together_is_refused(how, world, said):
    with pytest.raises(ValueError, match=said):
        of_world(how=how, **world)


def test_a_trace_of_other_clients_is_refused_before_the_first_round(tmp_path):
    one = delays.Hparams(model="trace", trace=trace(tmp_path, "c0,1\n", "delays.csv"))
    with pytest.raises(ValueError, match=r"delays\.csv has no line of client 'c1'"):
        of_world(delay=one)
    path = trace(tmp_path, "x,1,2\n", "there.csv")
    with pytest.raises(ValueError, match="no line of any client; they have names like 'c0'"):
        of_world(available=availability.Hparams(model="trace", trace=path))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: participation.Hparams(overselect=-0.1), "overselect must be >= 0"),
        (lambda: participation.Hparams(round_deadline_s=float("nan")), "round_deadline_s"),
        (lambda: delays.Hparams(median_s=-1), "delay_median_s must be >= 0, got -1"),
        (lambda: availability.Hparams(mean=0), "availability_mean must be in"),
        (lambda: availability.Hparams(period_h=0), "availability_period_h must be > 0"),
    ],
)
def test_what_is_out_of_range_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
