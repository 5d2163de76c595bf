"""Published tables as data: against the papers' own columns, and against what run.py takes."""

import json
import math
import subprocess
import sys

import pytest
from conftest import REPO

from tff_experiments import reproduction
from tff_experiments.reporting import runs
from tff_experiments.reproduction import matching, plans, published
from tff_experiments.reproduction.rules import Band, Grid

ENTRIES = [
    entry for paper in reproduction.PAPERS for of in published.select([paper], paper.key)
    for entry in of
]  # fmt: skip
RUN = [entry for entry in ENTRIES if not entry.row.compute]
# Table 2 of McMahan et al. 2017: u = E n / (K B), the updates of a client in a round.
UPDATES = {
    "fedsgd": 1,
    "e5_binf": 5,
    "e1_b50": 12,
    "e20_binf": 20,
    "e1_b10": 60,
    "e5_b50": 60,
    "e20_b50": 240,
    "e5_b10": 300,
    "e20_b10": 1200,
}


def of(name):
    return published.select(reproduction.PAPERS, name)[0][0]


@pytest.mark.parametrize("division", ["iid", "shards"])
@pytest.mark.parametrize("key", UPDATES)
def test_epochs_and_batches_make_the_papers_updates(key, division):
    flags = plans.flags(of(f"mcmahan2017/table2/{division}_{key}"), stand_in=False)
    clients, examples = int(flags["partition_clients"]), 60_000
    batch = int(flags["batch_size"]) or examples // clients
    assert int(flags["client_epochs"]) * examples / (clients * batch) == UPDATES[key]


def test_reddis_rates_are_powers_of_the_root_of_ten():
    # Its grids have a factor of 10^(1/2); three digits of a rate keep its logarithm within 0.001.
    for entry in RUN:
        if entry.paper.key != "reddi2021":
            continue
        flags = plans.flags(entry, stand_in=False)
        for name in ("client_learning_rate", "server_learning_rate"):
            twice = 2 * math.log10(float(flags[name]))
            assert abs(twice - round(twice)) < 0.002


def test_five_batches_are_a_pass_over_a_client_of_karimireddys():
    for stand_in, examples in ((False, 671_585), (True, 54_109)):
        flags = plans.flags(of("karimireddy2020/table3/sgd_s0"), stand_in=stand_in)
        assert math.ceil(examples / 100 / int(flags["batch_size"])) == 5


