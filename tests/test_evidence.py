"""Runs that are there -> a row's number, or why they are not of the row."""

import functools
import json
import math
import re

import numpy as np
import pytest
import reporting_helpers
from test_published import ENTRIES, of

from tff_experiments.reproduction import evidence, plans, verdicts
from tff_experiments.reproduction.published import Computed

CELL = "mcmahan2017/table2/iid_e5_b10"
MNIST = "mnist, 100 clients (iid), 60,000 train / 10,000 test examples"
EMNIST = "emnist-62, 3,400 clients (natural), 671,585 train / 77,483 test examples"
FEMNIST = "npz femnist, 396 clients (natural), 54,109 train / 6,250 test examples"


def rows(accuracies, every=1):
    return [
        {"round": every * (i + 1), "test/accuracy": value, "test/loss": 1 - value}
        for i, value in enumerate(accuracies)
    ]


def write(folder, name, accuracies, *, data=MNIST, stand_in=False, every=1, rounds=None, **flags):
    """A run's folder with the flags of a row, changed as told."""
    told = plans.flags(of(name), stand_in=stand_in) | {"seed": "0"} | flags
    of_rows = rows(accuracies, every)
    told["rounds"] = str(rounds or of_rows[-1]["round"])
    made = reporting_helpers.write(folder, of_rows, data=data)
    lines = [f"--{flag}={value}" for flag, value in told.items()]
    (made / "flags.txt").write_text("\n".join(lines) + "\n")
    return made


def find(name, root, stand_in=False):
    return evidence.find(of(name), str(root), stand_in=stand_in)


def test_the_rate_with_the_fewest_rounds_counts_and_the_others_are_told(tmp_path):
    folder = tmp_path / of(CELL).folder
    write(folder / "a", CELL, [0.9, 0.98, 0.995], client_learning_rate="0.1")
    write(folder / "b", CELL, [0.9, 0.95, 0.98, 0.99], client_learning_rate="0.0464")
    write(folder / "c", CELL, [0.5, 0.6], client_learning_rate="0.2154", rounds=9)
    found, left_out = find(CELL, tmp_path)
    # From 0.98 at round 2 to 0.995 at 3, 0.99 is two thirds of the way.
    assert found.value == pytest.approx(2 + 2 / 3) and found.best == "0.1" and found.seeds == 1
    assert found.note == "other rates: 0.0464: 4.0, 0.2154: not in 2"
    assert math.isnan(found.std) and left_out == []


def test_seeds_are_averaged_and_a_rate_needs_all_of_its_seeds(tmp_path):
    folder = tmp_path / of(CELL).folder
    write(folder / "a", CELL, [0.9, 0.99], client_learning_rate="0.1")
    write(folder / "b", CELL, [0.9, 0.9, 0.9, 0.99], client_learning_rate="0.1", seed="1")
    write(folder / "c", CELL, [0.99], client_learning_rate="0.2154")
    write(folder / "d", CELL, [0.9] * 5, client_learning_rate="0.2154", seed="1")
    found, _ = find(CELL, tmp_path)
    assert (found.value, found.seeds, found.best) == (3.0, 2, "0.1")
    assert found.std == pytest.approx(np.std([2, 4], ddof=1))
    assert "0.2154: not in 5" in found.note and "edge" in found.note


def test_a_search_in_which_no_rate_got_there_is_evidence_without_a_number(tmp_path):
    write(tmp_path / of(CELL).folder / "a", CELL, [0.9, 0.91])
    found, _ = find(CELL, tmp_path)
    assert math.isnan(found.value) and found.best == ""
    assert verdicts.verdict(verdicts.Found(of(CELL), found), stand_in=False) == "not reached"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": "20"}, "--batch_size is 20, not 10"),
        ({"partition": "label_shards"}, "--partition is label_shards, not iid"),
        ({"dropout_rate": "0.1"}, "--dropout_rate is 0.1, not 0"),
        ({"target_epsilon": "3"}, "--target_epsilon is 3, not 0"),
        ({"aggregator": "krum"}, "--aggregator is krum, not mean"),
        ({"data": FEMNIST}, "on other data than the paper's data (npz femnist"),
    ],
)
def test_runs_of_another_setting_are_left_out_with_the_reason(tmp_path, changed, message):
    write(tmp_path / of(CELL).folder / "a", CELL, [0.99], **changed)
    found, left_out = find(CELL, tmp_path)
    assert found is None and len(left_out) == 1 and message in left_out[0]


