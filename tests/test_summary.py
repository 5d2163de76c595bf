"""The comparison's table and its forms against numbers by hand."""

import csv
import io

import numpy as np
import pytest
import reporting_helpers as helpers

from tff_experiments.reporting import groups, summary, tables
from tff_experiments.reporting import runs as runs_lib

QUESTION = summary.Question("test/accuracy", higher=True, targets=[0.6, 0.9], last=20)


def table_of(*runs, question=QUESTION):
    return summary.table(groups.make(runs, metric=question.metric), question)


def two_seeds():
    return table_of(
        helpers.run(helpers.rows([0.5, 0.7, 0.8])),
        helpers.run(helpers.rows([0.6, 0.9, 0.7], **{"privacy/epsilon": 2.5}), seed="1"),
    )


def test_a_row_has_means_over_seeds_and_deviations():
    (row,) = two_seeds().rows
    assert row["final"].text == "0.7500 +- 0.0707"
    # Evaluations in the last 20 rounds: 0.7, 0.8 and 0.9, 0.7.
    assert row["last_20"].numbers["mean"] == pytest.approx((0.75 + 0.8) / 2)
    assert row["seeds"].text == "2" and row["rounds"].text == "30"
    assert row["seconds"].text == "63"
    assert (row["uplink_bytes"].text, row["downlink_bytes"].text) == ("30 kB", "60 kB")


def test_a_target_has_an_interval_where_all_reached_it_and_a_count_where_not():
    (row,) = two_seeds().rows
    reached = row["round_to_0.6"]
    assert reached.numbers["mean"] == pytest.approx((15 + 10) / 2)
    # Of two values the resampled means are the two and their middle.
    assert (reached.numbers["low"], reached.numbers["high"]) == (10, 15)
    assert reached.text == "12.5 [10.0, 15.0]"
    some = row["round_to_0.9"]
    assert some.text == "1 of 2 seeds" and np.isnan(some.numbers["mean"])
    assert row["seconds_to_0.6"].numbers["mean"] == pytest.approx((31.5 + 21) / 2)


def test_a_seed_that_diverged_has_not_reached_the_target():
    diverged = helpers.run([*helpers.rows([0.5]), helpers.row(11, **{"train/loss": None})])
    skipped = [runs_lib.Skipped(diverged.path, diverged.shortcoming, diverged)]
    of = [helpers.run(helpers.rows([0.5, 0.7]), rounds="11", seed="1")]
    (row,) = summary.table(groups.make(of, skipped, metric="test/accuracy"), QUESTION).rows
    assert row["round_to_0.6"].text == "1 of 2 seeds"
    assert row["round_to_0.9"].text == "never"


def test_no_seed_at_a_target_is_never():
    table = table_of(helpers.run(helpers.rows([0.5])))
    assert table.rows[0]["round_to_0.9"].text == "never"


def test_a_mean_of_more_rounds_than_a_run_has_is_no_number():
    question = summary.Question("test/accuracy", higher=True, last=31)
    assert "last_31" not in table_of(helpers.run(helpers.rows([0.5] * 3)), question=question).titles


def test_groups_with_and_without_a_clock_are_one_table():
    timed = helpers.rows([0.5, 0.7])
    for row in timed:
        row["time/total_s"] = 5.0 * row["round"]
    for runs in (
        [helpers.run(timed), helpers.run(helpers.rows([0.5, 0.7]), algorithm="fed_sgd")],
        [helpers.run(helpers.rows([0.5, 0.7])), helpers.run(timed, algorithm="fed_sgd")],
    ):
        lines = list(csv.DictReader(io.StringIO(tables.as_csv(table_of(*runs)))))
        assert sorted(line["simulated_seconds_to_0.6_mean"] for line in lines) == ["", "75.0"]
        reached = {line["simulated_seconds_to_0.6_reached"] for line in lines}
        assert reached == {"", "1"}
        cells = [row["simulated_seconds_to_0.6"].text for row in table_of(*runs).rows]
        assert sorted(cells) == ["-", "75.0"]


def test_epsilon_is_the_largest_that_was_spent_and_columns_of_nothing_are_left_out():
    assert "epsilon" not in table_of(helpers.run(helpers.rows([0.5]))).titles
    runs = [
        helpers.run(helpers.rows([0.5], **{"privacy/epsilon": e}), seed=s)
        for s, e in enumerate((1.25, 2.5))
    ]
    table = table_of(*runs)
    assert table.rows[0]["epsilon"].text == "2.5"
    assert "simulated_seconds" not in table.titles and "notes" not in table.titles


def test_simulated_seconds_have_columns_where_a_run_has_them():
    made = helpers.rows([0.5, 0.7])
    for each in made:
        each["time/total_s"] = 60.0 * each["round"]
    row = table_of(helpers.run(made)).rows[0]
    assert row["simulated_seconds"].text == "1,200"
    assert row["simulated_seconds_to_0.6"].text == "900.0"


def test_a_loss_is_reached_from_above():
    question = summary.Question("test/loss", higher=False, targets=[0.4])
    row = table_of(helpers.run(helpers.rows([0.5, 0.7])), question=question).rows[0]
    assert row["round_to_0.4"].text == "15.0"


def test_csv_holds_every_number_unrounded():
    text = tables.as_csv(two_seeds(), [{"algorithm": "fed_avg", "rounds": "30"}])
    (line,) = csv.DictReader(io.StringIO(text))
    assert float(line["final_std"]) == pytest.approx(np.std([0.8, 0.7], ddof=1), rel=1e-12)
    assert line["round_to_0.9_mean"] == "" and line["round_to_0.9_reached"] == "1"
    assert line["--algorithm"] == "fed_avg" and line["uplink_bytes"] == "30000.0"


def test_markdown_is_a_table_whatever_names_hold():
    group = groups.Group("a|b", [helpers.run(helpers.rows([0.5]))], notes=["x\ny"])
    lines = tables.as_markdown(summary.table([group], QUESTION)).splitlines()
    assert lines[2].startswith("| a\\|b |") and lines[2].endswith("| x y |")
    # One more bar than columns in each line, escaped ones aside.
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_text_stands_in_columns_with_notes_below():
    table = table_of(
        helpers.run(helpers.rows([0.5])), helpers.run(helpers.rows([0.7]), data="other")
    )
    lines = tables.as_text(table).splitlines()
    assert lines[0].index("seeds") + len("seeds") == lines[1].index(" 1 ") + 2
    assert lines[-1] == "other: other data: other"


@pytest.mark.parametrize(
    ("value", "text"), [(999, "999 B"), (1000, "1 kB"), (1.934e9, "1.93 GB"), (5e15, "5e+03 TB")]
)
def test_bytes_are_in_decimal_units(value, text):
    assert summary.num_bytes(value) == text
