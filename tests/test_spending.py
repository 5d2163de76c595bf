"""What a run says that it spends, against the privacy room; refusals; resumed runs."""

import dataclasses
import json

import numpy as np
import pytest
from algorithm_helpers import make
from test_training import run

from tff_experiments import checkpoints, compatibility, records, runtime, spending, tasks, training
from tff_experiments.aggregation import (
    ddp_skellam,
    dp_fedavg,
    dp_ftrl,
    local_dp,
)
from tff_experiments.algorithms import fed_avg, q_ffl, scaffold
from tff_experiments.clients import dropouts, participation
from tff_experiments.privacy import plan, rules
from tff_experiments.secure_sum import secagg

RUN = {"num_clients": 10, "clients_per_round": 4, "client_sampling": "poisson", "dim": 650}
HPARAMS = training.Hparams(
    rounds=6, clients_per_round=4, client_sampling="uniform", eval_every=3, checkpoint_every=2
)


def meter_of(module, *, rounds=6, sampling="uniform", shared=None, **hparams):
    """(meter, plan) of a run."""
    shared = shared or spending.Hparams(delta=1e-2)
    own = module.Hparams(**hparams)
    made = spending.make_plan(
        shared, module.privacy(own), **RUN | {"client_sampling": sampling}, rounds=rounds
    )
    return spending.Meter(spending.make_budget(shared, made), rounds), made, own


def test_each_round_costs_what_the_privacy_room_says(tmp_path):
    meter, made, _ = meter_of(dp_fedavg, noise_multiplier=1.3, sampling="poisson")
    meter.claim(tmp_path, 0, 0)
    found = [meter.spend(4)["privacy/epsilon"] for _ in range(6)]
    wanted = [plan.build(made).planned(rounds) for rounds in range(1, 7)]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert found == sorted(found) and found[-1] == meter.planned


def test_a_round_that_is_aborted_costs_nothing_and_missing_noise_costs_more(tmp_path):
    meter, made, _ = meter_of(ddp_skellam, clip=1.0)
    meter.claim(tmp_path, 0, 0)
    first = meter.spend(4)["privacy/epsilon"]
    assert meter.spend(None) == {
        "privacy/epsilon": first,
        "privacy/delta": 1e-2,
        "privacy/arrived": rules.ABORTED,
    }
    fewer = meter.spend(3)["privacy/epsilon"]
    assert fewer == plan.build(made).spent([4, rules.ABORTED, 3])
    assert fewer > plan.build(made).spent([4, rules.ABORTED, 4])


@pytest.mark.parametrize("module", [dp_fedavg, ddp_skellam, local_dp])
def test_a_target_finds_the_noise_that_meets_it(module):
    shared = spending.Hparams(target_epsilon=3.0, delta=1e-2)
    meter, *_ = meter_of(module, shared=shared)
    assert 2.99 < meter.planned <= 3.0


def test_a_target_that_bits_can_not_give_is_refused_with_the_bits_that_would_do():
    with pytest.raises(ValueError, match="bits would do"):
        meter_of(
            ddp_skellam, bits=8, sampling="poisson", shared=spending.Hparams(target_epsilon=0.5)
        )


def test_without_noise_there_is_no_budget():
    own = dp_fedavg.Hparams(noise_multiplier=0.0)
    made = spending.make_plan(spending.Hparams(), dp_fedavg.privacy(own), rounds=6, **RUN)
    assert spending.make_budget(spending.Hparams(), made) is None


@pytest.mark.parametrize(
    ("module", "sampling", "hparams", "said"),
    [
        (dp_fedavg, "weighted", {}, "no accountant covers clients drawn by their numbers"),
        (dp_ftrl, "uniform", {}, "take client_sampling round_robin"),
        (dp_ftrl, "round_robin", {"restart_every": 5}, "take restart_every <= 2"),
        (dp_ftrl, "round_robin", {"noise": "banded", "bands": 5}, "take bands <= 2"),
    ],
)
def test_clients_that_the_accountant_does_not_cover_are_refused(module, sampling, hparams, said):
    with pytest.raises(ValueError, match=said):
        meter_of(module, sampling=sampling, **hparams)