def test_spelling_of_numbers_and_how_often_was_evaluated_do_not_matter(tmp_path):
    spelled = {"client_momentum": "0.0", "batch_size": "10", "eval_every": "7", "eval_clients": "x"}
    write(tmp_path / of(CELL).folder / "a", CELL, [0.99], **spelled)
    assert find(CELL, tmp_path)[0].value == 1


def test_a_broken_run_is_left_out(tmp_path):
    folder = write(tmp_path / of(CELL).folder / "a", CELL, [0.99])
    (folder / "run.json").write_text("{")
    found, left_out = find(CELL, tmp_path)
    assert found is None and "run.json is not JSON" in left_out[0]


def test_the_mean_is_over_the_last_hundred_rounds_of_whole_runs(tmp_path):
    name = "reddi2021/recognition/fed_avg"
    accuracies = [0.1] * 140 + [0.8, 0.9] * 5
    write(tmp_path / of(name).folder / "seed_0", name, accuracies, data=EMNIST, every=10)
    write(
        tmp_path / of(name).folder / "seed_1", name, accuracies[:90], data=EMNIST, every=10,
        seed="1",
    )  # fmt: skip
    found, _ = find(name, tmp_path)
    assert found.value == pytest.approx(85.0) and found.seeds == 1
    assert found.note == "seed 1: 900 rounds"


def test_a_seed_that_diverged_leaves_no_mean(tmp_path):
    name = "reddi2021/recognition/fed_avg"
    folder = tmp_path / of(name).folder
    write(folder / "seed_0", name, [0.849] * 150, data=EMNIST, every=10)
    bad = write(folder / "seed_1", name, [0.5] * 3, data=EMNIST, every=10, rounds=1500, seed="1")
    with (bad / "metrics.jsonl").open("a") as file:
        file.write('{"round": 31, "train/loss": null}\n')
    found, _ = find(name, tmp_path)
    assert math.isnan(found.value) and "seed 1: diverged in round 31" in found.note
    assert verdicts.verdict(verdicts.Found(of(name), found), stand_in=False) == "diverged"


def test_the_same_seed_counts_once(tmp_path):
    folder = tmp_path / of(CELL).folder
    write(folder / "a", CELL, [0.9, 0.99], client_learning_rate="0.1")
    write(folder / "b", CELL, [0.99], client_learning_rate="0.2154")
    write(folder / "c", CELL, [0.9, 0.99], client_learning_rate="0.1")
    found, left_out = find(CELL, tmp_path)
    assert left_out == [f"{folder}/c: the same seed as {folder}/a"]
    assert found.note.startswith("other rates: 0.1: 2.0;")


def test_rounds_beyond_the_papers_do_not_count(tmp_path):
    name = "reddi2021/recognition/fed_avg"
    longer = [0.8] * 150 + [0.9] * 50
    write(tmp_path / of(name).folder / "seed_0", name, longer, data=EMNIST, every=10)
    assert find(name, tmp_path)[0].value == pytest.approx(80.0)
    # What became of it beyond them does not count either.
    flags = tmp_path / of(name).folder / "seed_0" / "flags.txt"
    flags.write_text(flags.read_text().replace("--rounds=2000", "--rounds=3000"))
    assert find(name, tmp_path)[0].value == pytest.approx(80.0)


def test_a_run_that_was_evaluated_beyond_the_papers_rounds_only_has_no_number(tmp_path):
    name = "reddi2021/recognition/fed_avg"
    write(tmp_path / of(name).folder / "seed_0", name, [0.9], data=EMNIST, every=3000)
    found, _ = find(name, tmp_path)
    assert math.isnan(found.value) and found.note == "no evaluation up to the paper's rounds"


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("emnist_cnn_dropout", "false"),
        ("overselect", "0.3"),
        ("canary_count", "5"),
        ("on_client_error", "drop"),
    ],
)
def test_a_run_with_what_the_config_is_silent_about_is_not_of_the_row(tmp_path, flag, value):
    name = "reddi2021/recognition/fed_avg"
    accuracies = [0.8] * 150
    write(
        tmp_path / of(name).folder / "a", name, accuracies, data=EMNIST, every=10, **{flag: value}
    )
    found, left_out = find(name, tmp_path)
    assert found is None and f"--{flag} is {value}, not " in left_out[0]


