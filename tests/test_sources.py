"""Sources: npz, LEAF, MNIST, the digits, the generator; errors name the file."""

import json

import numpy as np
import pytest

from tff_experiments import datasets
from tff_experiments.datasets import glyphs, images, leaf, mnist, npz, synthetic_emnist


def write_npz(folder, **changes):
    folder.mkdir(exist_ok=True)
    for split, n in (("train", 6), ("test", 3)):
        arrays = {
            "images": np.arange(n * 4, dtype=np.uint8).reshape(n, 2, 2),
            "labels": np.arange(n, dtype=np.uint8) % 3,
            "client_ids": np.array(["b", "a", "a", "b", "c", "a"][:n]),
        }
        arrays = {name: a for name, a in {**arrays, **changes}.items() if a is not None}
        np.savez_compressed(folder / f"{split}.npz", **arrays)
    return folder


def load(name, folder, tmp_path, **hparams):
    hparams = datasets.BY_NAME[name].Hparams(**hparams)
    return datasets.load(name, hparams, data_dir=str(folder), cache_dir=str(tmp_path / "cache"))


def test_npz_rows_are_grouped_by_client(tmp_path):
    data = load("npz", write_npz(tmp_path / "d"), tmp_path)
    assert data.train.client_ids == ("a", "b", "c") and data.num_classes == 3
    np.testing.assert_array_equal(data.train.examples("a")["images"][:, 0, 0], [4, 8, 20])


def test_npz_may_be_cut_to_the_smaller_labels_and_says_so(tmp_path):
    folder = write_npz(tmp_path / "d")
    whole, cut = (load("npz", folder, tmp_path, labels_below=n) for n in (0, 2))
    assert (whole.num_classes, cut.num_classes) == (3, 2) and cut.name == "npz d labels below 2"
    for client in ("a", "b"):
        examples = whole.train.examples(client)
        keep = examples["labels"] < 2
        kept = cut.train.examples(client)["images"]
        np.testing.assert_array_equal(kept, examples["images"][keep])
    with pytest.raises(
        ValueError, match=r"train.npz has no label below -1; raise npz_labels_below"
    ):
        load("npz", folder, tmp_path, labels_below=-1)


def test_npz_that_changed_is_converted_anew(tmp_path):
    load("npz", write_npz(tmp_path / "d"), tmp_path)
    ids = np.array(["x", "y", "x"])
    np.savez(
        tmp_path / "d" / "test.npz", images=np.ones((3, 2, 2)), labels=ids == "x", client_ids=ids
    )
    assert load("npz", tmp_path / "d", tmp_path).test.client_ids == ("x", "y")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, r"train.npz lacks \['labels'\]"),
        ({"labels": np.zeros(2)}, "train.npz: all arrays must be equally long"),
    ],
)
def test_npz_with_wrong_arrays_is_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        load("npz", write_npz(tmp_path / "d", **changes), tmp_path)


def test_npz_that_is_cut_short_is_named(tmp_path):
    path = write_npz(tmp_path / "d") / "train.npz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"train.npz is damaged"):
        load("npz", tmp_path / "d", tmp_path)


def test_missing_data_lists_the_three_ways_to_get_some(tmp_path):
    for name, folder in (("npz", ""), ("npz", tmp_path), ("leaf", tmp_path), ("npz", "/no/such")):
        with pytest.raises(ValueError, match=r"Three ways to get data: \(1\) .* \(2\) .* \(3\)"):
            load(name, folder, tmp_path)


def test_leaf_users_are_clients(tmp_path):
    for split in ("train", "test"):
        (tmp_path / "d" / split).mkdir(parents=True)
        for part, users in enumerate((["w1", "w0"], ["w2"])):
            user_data = {u: {"x": [[0.0, 1.0, 0.2, 1.0]] * 2, "y": [3, int(u[1])]} for u in users}
            text = json.dumps({"users": users, "num_samples": [2, 2], "user_data": user_data})
            (tmp_path / "d" / split / f"part{part}.json").write_text(text)
    data = load("leaf", tmp_path / "d", tmp_path)
    assert data.train.client_ids == ("w0", "w1", "w2")
    np.testing.assert_array_equal(data.train.examples("w2")["labels"], [3, 2])
    np.testing.assert_array_equal(data.train.examples("w2")["images"][0], [[0, 255], [51, 255]])
    (tmp_path / "d" / "train" / "part1.json").write_text('{"users": [')
    with pytest.raises(ValueError, match=r"part1.json is not one of LEAF's files or is damaged"):
        leaf.build(leaf.Hparams(), data_dir=tmp_path / "d", cache_dir=tmp_path / "other")


def test_pixels_become_uint8_only_where_that_loses_nothing():
    exact = (np.arange(256) / 255).astype(np.float32)
    np.testing.assert_array_equal(images.as_uint8(exact), np.arange(256))
    assert images.as_uint8(exact).dtype == np.uint8
    inexact = exact * np.float32(0.999)
    assert images.as_uint8(inexact).dtype == np.float32
    np.testing.assert_array_equal(images.as_uint8(inexact), inexact)


def test_mnist_reads_kerass_file_and_says_what_it_is_not(tmp_path):
    arrays = {f"x_{s}": np.zeros((20, 28, 28), np.uint8) for s in ("train", "test")}
    np.savez(
        tmp_path / "mnist.npz", **arrays, y_train=np.arange(20) % 10, y_test=np.arange(20) % 10
    )
    data = mnist.build(mnist.Hparams(), data_dir=tmp_path, cache_dir=tmp_path)
    assert data.num_classes == 10 and "not the standard 60,000" in data.label


def test_real_writers_have_the_shared_readmes_counts(shared):
    data = datasets.load("npz", npz.Hparams(), data_dir=str(shared / "femnist20"))
    assert (data.train.num_clients, data.train.total, data.test.total) == (20, 3256, 373)


def test_digits_are_the_1797_of_scikit_learn(ten_clients):
    assert ten_clients.train.total + ten_clients.test.total == 1797
    assert ten_clients.train.columns["images"].max() == 255


def test_glyphs_are_a_function_of_the_seed_and_of_the_writer_alone():
    few = synthetic_emnist.generate(
        synthetic_emnist.Hparams(writers=2, examples=5, test_examples=1)
    )
    more = synthetic_emnist.generate(
        synthetic_emnist.Hparams(writers=3, examples=5, test_examples=1)
    )
    other = synthetic_emnist.generate(
        synthetic_emnist.Hparams(writers=2, examples=5, test_examples=1, seed=1)
    )
    images_of = lambda data: data.train.examples("writer_00001")["images"]
    np.testing.assert_array_equal(images_of(few), images_of(more))
    assert not np.array_equal(images_of(few), images_of(other))
    assert "not handwriting" in few.label


def test_curves_pass_through_their_knots():
    assert len(glyphs.FORMS) == 62
    for form, (knots, weights) in enumerate(zip(glyphs.KNOTS, glyphs.SPLINES, strict=True)):
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12, err_msg=glyphs.FORMS[form])
        first = glyphs.FORMS[form].lstrip("~")[:2]
        start = [(int(first[0], 16) - 4) / 5.5, (int(first[1], 16) - 5) / 5.5]
        np.testing.assert_allclose((weights @ knots)[0], start, atol=1e-12)
