"""Pictures are drawn, the same runs give the same bytes, and what is drawn is the mean."""

import re
import xml.etree.ElementTree as ET

import matplotlib.image
import numpy as np
import pytest
import reporting_helpers as helpers

from tff_experiments.reporting import drawn, groups, plots

SPREAD = {f"test/clients/accuracy/{n}": v for n, v in
          {"mean": 0.7, "p10": 0.4, "p90": 0.9, "worst_decile": 0.3}.items()}  # fmt: skip


def drawing(*, kept=(), **metrics):
    """Two algorithms of two seeds; those in `kept` have clients with 0.2 and 0.6 + seed / 10."""
    runs = [
        helpers.run(
            helpers.rows([0.5 + seed / 10, 0.7, 0.8], **metrics), seed=str(seed), algorithm=a,
            clients={"test/accuracy": np.array([0.2, 0.6 + seed / 10])} if a in kept else None,
        )
        for a in ("fed_avg", "fed_adam")
        for seed in (0, 1)
    ]  # fmt: skip
    return drawn.make(groups.make(runs, metric="test/accuracy"), "test/accuracy")


def test_what_is_drawn_is_each_groups_mean_on_every_axis_that_is_known():
    made = drawing()
    assert made.metrics == ["test/accuracy", "test/loss"]
    assert made.axes == ["round", "seconds", "uplink_bytes", "downlink_bytes"]
    assert [line.label for line in made.lines] == ["fed_avg", "fed_adam"]
    np.testing.assert_allclose(made.lines[0].curves["test/accuracy"].mean, [0.55, 0.7, 0.8])
    assert "simulated_seconds" in drawing(**{"time/total_s": 1.0}).axes


def test_the_title_is_of_what_can_be_compared():
    labels = {"iid": "mnist, 100 clients (iid), 60,000 train"}
    labels["shards"] = labels["iid"].replace("iid", "label_shards")
    runs = [
        helpers.run(helpers.rows([0.5]), data=data) for data in (helpers.DATA, *labels.values())
    ]
    title = lambda of: drawn.make(groups.make(of, metric="test/accuracy"), "test/accuracy").title
    assert title(runs) == "mnist, 60,000 train"
    assert title(runs[1:2]) == labels["iid"]


def test_axes_and_the_loss_can_be_chosen():
    of = groups.make([helpers.run(helpers.rows([0.5]))], metric="test/accuracy")
    made = drawn.make(of, "test/accuracy", axes=["uplink_bytes", "round"], loss=False)
    assert made.axes == ["uplink_bytes", "round"] and made.metrics == ["test/accuracy"]
    # Nobody measured simulated seconds.
    with pytest.raises(ValueError, match="--axes must be of round, seconds, uplink_bytes, downl"):
        drawn.make(of, "test/accuracy", axes=["simulated_seconds"])


def test_curves_are_written_as_png_and_svg_with_both_names(tmp_path):
    png, svg = plots.curves(drawing(), tmp_path / "new" / "curves")
    image = matplotlib.image.imread(png)
    assert image.shape[1] > 1000 and image.std() > 0.05
    texts = svg.read_text()
    ET.fromstring(texts)
    assert "<!-- fed_avg -->" in texts and "<!-- fed_adam -->" in texts


def test_the_same_runs_give_the_same_files(tmp_path):
    first, second = (plots.curves(drawing(), tmp_path / name) for name in ("a", "b"))
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_the_spread_over_clients_is_drawn_where_there_is_one(tmp_path):
    assert plots.clients(drawing(), tmp_path / "clients") == []
    made = drawing(**SPREAD)
    assert made.lines[0].clients == pytest.approx(
        {"p10": 0.4, "p90": 0.9, "mean": 0.7, "worst_decile": 0.3}
    )
    assert [path.suffix for path in plots.clients(made, tmp_path / "clients")] == [".png", ".svg"]


def test_shares_of_clients_are_drawn_where_they_were_kept_and_bars_where_not(tmp_path):
    made = drawing(kept=["fed_adam"], **SPREAD)
    bars, shares = made.lines
    assert bars.shares is None and bars.clients and not shares.clients
    np.testing.assert_allclose(shares.shares.x["value"][::2], [0.2, 0.6, 0.7])
    np.testing.assert_allclose(shares.shares.mean[1::2], [0.5, 0.75, 1])
    assert [text.endswith("(runs without clients.csv)") for text in made.clients_titles] == [0, 1]
    png, svg = plots.clients(made, tmp_path / "clients")
    texts = svg.read_text()
    # A title that is too long for its figure goes on in another line.
    told = " ".join(re.findall("<!-- (.*) -->", texts))
    assert all(text in told for text in (*made.clients_titles, "share of clients"))
    assert texts.count("<!-- accuracy of clients -->") == 2
    assert matplotlib.image.imread(png).std() > 0.05
    whole = drawing(kept=["fed_adam", "fed_avg"], **SPREAD)
    assert len(whole.clients_titles) == 1 and "clients.csv" not in whole.clients_titles[0]
    assert plots.clients(whole, tmp_path / "whole")


def test_personal_metrics_are_drawn_from_their_own_column():
    clients = {"test/accuracy": np.array([0.1]), "personal/accuracy": np.array([0.9])}
    rows = helpers.rows([0.5], **{"personal/accuracy/mean": 0.9})
    groups_of = groups.make([helpers.run(rows, clients=clients)], metric="personal/accuracy/mean")
    made = drawn.make(groups_of, "personal/accuracy/mean")
    assert set(made.lines[0].shares.x["value"]) == {0.9}
    assert made.of_clients == "personal/accuracy of clients"


def test_a_ninth_group_has_a_first_colour_with_other_dashes_and_what_can_t_be_compared_is_dashed():
    rates = [str(rate / 10) for rate in range(9)]
    runs = [helpers.run(helpers.rows([0.5]), client_learning_rate=rate) for rate in rates]
    runs.append(helpers.run(helpers.rows([0.5]), data="other"))
    lines = drawn.make(groups.make(runs, metric="test/accuracy"), "test/accuracy").lines
    assert len({(line.color, line.dash) for line in lines}) == 10
    assert lines[8].color == lines[0].color
    assert lines[9].dash == "dash" and lines[9].label.endswith("(not comparable)")