def test_names_and_folders_are_different():
    for what in ("name", "folder"):
        assert len({getattr(entry, what) for entry in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize("paper", reproduction.PAPERS, ids=lambda paper: paper.key)
def test_each_paper_has_a_page_that_says_its_command(paper):
    text = (REPO / "docs" / f"{paper.key}.md").read_text()
    assert f"scripts/reproduce.py {paper.key}" in text
    assert all(f"{paper.key}/{table.key}" in text for table in paper.tables)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_row_can_be_made_and_says_what_it_takes(entry):
    row = entry.row
    assert bool(row.compute) != bool(row.config)
    assert row.minutes > 0 or row.compute
    assert math.isnan(row.published) == (row.band is None) or row.band is None
    if not row.compute:
        assert entry.table.rule and entry.table.data
        assert (entry.table.rule.kind == "rounds_to") == bool(row.grid and row.most_rounds)
        assert not row.relative_to or entry.beside(row.relative_to).row.config


def test_run_py_takes_the_flags_of_each_row():
    # One process: to import TensorFlow for each would take minutes.
    script = (
        "import importlib.util, json, sys\n"
        "spec = importlib.util.spec_from_file_location('run', 'scripts/run.py')\n"
        "run = importlib.util.module_from_spec(spec)\n"
        "rows = json.load(sys.stdin)\n"
        "spec.loader.exec_module(run)\n"
        "run.start()\n"
        "for argv in rows:\n"
        "    run.FLAGS.unparse_flags()\n"
        "    assert run.FLAGS(['run.py', *argv]) == ['run.py'], argv\n"
        "    run.experiment.Experiment()\n"
        "print(json.dumps({name: run.FLAGS[name].default for name in run.FLAGS}, default=str))\n"
    )
    rows = []
    for entry in RUN:
        for options in (plans.Options(), plans.Options(stand_in=True, data_dir="x")):
            words = plans.command(entry, options)
            rows.append(words[words.index("--") + 1 :])
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(rows), cwd=REPO, text=True,
        capture_output=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    defaults = json.loads(done.stdout.splitlines()[-1])
    defaults["partition"] = "natural"  # Its default depends on the data.
    for name, value in matching._SILENT.items():
        assert matching._same(str(defaults[name]), value), f"--{name} of a config that is silent"
    for entry in RUN:
        told = matching._SILENT | plans.flags(entry, stand_in=False)
        plug_ins = tuple(f"{told[room]}_" for room in ("task", "algorithm", "aggregator"))
        unsaid = {name for name in defaults if name.startswith(plug_ins)} - set(told)
        assert not unsaid, f"{entry.name} would take a run with any {unsaid}"


def test_a_name_means_a_paper_a_table_or_a_row():
    count = lambda name: [len(of) for of in published.select(reproduction.PAPERS, name)]
    assert count("mcmahan2017") == [10, 18]
    assert count("mcmahan2017/table2/") == [18]
    assert count("mcmahan2017/table2/iid_fedsgd") == [1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mcmahan", "there is no paper 'mcmahan'; there are mcmahan2017, reddi2021, "),
        ("reddi2021/x", "there is no table of reddi2021 'x'; there are recognition, autoencoder."),
        ("reddi2021/recognition/x", "there is no row of reddi2021/recognition 'x'; there are fed_"),
        ("a/b/c/d", "there is no paper 'a'"),
        ("reddi2021/recognition/fed_avg/x", "name PAPER, PAPER/TABLE or PAPER/TABLE/ROW, got"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(name, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(".", r"\.")):
        published.select(reproduction.PAPERS, name)


def test_a_grid_has_three_rates_a_decade_and_grows_where_its_end_is_the_best():
    grid = Grid("client_learning_rate", (-1, 0, 1))
    assert grid.values((-7, -3, -2, -1, 0, 1, 2, 3)) == (
        "0.000464", "0.01", "0.0215", "0.0464", "0.1", "0.2154", "0.4642", "1.0",
    )  # fmt: skip
    assert grid.grown((-1, 0, 1), "0.1") == (-1, 0, 1)
    assert grid.grown((-1, 0, 1), "0.2154") == (-1, 0, 1, 2)
    assert grid.grown((-1, 0, 1), "0.0464") == (-2, -1, 0, 1)
    # A search that goes on finds the best of what was run before.
    assert grid.grown((-4, -3, -2), "1.0") == (-4, -3, -2, -1, 0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("band", "ours", "holds"),
    [
        (Band(1 / 1.3, 1.3), 130, True),
        (Band(1 / 1.3, 1.3), 131, False),
        (Band(1 / 1.3, 1.3), 76, False),
        (Band(-0.5, 0.5, "difference"), 99.5, True),
        (Band(-0.5, 0.5, "difference"), 100.6, False),
        (Band(0, 1), 20, True),
    ],
)
def test_a_band_is_of_the_ratio_or_of_the_difference(band, ours, holds):
    assert band.holds(ours, 100) == holds


def test_bands_are_told_in_words():
    bands = (Band(1 / 1.3, 1.3), Band(-0.5, 0.5, "difference"), Band(0, 1), Band(0.9, 1.2))
    told = [band.told for band in bands]
    assert told == ["within 1.3x", "+- 0.5", "at most 1x", "0.9x .. 1.2x"]


def test_flags_of_a_config_may_be_without_a_value():
    flags = plans.flags(of("tff_dp_tutorial/accuracy/noise0_c50"), stand_in=False)
    assert flags["emnist_only_digits"] == flags["dp_fedavg_adaptive"] == "true"
    assert flags["dp_fedavg_noise_multiplier"] == "0" and flags["clients_per_round"] == "50"
    assert runs.parse_flags(["--a"]) == {"a": ""}
