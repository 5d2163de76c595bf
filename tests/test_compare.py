"""scripts/compare.py and scripts/publish.py as a user starts them."""

import json
import subprocess
import sys

import numpy as np
import pytest
import reporting_helpers as helpers
from conftest import REPO

from tff_experiments.reporting import curves, runs


def compare(*args, **kwargs):
    command = [sys.executable, str(REPO / "scripts" / "compare.py"), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **kwargs)
    return done.returncode, done.stdout, done.stderr


def test_runs_become_a_table_pictures_and_a_page(tmp_path):
    for seed in (0, 1):
        helpers.write(tmp_path / f"avg/{seed}", helpers.rows([0.5, 0.8 + seed / 50]), seed=seed)
    helpers.write(tmp_path / "adam", helpers.rows([0.5, 0.7]), algorithm="fed_adam")
    helpers.write(tmp_path / "half", helpers.rows([0.5])[:7], rounds="20", seed="2")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "flags.txt").write_text("--seed=3\n")
    code, out, err = compare(f"{tmp_path}/*", "--targets=0.65", f"--output_dir={tmp_path}/out")
    assert code == 0
    assert out.startswith(f"data: {helpers.DATA}\n")
    assert "0.8100 +- 0.0141" in out and "fed_avg: 1 unfinished" in out
    assert err.splitlines() == [
        f"skipped {tmp_path}/broken: no run.json",
        f"skipped {tmp_path}/half: unfinished, 7 of 20 rounds",
    ]
    files = ["curves.png", "curves.svg", "page.html", "table.csv", "table.md"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == files


def test_published_results_are_compared_and_what_was_estimated_is_said():
    code, out, _ = compare("results/femnist_*", "--targets=0.8", "--output_dir=", cwd=REPO)
    assert code == 0
    # RESULTS.md: 0.8652 +- 0.0009 over three seeds; 0.7970 under SecAgg.
    assert "0.8652 +- 0.0009" in out and "0.7970" in out
    assert "secure_mean: seconds and bytes estimated from the evaluated rounds" in out


def test_where_there_is_nothing_to_draw_the_table_is_printed_and_it_is_said(tmp_path):
    diverged = [{**row, "test/accuracy": None, "test/loss": None} for row in helpers.rows([0.5])]
    helpers.write(tmp_path / "run", diverged)
    code, out, err = compare(tmp_path / "run", "--unfinished", f"--output_dir={tmp_path}/c")
    assert (code, len(err.splitlines())) == (2, 1) and "there is nothing to draw" in err
    assert "diverged in round 10" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "name at least one run"),
        (["no/such"], "there is no run at no/such."),
        (["results", "--metric=test/mse"], "no run has the metric test/mse; they have test/accura"),
        (["results", "--targets=high"], "--targets must be numbers, got high."),
        (["results/secure_sum.jsonl"], "no run is left to compare."),
        (["results", "--output_dir=/proc/x"], "/proc/x"),
    ],
)
def test_bad_input_is_one_clear_line(args, message):
    code, _, err = compare(*args, cwd=REPO)
    lines = [line for line in err.splitlines() if not line.startswith("skipped")]
    assert code == 2 and len(lines) == 1 and message in lines[0]


def test_it_starts_without_tensorflow():
    script = (
        "import sys; sys.argv = ['compare.py', 'results', '--output_dir=']; import runpy\n"
        "try: runpy.run_path('scripts/compare.py', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith(('tensorflow', 'jax', 'keras'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPO, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_published_run_tells_the_same_totals_as_its_folder(tmp_path, monkeypatch, publish):
    monkeypatch.setattr(publish, "REPO", tmp_path)
    made = helpers.rows([0.5, 0.8])
    made[3]["seconds/round"] = 40.0
    clients = "round,client,examples,test/accuracy\n20,a,4,0.25\n20,b,4,\n"
    about = {"command": "python /x/scripts/run.py --data_dir=/y"}
    folder = helpers.write(tmp_path / "seed_0", made, clients=clients, about=about)
    publish.keep(runs.load(folder), tmp_path / "results" / "seed_0.jsonl")
    whole, kept = runs.load(folder), runs.load(tmp_path / "results" / "seed_0.jsonl")
    assert len(kept.rows) == 2 and not curves.is_estimated(kept)
    for axis in ("seconds", "uplink_bytes", "downlink_bytes"):
        assert curves.totals(kept)[axis][-1] == curves.totals(whole)[axis][-1]
    first = json.loads((tmp_path / "results" / "seed_0.jsonl").read_text().splitlines()[0])
    assert first["command"] == "python scripts/run.py --data_dir=FOLDER"
    assert not any("data_dir" in flag for flag in first["flags"])
    assert runs.find([f"{tmp_path}/results/*"]) == [tmp_path / "results" / "seed_0.jsonl"]
    np.testing.assert_array_equal(kept.clients["test/accuracy"], [0.25, np.nan])
    (folder / "clients.csv").unlink()
    publish.keep(runs.load(folder), tmp_path / "results" / "seed_0.jsonl")
    assert not runs.load(tmp_path / "results" / "seed_0.jsonl").clients