def test_a_modulus_too_small_for_the_cohort_is_refused_with_the_bits_that_would_do():
    own = ddp_skellam.Hparams(bits=8)
    made = spending.make_plan(
        spending.Hparams(),
        ddp_skellam.privacy(own),
        **RUN | {"num_clients": 10_000, "clients_per_round": 5000},
        rounds=1,
    )
    with pytest.raises(ValueError, match="a modulus of 8 bits is too small for 5000 clients"):
        spending.make_budget(spending.Hparams(), made)


CHECK = {
    "algorithm": "fed_avg",
    "needs": fed_avg.NEEDS,
    "hparams": fed_avg.Hparams(weighting="uniform"),
    "aggregator": "dp_fedavg",
    "runtime": "local",
    "all_are_there": True,
    "nobody_is_late": True,
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hparams": fed_avg.Hparams()}, "use --fed_avg_weighting=uniform"),
        ({"algorithm": "q_ffl", "needs": q_ffl.NEEDS}, "needs a weighted mean"),
        ({"needs": dataclasses.replace(fed_avg.NEEDS, cohort="buffered")}, "came back first"),
        ({"runtime": "native"}, "use --runtime=local"),
        ({"all_are_there": False}, "use --availability_model=always"),
        ({"nobody_is_late": False}, "leave --overselect and --round_deadline_s out"),
    ],
)
def test_wrong_uses_are_refused_with_the_way_out(changes, said):
    compatibility.check_private(**CHECK)
    with pytest.raises(ValueError, match=said):
        compatibility.check_private(**CHECK | changes)


def test_an_algorithm_that_sends_more_than_one_vector_is_refused():
    with pytest.raises(ValueError, match="sends delta, control"):
        scaffold.build(scaffold.Hparams(), make(private=True))


@pytest.fixture(scope="module")
def linear(ten_clients):
    return tasks.digits_linear.build(tasks.digits_linear.Hparams(), data=ten_clients, seed=0)


def private_run(
    path, linear, data, *, module=ddp_skellam, rounds=6, until=None, on_round=None, **kwargs
):
    """Runs, or goes on; returns its rows."""
    meter, made, own = meter_of(module, rounds=rounds, **kwargs)
    meter = spending.Meter(meter.budget, rounds, repeatable=True)
    ingredients = dataclasses.replace(
        make(model_fn=linear.model_fn, num_clients=10),
        aggregator=module.build(own, meter.budget.mechanism, made),
        metrics_aggregator=module.METRICS_AGGREGATOR,
        private=True,
    )
    process = fed_avg.build(fed_avg.Hparams(weighting="uniform"), ingredients)
    hparams = dataclasses.replace(
        HPARAMS, rounds=rounds, client_sampling=kwargs.get("sampling", "uniform")
    )

    def stop(row):
        if on_round:
            on_round(row)
        if row["round"] == until:
            raise KeyboardInterrupt

    protocol = secagg.build(secagg.Hparams()) if module is ddp_skellam else None
    world = participation.World(dropping=dropouts.Hparams(rate=0.15, stage="before_upload"))
    with runtime.use(seed_noise=5, secure_sum=protocol) as context:
        assert context.draws_noise(process)
        args = process, linear, data, hparams, context
        run(path, *args, world=world, meter=meter, on_round=stop)
    return records.read_metrics(path)


