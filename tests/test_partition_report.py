"""The partition report against counts by hand."""

import numpy as np
import pytest

from tff_experiments.datasets import partition_report


def test_skew_is_the_total_variation_between_a_clients_labels_and_all(tiny):
    np.testing.assert_array_equal(partition_report.label_counts(tiny), [[0, 1], [1, 1], [2, 1]])
    summary = partition_report.summarize(tiny)
    # All clients together hold both labels equally often.
    assert summary["skew_mean"] == pytest.approx((1 / 2 + 0 + 1 / 6) / 3)
    assert summary["skew_max"] == pytest.approx(1 / 2)
    assert (summary["examples_min"], summary["examples_median"], summary["examples_max"]) == (
        1,
        2,
        3,
    )
    assert summary["labels_mean"] == pytest.approx(5 / 3)


def test_the_text_names_the_data(tiny):
    assert partition_report.as_text(tiny).startswith("data      tiny, 3 clients (natural), 6 train")


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_plot_is_a_picture(tiny, ten_clients, tmp_path, suffix):
    for data in (tiny, ten_clients):
        path = tmp_path / "new" / f"{data.name}.{suffix}"
        partition_report.plot(data, path)
        assert path.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml")
