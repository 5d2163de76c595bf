"""Answers as text, tables and pictures."""

import math
import re

import pytest

from tff_experiments.privacy import answers, plan

SMALL = plan.Hparams(num_clients=100, clients_per_round=10, rounds=20, mechanism="skellam", dim=64)


def column(table, name):
    return [getattr(row, name) for row in table.rows]


def test_a_table_over_noise_is_the_plan_at_each():
    table = answers.table(SMALL, over="noise_multiplier", values=[0.5, 1, 2], targets=[])
    for row, z in zip(table.rows, (0.5, 1.0, 2.0), strict=True):
        hparams = plan.Hparams(**{**vars(SMALL), "noise_multiplier": z})
        assert (row.value, row.planned) == (z, plan.answer(hparams).planned)
    lines = answers.table_as_text(table).splitlines()
    assert lines[0].startswith("skellam, 10 of 100 clients (poisson), 20 rounds")
    assert lines[1].split() == [
        "noise_multiplier",
        "target",
        "noise_multiplier",
        "planned",
        "actual",
    ]
    assert [line.split()[0] for line in lines[2:]] == ["0.5", "1", "2"]


def test_a_table_over_bits_has_the_noise_for_each_target_and_says_what_can_not_be():
    table = answers.table(SMALL, over="bits", values=[3, 8, 16], targets=[1.0, 5.0])
    assert column(table, "target") == [1.0] * 3 + [5.0] * 3
    assert [bool(row.refusal) for row in table.rows] == [True, False, False] * 2
    assert math.isnan(table.rows[0].noise_multiplier)
    noise = column(table, "noise_multiplier")
    assert noise[1] > noise[2] > noise[5]  # Fewer bits and a smaller epsilon take more.
    text = answers.table_as_text(table)
    assert text.count("refused (1)") == 2 and text.count("3 bits is too small") == 1


def test_a_table_over_dropout_has_planned_and_actual_side_by_side():
    table = answers.table(SMALL, over="dropout", values=[0.0, 0.2, 0.5], targets=[2.0])
    assert len(set(column(table, "planned"))) == 1
    actual = column(table, "actual")
    assert actual[0] == table.rows[0].planned and actual == sorted(set(actual))


@pytest.mark.parametrize("suffix", ["png", "svg"])
@pytest.mark.parametrize("targets", [[], [1.0, 5.0]])
def test_the_plot_is_a_picture(tmp_path, suffix, targets):
    table = answers.table(SMALL, over="bits", values=[4, 16], targets=targets)
    path = tmp_path / "new" / f"plot.{suffix}"
    answers.plot(table, path)
    assert path.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml")


def test_one_answer_says_what_a_run_has_to_be_told():
    lines = dict(
        re.split("  +", line, maxsplit=1) for line in answers.as_text(SMALL, 3.0).splitlines()
    )
    found = plan.answer(SMALL, 3.0).budget.mechanism
    assert lines["scale"] == f"{found.scale:.6g}"
    assert lines["neighbours"] == "a client's updates are replaced by zeros"
    assert lines["epsilon"] == "3"


@pytest.mark.parametrize(
    ("mechanism", "sampling", "line"),
    [
        ("gaussian", "uniform", "standard deviation"),
        ("adaptive_clipping", "poisson", "on the count"),
        ("tree_aggregation", "round_robin", "restart every"),
        ("banded_factorization", "round_robin", "bands"),
        ("local_gaussian", "weighted", "standard deviation"),
        ("discrete_gaussian", "poisson", "a client's noise"),
    ],
)
def test_every_mechanism_has_its_lines(mechanism, sampling, line):
    changes = {"mechanism": mechanism, "client_sampling": sampling, "count_stddev": 9.0}
    text = answers.as_text(plan.Hparams(**{**vars(SMALL), **changes, "dropout": 0.2}))
    assert line in text and "after 20% dropouts" in text


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(over="mechanism", values=[1], targets=[]), "--over must be one of bands, beta, bits"),
        (dict(over="bits", values=[], targets=[]), "--over=bits needs --values"),
        (dict(over="bits", values=[8.5], targets=[]), "must be whole numbers"),
        (dict(over="noise_multiplier", values=[1], targets=[1.0]), "take another --over"),
    ],
)
def test_tables_of_nothing_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        answers.table(SMALL, **kwargs)


def test_pictures_are_png_or_svg(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.png or \.svg"):
        answers.check_picture(tmp_path / "plot.pdf")


@pytest.mark.parametrize("texts", [["1", "x"], ["nan"], ["inf"], [""]])
def test_lists_are_of_numbers(texts):
    with pytest.raises(ValueError, match="--values takes numbers with commas between"):
        answers.numbers("values", texts)
