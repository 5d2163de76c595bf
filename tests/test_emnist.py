"""Federated EMNIST from TFF's file: download from a local server, verification, conversion."""

import functools
import http.server
import lzma
import sqlite3
import threading
import urllib.request

import numpy as np
import pytest
import tensorflow as tf

from tff_experiments.datasets import emnist

SIZES = {"all_train": emnist.SplitSize(3, 9), "all_test": emnist.SplitSize(3, 3)}


def pixels_of(row):
    return np.random.default_rng(row).integers(0, 256, (28, 28)).astype(np.uint8)


@pytest.fixture
def sqlite_file(tmp_path):
    """TFF's format: 3 writers with 3 training examples and 1 for the test, mixed."""
    path = tmp_path / "source" / emnist.FILE_NAME
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE examples (split_name, client_id, serialized_example_proto)"
        )
        connection.execute("CREATE TABLE client_metadata (client_id, split_name, num_examples)")
        for row in range(12):
            split, writer = "all_train" if row < 9 else "all_test", f"f{row % 3:04d}"
            values = (pixels_of(row) / np.float32(255)).ravel()
            feature = {
                "pixels": tf.train.Feature(float_list=tf.train.FloatList(value=values)),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[row])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            proto = example.SerializeToString()
            connection.execute("INSERT INTO examples VALUES (?, ?, ?)", [split, writer, proto])
        for split, size in SIZES.items():
            for writer in range(3):
                row = [f"f{writer:04d}", split, size.examples // 3]
                connection.execute("INSERT INTO client_metadata VALUES (?, ?, ?)", row)
    return path


@pytest.fixture
def server(sqlite_file, monkeypatch):
    """Serves the file compressed, in place of TFF's bucket."""
    compressed = sqlite_file.with_name("emnist_all.sqlite.lzma")
    compressed.write_bytes(lzma.compress(sqlite_file.read_bytes()))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sqlite_file.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{served.server_port}/{compressed.name}"
        plain = urllib.request.urlopen
        monkeypatch.setattr(urllib.request, "urlopen", lambda url, *rest: plain(here, *rest))
        yield compressed
        served.shutdown()


def check(data):
    assert data.num_classes == 62 and data.stand_in == ""
    assert data.train.client_ids == ("f0000", "f0001", "f0002")
    for writer in range(3):
        examples = data.train.examples(f"f{writer:04d}")
        assert examples["images"].dtype == np.uint8
        np.testing.assert_array_equal(examples["labels"], [writer, writer + 3, writer + 6])
        wanted = [pixels_of(row) for row in (writer, writer + 3, writer + 6)]
        np.testing.assert_array_equal(examples["images"], wanted)
    np.testing.assert_array_equal(data.test.all()["labels"], [9, 10, 11])


def build(cache_dir, data_dir=None):
    return emnist.build(emnist.Hparams(), data_dir=data_dir, cache_dir=cache_dir, sizes=SIZES)


def test_the_file_is_downloaded_verified_and_converted_once(server, tmp_path, capfd):
    check(build(tmp_path / "cache"))
    assert "Downloading emnist_all.sqlite.lzma" in capfd.readouterr().err
    server.unlink()
    check(build(tmp_path / "cache"))


def test_half_a_download_is_neither_kept_nor_trained_on(server, tmp_path):
    whole = server.read_bytes()
    server.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="could not be downloaded whole"):
        build(tmp_path / "cache")
    server.write_bytes(whole)
    check(build(tmp_path / "cache"))


def test_a_file_of_yours_is_read_without_a_download(sqlite_file, tmp_path):
    check(build(tmp_path / "cache", data_dir=sqlite_file.parent))


def test_a_file_that_lacks_rows_is_named_with_both_counts(sqlite_file, tmp_path):
    with sqlite3.connect(sqlite_file) as connection:
        connection.execute("DELETE FROM examples WHERE rowid = 2")
    with pytest.raises(
        ValueError, match=r"emnist_all.sqlite is not whole: .*examples=8.*examples=9"
    ):
        build(tmp_path / "cache", data_dir=sqlite_file.parent)


def test_half_a_file_is_named(sqlite_file, tmp_path):
    content = sqlite_file.read_bytes()
    sqlite_file.write_bytes(content[: len(content) // 3])
    with pytest.raises(ValueError, match=r"emnist_all.sqlite is half a download or damaged"):
        build(tmp_path / "cache", data_dir=sqlite_file.parent)


def test_without_a_network_the_download_says_so(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(ValueError, match=r"could not be downloaded whole .*service not known"):
        build(tmp_path / "cache")