def test_a_resumed_run_has_spent_what_an_uninterrupted_one_has(linear, ten_clients, tmp_path):
    """Under SecAgg, with clients that drop out: who arrived is taken from the rounds' rows."""
    whole = private_run(tmp_path / "whole", linear, ten_clients)
    with pytest.raises(KeyboardInterrupt):
        private_run(tmp_path / "cut", linear, ten_clients, until=3)
    rows = private_run(tmp_path / "cut", linear, ten_clients)
    names = ("privacy/epsilon", "privacy/delta", "privacy/arrived", "train/dropouts")
    assert [[row[n] for n in names] for row in rows] == [[row[n] for n in names] for row in whole]
    arrived = [row["privacy/arrived"] for row in rows]
    assert min(arrived) < 4 and rows[-1]["train/loss"] == whole[-1]["train/loss"]
    meter, *_ = meter_of(ddp_skellam)
    full = [rules.ABORTED if m == rules.ABORTED else 4 for m in arrived]
    assert rows[-1]["privacy/epsilon"] == meter.budget.spent(arrived) > meter.budget.spent(full)


def test_a_round_killed_between_its_checkpoint_and_its_record_is_recorded_on_resume(
    linear, ten_clients, tmp_path, monkeypatch
):
    """It can't be drawn anew; round 3 and the last, 6, are evaluated, by client too."""
    hparams = dataclasses.replace(HPARAMS, eval_clients=True)
    monkeypatch.setitem(globals(), "HPARAMS", hparams)
    whole = private_run(tmp_path / "whole", linear, ten_clients, module=dp_fedavg)
    record = records.RunFolder.record

    def killed_at(round_num):
        def kill(folder, row, of_clients):
            if row["round"] == round_num:
                raise RuntimeError("killed")
            record(folder, row, of_clients)

        return kill

    for round_num in (3, 6):
        with monkeypatch.context() as during:
            during.setattr(records.RunFolder, "record", killed_at(round_num))
            with pytest.raises(RuntimeError, match="killed"):
                private_run(tmp_path / "cut", linear, ten_clients, module=dp_fedavg)
    rows = private_run(tmp_path / "cut", linear, ten_clients, module=dp_fedavg)
    assert [list(row) for row in rows] == [list(row) for row in whole]
    other = {k for a, b in zip(rows, whole, strict=True) for k in a if a[k] != b[k]}
    assert {name for name in other if "seconds" not in name} <= {"memory/peak_bytes"}
    tables = [(tmp_path / name / records.CLIENTS_FILE).read_text() for name in ("whole", "cut")]
    assert tables[0] == tables[1] and tables[0].startswith("round,client,")


def test_a_run_that_goes_on_with_other_noise_is_refused(linear, ten_clients, tmp_path):
    private_run(tmp_path, linear, ten_clients, module=dp_fedavg, rounds=2)
    private_run(tmp_path, linear, ten_clients, module=dp_fedavg, rounds=3)
    with pytest.raises(ValueError, match="began with other noise"):
        private_run(tmp_path, linear, ten_clients, module=dp_fedavg, rounds=4, noise_multiplier=0.5)
    with pytest.raises(ValueError, match="began with other noise"):
        private_run(
            tmp_path, linear, ten_clients, module=dp_fedavg, rounds=4,
            shared=spending.Hparams(target_epsilon=3.0, delta=1e-2),
        )  # fmt: skip
    assert json.loads((tmp_path / spending.NOISE).read_text())["delta"] == 1e-2


def test_banded_noise_is_of_as_many_rounds_as_it_was_made_for(tmp_path):
    for rounds in (6, 9):
        meter, *_ = meter_of(dp_ftrl, noise="banded", sampling="round_robin", rounds=rounds)
        if rounds == 6:
            meter.claim(tmp_path, 0, 0)
    with pytest.raises(ValueError, match="began with other noise"):
        meter.check(tmp_path)


def test_a_round_that_was_seen_is_not_released_a_second_time(tmp_path):
    """The checkpoints of rounds 3 and 4 are lost: to draw these again would cost twice."""
    meter, *_ = meter_of(dp_fedavg)
    meter.claim(tmp_path, 0, 0)
    for _ in range(4):
        meter.spend(4)
    again, *_ = meter_of(dp_fedavg)
    with pytest.raises(ValueError, match="checkpoint is of round 2, and round 4 was seen"):
        again.claim(tmp_path, 2, 4)
    again.claim(tmp_path, 4, 4)
    assert again.spend(4)["privacy/epsilon"] == again.budget.spent([4] * 5)