def test_a_stand_in_counts_only_where_it_is_asked_for_and_has_no_verdict(tmp_path):
    name = "reddi2021/recognition/fed_avg"
    write(
        tmp_path / of(name).folder / "seed_0", name, [0.85] * 40, data=FEMNIST, every=10,
        stand_in=True, dataset="npz",
    )  # fmt: skip
    found, left_out = find(name, tmp_path)
    assert found is None and "on other data than" in left_out[0]
    found, _ = find(name, tmp_path, stand_in=True)
    row = verdicts.Found(of(name), found)
    assert verdicts.verdict(row, stand_in=True) == "stand-in"
    first, *_ = verdicts.heading([row], of(name).table, stand_in=True)
    assert first.startswith("STAND-IN DATA, not the paper's (federated EMNIST, 62 classes")
    cells = verdicts.table([row], stand_in=True).rows[0]
    assert "ratio" not in cells and cells["published"].text == "84.9 (R)"
    # The paper's own data are no stand-in.
    write(tmp_path / "x" / of(name).folder / "s", name, [0.85] * 40, data=EMNIST, stand_in=True)
    assert find(name, tmp_path / "x", stand_in=True)[0] is None


def found_with(name, value):
    return verdicts.Found(of(name), computed=Computed(value))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (CELL, 26.0, "inside"),
        (CELL, 26.1, "outside"),
        ("reddi2021/recognition/fed_avg", 85.4, "inside"),
        ("reddi2021/recognition/fed_avg", 85.41, "outside"),
        ("bonawitz2017/communication/formula_2^10_2^20", 1.7349, "inside"),
        ("bonawitz2017/communication/active_2^10_2^20", 9.0, "no band"),
        ("kairouz2021/utility/discrete_gaussian_e10_b12", 0.4, "inside"),
        ("kairouz2021/utility/skellam_e10_b16", 0.97, "outside"),
    ],
)
def test_a_verdict_is_whether_ours_is_within_the_band(name, value, expected):
    assert verdicts.verdict(found_with(name, value), stand_in=False) == expected


def test_ours_is_told_to_the_published_digits():
    told = lambda name, value: verdicts.table([found_with(name, value)], stand_in=False)
    ours = lambda name, value: told(name, value).rows[0]["ours"].text
    assert ours("kairouz2021/noise/skellam_e3_b16", 1.858123) == "1.8581"
    assert ours("kairouz2021/noise/skellam_e10_b16", 0.89381) == "0.8938"
    assert ours(CELL, 21.71428) == "21.71"


def test_a_row_may_be_a_ratio_to_another_row():
    name = "kairouz2021/utility/skellam_e10_b16"
    made = lambda value: evidence.Evidence(value, math.nan, 1, False, "", "", EMNIST, None)
    row = verdicts.Found(of(name), made(0.66), beside=made(0.75))
    assert row.value == pytest.approx(0.88)
    assert verdicts.table([row], stand_in=False).rows[0]["published"].text == "matches it (R)"
    assert math.isnan(verdicts.Found(of(name), made(0.66)).value)


@functools.cache
def kept():
    """Row -> what its published runs say, of all rows of McMahan's that were run."""
    root = plans.REPO / "results"
    entries = [e for e in ENTRIES if e.paper.key == "mcmahan2017" and (root / e.folder).is_dir()]
    return {entry: evidence.find(entry, str(root), stand_in=False) for entry in entries}


def test_the_published_runs_give_what_was_measured():
    # By the paper's rule written out over the files' lines.
    assert len(kept()) >= 12
    for entry, (found, left_out) in kept().items():
        target, rounds = entry.table.rule.target, []
        for path in found.where.glob("*.jsonl"):
            best, at = 0.0, 0
            for line in path.read_text().splitlines()[1:]:
                row = json.loads(line)
                if row["test/accuracy"] >= target:
                    share = (target - best) / (row["test/accuracy"] - best)
                    rounds.append(at + share * (row["round"] - at))
                    break
                best, at = max(best, row["test/accuracy"]), row["round"]
        assert found.value == pytest.approx(min(rounds)) and left_out == []


def test_results_and_the_readme_say_what_the_published_runs_give():
    told = {
        f"| {found.value:.1f} | {found.value / entry.row.published:.2f} |": found.best
        for entry, (found, _) in kept().items()
    }
    text = (plans.REPO / "RESULTS.md").read_text()
    section = text[text.index("## McMahan et al. 2017") :]
    lines = [line for line in section.splitlines() if re.match(r"\| Table \d, ", line)]
    assert len(lines) == len(told)
    for numbers, rate in told.items():
        (line,) = [line for line in lines if numbers in line]
        ratio = float(numbers.split()[3])
        verdict = "inside" if 1 / 1.3 <= ratio <= 1.3 else "outside"
        assert f"{numbers} {verdict} | {rate} |" in line
    readme = (plans.REPO / "README.md").read_text()
    table = readme[readme.index("| McMahan et al. 2017") :].split("\n\n")[0].splitlines()[2:]
    assert len(table) >= 4 and all(line.endswith(tuple(told)) for line in table)
