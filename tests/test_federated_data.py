"""The data interface: grouping, laziness, errors."""

import time

import numpy as np
import pytest

from tff_experiments.datasets import cache, federated_data


def test_a_client_gets_its_rows_in_their_order(tiny):
    assert tiny.train.client_ids == ("a", "b", "c")
    np.testing.assert_array_equal(tiny.train.counts, [1, 2, 3])
    examples = tiny.train.examples("c")
    np.testing.assert_array_equal(examples["images"][:, 0, 0], [0, 2, 5])
    np.testing.assert_array_equal(examples["labels"], [0, 0, 1])
    assert tiny.train.num_examples("b") == 2


def test_the_centralised_set_is_all_clients_one_after_another(tiny):
    rows = tiny.test.all()["images"][:, 0, 0]
    np.testing.assert_array_equal(rows, [3, 1, 4, 0, 2, 5])
    np.testing.assert_array_equal(tiny.test.labels(), [1, 1, 0, 0, 0, 1])


def test_rows_are_those_at_positions_of_the_centralised_set(tiny):
    for split in (tiny.train, federated_data.in_client_order(tiny.train)):
        np.testing.assert_array_equal(split.rows(np.array([5, 0, 2]))["images"][:, 0, 0], [5, 3, 4])


def test_element_spec_is_that_of_one_example(tiny):
    assert tiny.train.element_spec["images"] == ((2, 2), np.uint8)
    assert tiny.train.element_spec["labels"] == ((), np.int32)


def test_an_unknown_client_is_refused_with_what_ids_look_like(tiny):
    with pytest.raises(ValueError, match=r"no client 'z' among the 3; ids look like 'a'"):
        tiny.train.examples("z")


def test_columns_of_different_length_and_equal_ids_are_refused():
    offsets = np.array([0, 1])
    with pytest.raises(ValueError, match="equally long"):
        federated_data.ClientExamples(("a",), {"x": np.zeros(1), "y": np.zeros(2)}, offsets)
    with pytest.raises(ValueError, match="must be different"):
        federated_data.ClientExamples(("a", "a"), {"x": np.zeros(2)}, np.array([0, 1, 2]))


def test_the_cache_gives_back_what_was_put_in_as_memory_maps(tiny, tmp_path):
    opened = cache.load_or_convert(tmp_path, "tiny", lambda: tiny)
    again = cache.load_or_convert(tmp_path, "tiny", lambda: pytest.fail("converted twice"))
    for data in (opened, again):
        assert isinstance(data.train.columns["images"], np.memmap)
        assert data.label == tiny.label
        for client in "abc":
            got, wanted = data.train.examples(client), tiny.train.examples(client)
            np.testing.assert_array_equal(got["images"], wanted["images"])


def test_a_conversion_that_fails_leaves_no_cache(tiny, tmp_path):
    def convert():
        raise ValueError("half a file")

    with pytest.raises(ValueError, match="half a file"):
        cache.load_or_convert(tmp_path, "tiny", convert)
    assert list(tmp_path.iterdir()) == []
    assert cache.load_or_convert(tmp_path, "tiny", lambda: tiny).train.num_clients == 3


@pytest.mark.slow
def test_drawing_a_client_of_emnists_size_takes_under_a_millisecond(tmp_path):
    num_clients, per_client = 3400, 220
    columns = {
        "images": np.zeros((num_clients * per_client, 28, 28), np.uint8),
        "labels": np.zeros(num_clients * per_client, np.int32),
    }
    ids = tuple(map(str, range(num_clients)))
    split = federated_data.ClientExamples(ids, columns, np.arange(num_clients + 1) * per_client)
    data = federated_data.FederatedData("emnist's size", split, split, num_classes=62)
    opened = cache.load_or_convert(tmp_path, "big", lambda: data)
    seconds = []
    for client in np.random.default_rng(0).choice(num_clients, 200, replace=False):
        start = time.perf_counter()
        opened.train.examples(ids[client])["images"].sum()
        seconds.append(time.perf_counter() - start)
    assert np.median(seconds) < 1e-3