def test_a_line_that_was_cut_is_of_a_round_that_was_not_released(tmp_path):
    meter, *_ = meter_of(dp_fedavg)
    meter.claim(tmp_path, 0, 0)
    meter.spend(4)
    ledger = tmp_path / spending.LEDGER
    whole = ledger.read_text()
    ledger.write_text(whole + '{"round": 2, "arr')
    again, *_ = meter_of(dp_fedavg)
    again.claim(tmp_path, 1, 1)
    again.spend(3)
    assert ledger.read_text() == whole + '{"round": 2, "arrived": 3}\n'
    assert [path.stat().st_mode & 0o077 for path in tmp_path.iterdir()] == [0, 0]


def test_a_round_that_nobody_saw_is_drawn_anew_and_counted_once(tmp_path):
    """Killed after round 3 was drawn, and before its checkpoint: it has no row either."""
    meter, *_ = meter_of(ddp_skellam)
    meter.claim(tmp_path, 0, 0)
    for arrived in (4, 3, 2):
        meter.spend(arrived)
    again, *_ = meter_of(ddp_skellam)
    again.claim(tmp_path, 2, 2)
    assert again.spend(4)["privacy/epsilon"] == again.budget.spent([4, 3, 4])
    third, *_ = meter_of(ddp_skellam)
    third.claim(tmp_path, 3, 3)
    assert third.spend(None)["privacy/epsilon"] == third.budget.spent([4, 3, 4])


def test_a_ledger_with_a_hole_is_refused(tmp_path):
    meter, *_ = meter_of(dp_fedavg)
    meter.claim(tmp_path, 0, 0)
    meter.spend(4)
    with pytest.raises(ValueError, match="lacks round 2"):
        meter_of(dp_fedavg)[0].claim(tmp_path, 2, 2)


def test_cohorts_are_drawn_from_a_secret_of_the_run_and_not_from_its_seed(tmp_path):
    seeds = []
    for name in ("one", "other", "one"):
        (tmp_path / name).mkdir(exist_ok=True)
        meter, *_ = meter_of(dp_fedavg)
        meter.claim(tmp_path / name, 0, 0)
        seeds.append(meter.cohort_seed)
    assert seeds[0] == seeds[2] != seeds[1] and max(seeds) > 2**64
    assert (tmp_path / "one" / spending.NOISE).stat().st_mode & 0o077 == 0
    repeatable = spending.Meter(meter.budget, 6, repeatable=True)
    (tmp_path / "third").mkdir()
    repeatable.claim(tmp_path / "third", 0, 0)
    assert repeatable.cohort_seed is None


def test_a_private_run_has_each_round_on_disk_before_it_is_seen(linear, ten_clients, tmp_path):
    seen = []

    def look(row):
        seen.append((row["round"], checkpoints.rounds(tmp_path / "checkpoints")[-1]))

    private_run(tmp_path, linear, ten_clients, module=dp_fedavg, rounds=3, on_round=look)
    assert seen == [(1, 1), (2, 2), (3, 3)]


def test_correlated_noise_and_local_noise_run_with_their_sampling(linear, ten_clients, tmp_path):
    for module, kwargs in (
        (dp_ftrl, {"sampling": "round_robin"}),
        (dp_ftrl, {"sampling": "round_robin", "noise": "banded"}),
        (local_dp, {}),
    ):
        name = f"{module.__name__}_{len(kwargs)}"
        rows = private_run(tmp_path / name, linear, ten_clients, module=module, **kwargs)
        _, made, _ = meter_of(module, **kwargs)
        wanted = [plan.build(made).planned(number) for number in range(1, 7)]
        assert [row["privacy/epsilon"] for row in rows] == wanted


@pytest.mark.parametrize("changes", [{"target_epsilon": -1.0}, {"delta": 1.0}])
def test_what_is_out_of_range_is_refused(changes):
    with pytest.raises(ValueError, match="must be"):
        spending.Hparams(**changes)
