"""Private runs as a user starts them: what they print, spend, keep and refuse; kill -9."""

import json
import signal
import time

import pytest
from test_run import RUN, run, start, wait_until

from tff_experiments import records
from tff_experiments.privacy import plan

PRIVATE = [*RUN, "--fed_avg_weighting=uniform", "--clients_per_round=5", "--eval_every=2"]
SKELLAM = [*PRIVATE, "--aggregator=ddp_skellam", "--secure_sum=secagg"]


def test_a_distributed_run_meets_its_target_and_says_for_whom(tmp_path):
    out_dir = f"--output_dir={tmp_path}/run"
    flags = ["--rounds=4", "--target_epsilon=5", "--delta=0.01", "--canary_count=20"]
    code, out, err = run([*SKELLAM, *flags, out_dir])
    assert code == 0, err
    said = dict(line.split("  ", 1) for line in out.splitlines())
    assert said["epsilon"].strip().endswith("at delta 0.01, 5 were planned")
    assert said["it holds where"].strip() == "a client is added or removed"
    assert "epsilon 5" in err.splitlines()[-1]
    rows = records.read_metrics(tmp_path / "run")
    wanted = plan.Hparams(
        mechanism="skellam", num_clients=20, clients_per_round=5, client_sampling="uniform",
        delta=0.01, clip=0.1, dim=650, rounds=4,
    )  # fmt: skip
    budget = plan.answer(wanted, 5.0).budget
    found = [row["privacy/epsilon"] for row in rows]
    assert found == [budget.planned(number) for number in range(1, 5)]
    assert rows[-1]["audit/canaries"] >= 5
    # More rounds would need other noise: refused, and nothing is lost.
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    code, _, err = run([*SKELLAM, "--rounds=5", *flags[1:], out_dir])
    assert code == 2 and "began with other noise" in err and len(err.splitlines()) == 1
    assert before == {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}


def test_a_private_run_that_is_killed_goes_on_and_has_counted_each_round_once(tmp_path):
    command = [*PRIVATE, "--aggregator=dp_fedavg", "--rounds=400", f"--output_dir={tmp_path}"]
    process = start(command)
    ledger = tmp_path / "privacy.jsonl"
    wait_until(lambda: ledger.exists() and len(ledger.read_text().splitlines()) > 20)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(0.1)
    code, _, err = run(command)
    assert code == 0, err
    rows = records.read_metrics(tmp_path)
    assert [row["round"] for row in rows] == [*range(1, 401)]
    wanted = plan.Hparams(
        mechanism="gaussian", num_clients=20, clients_per_round=5, client_sampling="uniform",
        noise_multiplier=1.0, clip=0.1, rounds=400,
    )  # fmt: skip
    assert rows[-1]["privacy/epsilon"] == plan.build(wanted).planned(400)


def test_two_runs_of_a_seed_have_other_cohorts_and_other_noise(tmp_path):
    flags = ["--aggregator=dp_fedavg", "--rounds=3", "--seed=1", "--client_sampling=poisson"]
    found = []
    for name in ("one", "other", "seeded", "again"):
        more = ["--seed_noise=4"] if name in ("seeded", "again") else []
        command = [*PRIVATE, *flags, *more, f"--output_dir={tmp_path}/{name}"]
        code, out, err = run(command, fresh=name == "again")
        assert code == 0, err
        assert ("NOWHERE" in out) == bool(more)
        rows = records.read_metrics(tmp_path / name)
        found.append([row["train/num_examples"] for row in rows] + [rows[-1]["test/loss"]])
    assert found[2] == found[3] and found[0] != found[1] and found[0][:3] != found[1][:3]
    secret = json.loads((tmp_path / "one" / "privacy.json").read_text())["cohort_secret"]
    assert len(secret) == 32


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--target_epsilon=3"], "--aggregator=mean is not differentially private"),
        (["--aggregator=dp_fedavg", "--fed_avg_weighting=examples"], "_weighting=uniform"),
        (["--aggregator=dp_fedavg", "--runtime=native"], "use --runtime=local"),
        (["--aggregator=dp_fedavg", "--secure_sum=secagg"], "in the clear"),
        (["--aggregator=dp_fedavg", "--delay_model=lognormal", "--overselect=0.3"], "--overselect"),
        (
            ["--aggregator=dp_fedavg", "--algorithm=fed_buff", "--fed_buff_weighting=uniform"],
            "came back first",
        ),
        (["--canary_count=20", "--algorithm=k_means"], "--canary_count"),
    ],
)
def test_what_can_not_be_accounted_for_is_one_clear_line(flags, said, tmp_path):
    code, _, err = run([*PRIVATE, "--rounds=2", *flags, f"--output_dir={tmp_path}/run"])
    assert code != 0 and said in err, err
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
