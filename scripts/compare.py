"""Compares runs: a table, plots, and one interactive page that needs no server.

    python scripts/compare.py runs/femnist_* --targets=0.8,0.85
    python scripts/compare.py results/femnist_fed_avg results/femnist_secagg

RUN is a run's folder, a published file, a folder of such, or a glob. Runs that differ in nothing
but their seed are averaged.
"""

import pathlib
import shlex
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from tff_experiments import command_line
from tff_experiments.reporting import curves, drawn, groups, page, runs, summary, tables

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the flags; all are key flags, so that --helpshort lists them."""
    flags.DEFINE_string("metric", "", "What is compared; test/accuracy, or test/loss without it.")
    flags.DEFINE_enum(
        "better", "auto", ["auto", "higher", "lower"], "Which way is good; auto goes by the name."
    )
    flags.DEFINE_list("targets", [], "Values of the metric: rounds and seconds until they are met.")
    flags.DEFINE_integer("last", 100, "The second mean is over so many rounds at the end.", 1)
    flags.DEFINE_list("ignore", [], "Flags that make no groups, beside --seed: rounds, for one.")
    flags.DEFINE_list(
        "axes", [], f"What curves are drawn against; by default all that runs know of "
        f"{', '.join(curves.AXES)}.",
    )  # fmt: skip
    flags.DEFINE_bool("loss", True, "Draw test/loss beside the metric.")
    flags.DEFINE_bool("unfinished", False, "Take runs that did not end, as far as they came.")
    flags.DEFINE_string(
        "output_dir", "runs/comparison", "Where table, pictures and page go; '': nowhere."
    )


def question(found: list[runs.Run]) -> summary.Question:
    """What the flags ask; raises ValueError for what no run can answer."""
    known = sorted({name for run in found for name in run.metrics if name.startswith("test/")})
    defaults = [name for name in ("test/accuracy", "test/loss") if name in known]
    metric = FLAGS.metric or next(iter(defaults), "test/accuracy")
    if not any(metric in run.metrics for run in found):
        raise ValueError(f"no run has the metric {metric}; they have {', '.join(known) or 'none'}.")
    try:
        targets = [float(text) for text in FLAGS.targets]
    except ValueError:
        raise ValueError(f"--targets must be numbers, got {','.join(FLAGS.targets)}.") from None
    higher = {"higher": True, "lower": False}.get(FLAGS.better, curves.higher_is_better(metric))
    return summary.Question(metric, higher, targets, FLAGS.last)


def write(of: page.Comparison, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes table, page and pictures; returns the files."""
    # It takes a second to import, and the table is on the screen by now.
    from tff_experiments.reporting import plots

    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "table.md": tables.as_markdown(of.table),
        "table.csv": tables.as_csv(of.table, [group.differing for group in of.groups]),
        "page.html": page.render(of),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    pictures = plots.curves(of.drawing, folder / "curves")
    pictures += plots.clients(of.drawing, folder / "clients")
    return [*(folder / name for name in texts), *pictures]


def compare(names: list[str], command: str) -> None:
    """Prints the table, then writes the files; raises ValueError where there is nothing to say."""
    if not names:
        raise ValueError("name at least one run: its folder, a published file, or a glob.")
    found, skipped = runs.load_all(names, unfinished=FLAGS.unfinished)
    for left in skipped:
        print(f"skipped {left.path}: {left.reason}", file=sys.stderr)
    if not found:
        raise ValueError("no run is left to compare.")
    asked = question(found)
    of = groups.make(found, skipped, metric=asked.metric, ignore=FLAGS.ignore)
    table = summary.table(of, asked)
    print("\n".join(dict.fromkeys(f"data: {group.runs[0].data}" for group in of)))
    print(tables.as_text(table), flush=True)
    if FLAGS.output_dir:
        drawing = drawn.make(of, asked.metric, axes=FLAGS.axes, loss=FLAGS.loss)
        comparison = page.Comparison(asked, of, skipped, table, drawing, command)
        files = write(comparison, pathlib.Path(FLAGS.output_dir))
        print("\n".join(f"wrote {file}" for file in files))


def main(argv: list[str]) -> int:
    """Compares; bad input is one line and exit code 2."""
    try:
        compare(argv[1:], shlex.join(["python", *sys.argv]))
        return 0
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
