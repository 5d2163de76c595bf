"""scripts/publish.py: what the files are called, and what is no run."""

import pathlib
import types

from reporting_helpers import rows, write


def test_runs_of_a_search_are_told_apart_by_their_settings(publish):
    paths = lambda *names: [pathlib.Path("runs", name) for name in names]
    assert publish.file_names(paths("a/seed_0", "a/seed_1")) == ["seed_0", "seed_1"]
    told = publish.file_names(paths("rate=0.1/seed_0", "rate=0.3/seed_0"))
    assert told == ["rate=0.1,seed_0", "rate=0.3,seed_0"]


def test_a_kept_command_has_no_path_of_this_machine(publish):
    command = (
        "python /x/scripts/run.py --task=x --flagfile=/x/configs/p/t.cfg "
        "--data_dir=/y/examples/mnist --output_dir /tmp/run '--stop_at=test/accuracy>=0.99'"
    )
    assert publish.without_paths(command) == (
        "python scripts/run.py --task=x --flagfile=configs/p/t.cfg --data_dir=FOLDER "
        "--output_dir FOLDER '--stop_at=test/accuracy>=0.99'"
    )


def test_runs_that_would_be_one_file_are_refused(publish, tmp_path, capsys):
    paths = [tmp_path / search / "rate=0.1" / f"seed_{i}" for search in "ab" for i in (0, 1)]
    for path in paths:
        write(path, rows([0.5]))
    assert publish.main(["publish.py", *map(str, paths)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {paths[0]} and {paths[2]} would both be rate=0.1,seed_0.jsonl")


def test_what_a_searchs_run_said_is_not_taken_for_a_run(publish, tmp_path):
    write(tmp_path / "seed_0", rows([0.5]))
    (tmp_path / "seed_0.log").write_text("round 10: loss 1\n")
    (read,) = publish.read([str(tmp_path / "seed_0"), str(tmp_path / "seed_0.log")])
    assert read.path == tmp_path / "seed_0"


def test_what_is_no_run_is_refused_before_anything_is_written(publish, tmp_path, capsys):
    write(tmp_path / "seed_0", rows([0.5]))
    (tmp_path / "seed_1").mkdir()
    (tmp_path / "kept.jsonl").write_text('{"flags": []}\n')
    for other in ("seed_1", "kept.jsonl", "absent"):
        argv = ["publish.py", str(tmp_path / "seed_0"), str(tmp_path / other)]
        assert publish.main(argv) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and len(error.splitlines()) == 1 and other in error


def test_means_are_over_the_seeds_of_a_setting_not_over_settings(
    publish, tmp_path, capsys, monkeypatch
):
    values = {"rate=0.1/seed_0": 0.5, "rate=0.1/seed_1": 0.7, "rate=0.3/seed_0": 0.9}
    for name, value in values.items():
        write(tmp_path / name, rows([value]))
    monkeypatch.setattr(publish, "keep", lambda run, target: run.rows)
    named = types.SimpleNamespace(name="x", rounds=[], metrics=["test/accuracy"])
    monkeypatch.setattr(publish, "FLAGS", named)
    assert publish.main(["publish.py", *(str(tmp_path / name) for name in values)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("rate=0.1: ") and "mean 0.6000, std 0.1414" in first
    assert second.startswith("rate=0.3: ") and "mean 0.9000, std -" in second
