"""Fixtures: shared handwriting where it is, a cache of the tests' own, small data."""

import importlib.util
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
import tensorflow_federated as tff

from tff_experiments import datasets, tracing
from tff_experiments.datasets import digits, federated_data, partition
from tff_experiments.runtime import local, native

tracing.make_cheaper()
REPO = pathlib.Path(__file__).resolve().parents[1]
SHARED = pathlib.Path(os.environ.get("TFF_EXPERIMENTS_SHARED", REPO.parent / "shared")) / "data"


@pytest.fixture(scope="session", autouse=True)
def cache_dir(tmp_path_factory):
    """A cache that no other run sees; commands that tests start inherit it."""
    path = tmp_path_factory.mktemp("cache")
    os.environ["TFF_EXPERIMENTS_CACHE"] = str(path)
    return path


@pytest.fixture(scope="session")
def shared():
    """The folder of real handwriting; a test that needs it is skipped, and counted, where it
    is not.
    """
    if not SHARED.is_dir():
        pytest.skip("needs shared data: set TFF_EXPERIMENTS_SHARED")
    return SHARED


@pytest.fixture(scope="session")
def writers():
    """28x28 images of 20 clients: real handwriting where it is there, else generated glyphs."""
    if (SHARED / "femnist20").is_dir():
        return datasets.load("npz", datasets.npz.Hparams(), data_dir=str(SHARED / "femnist20"))
    return datasets.load("synthetic_emnist", datasets.synthetic_emnist.Hparams(writers=20))


@pytest.fixture(scope="session")
def ten_clients():
    """The embedded digits in ten IID clients."""
    data = digits.build(digits.Hparams(), data_dir=None, cache_dir=None)
    return partition.apply(data, "iid", partition.Hparams(clients=10))


@pytest.fixture(scope="session")
def native_worker():
    """One worker of TFF's native runtime for all tests."""
    worker = native.Worker(native.Hparams(), quiet=True)
    yield worker
    worker.close()


@pytest.fixture
def native_context(native_worker):
    """TFF's native runtime."""
    with tff.framework.get_context_stack().install(native_worker.context()):
        yield native_worker


@pytest.fixture
def local_context():
    """Our runtime."""
    with local.use(local.Hparams()) as context:
        yield context


@pytest.fixture
def tiny():
    """Three clients with 1, 2 and 3 examples; the image of row r is r everywhere."""
    images = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    columns = {"images": images, "labels": np.array([0, 1, 0, 1, 0, 1], np.int32)}
    split = federated_data.by_client(columns, np.array(["c", "b", "c", "a", "b", "c"]))
    return federated_data.FederatedData("tiny", split, split, num_classes=2)


@pytest.fixture
def publish():
    """scripts/publish.py as a module."""
    spec = importlib.util.spec_from_file_location("publish", REPO / "scripts" / "publish.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
