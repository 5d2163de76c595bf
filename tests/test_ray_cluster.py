"""What the Ray runtime refuses, in one line, before anything is started."""

import importlib.util
import subprocess
import sys

import pytest
from conftest import REPO

from tff_experiments.runtime import ray_cluster
from tff_experiments.secure_sum import bfv, paillier, plain, secagg, secagg_plus

WITHOUT_RAY = importlib.util.find_spec("ray") is None


@pytest.mark.skipif(not WITHOUT_RAY, reason="Ray is installed")
def test_without_ray_a_run_says_so_in_one_line(tmp_path):
    command = [sys.executable, REPO / "scripts" / "run.py", "--task=digits_linear"]
    command += ["--runtime=ray", f"--output_dir={tmp_path / 'run'}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: --runtime=ray needs Ray: run scripts/setup.sh --ray.\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("protocol", [bfv, paillier])
def test_a_protocol_whose_clients_can_not_be_elsewhere_is_refused(protocol):
    built = protocol.build(protocol.Hparams())
    with (
        pytest.raises(ValueError, match=r"secagg or secagg_plus, .*--runtime=local"),
        ray_cluster.use(ray_cluster.Hparams(), secure_sum=built),
    ):
        pass


@pytest.mark.parametrize("protocol", [plain, secagg, secagg_plus])
def test_these_protocols_can_be_elsewhere(protocol):
    assert protocol.build(protocol.Hparams()).supports_groups


def test_hparams_are_those_of_the_local_runtime_and_its_own():
    hparams = ray_cluster.Hparams(client_workers=3, ray_address="head:6379")
    assert (hparams.client_workers, hparams.on_client_error) == (3, "stop")
    with pytest.raises(ValueError, match="client_workers must be >= 0"):
        ray_cluster.Hparams(client_workers=-1)
    with pytest.raises(ValueError, match="ray_gpus_per_worker must be >= 0"):
        ray_cluster.Hparams(ray_gpus_per_worker=-0.5)
