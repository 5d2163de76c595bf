"""Makes published tables again: the paper's number beside ours, and whether they agree.

    python scripts/reproduce.py --list
    python scripts/reproduce.py mcmahan2017/table2/iid_e5_b10 --data_dir=FOLDER
    python scripts/reproduce.py reddi2021/recognition --stand_in --data_dir=FOLDER

Runs kept under --results are taken where they are of the row; what is missing is run, by
scripts/sweep.py. The same command goes on where it was interrupted. docs/<paper>.md says what each
paper did and what differs here.
"""

import functools
import math
import pathlib
import shlex
import signal
import sys

REPO = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))
from tff_experiments import quiet

quiet.start()

from absl import flags

from tff_experiments import command_line, reproduction
from tff_experiments.reporting import groups, runs, tables
from tff_experiments.reproduction import evidence, plans, published, verdicts
from tff_experiments.sweeps import jobs

FLAGS = flags.FLAGS
# scripts/sweep.py gives its own runs a minute to write their checkpoints.
PATIENCE_SECONDS = 90


def define_flags() -> None:
    """Defines the flags; all are key flags, so that --helpshort lists them."""
    flags.DEFINE_bool(
        "list", False, "Only list what there is, with the minutes that rows take on two cores."
    )
    flags.DEFINE_bool("dry_run", False, "Only print the commands that would be run.")
    flags.DEFINE_bool("run", True, "Run what is missing; --norun shows what is there.")
    flags.DEFINE_string("results", str(REPO / "results"), "Kept runs; '' runs all anew.")
    flags.DEFINE_string("output_dir", "runs/reproduce", "Where runs and tables go.")
    flags.DEFINE_string("data_dir", "", "Folder with the data; by default they are downloaded.")
    flags.DEFINE_bool(
        "stand_in", False, "Take other data than the paper's, and say so: train.npz and test.npz "
        "in --data_dir, or generated glyphs.",
    )  # fmt: skip
    flags.DEFINE_integer("seeds", 1, "Runs of each setting.", 1)
    flags.DEFINE_integer("jobs", 0, "Runs at a time; 0 is one a core, at most 4.", 0)
    flags.DEFINE_string("script", "", "What runs one setting; by default scripts/run.py.")


def options() -> plans.Options:
    """What the user chose."""
    names = ("data_dir", "stand_in", "seeds", "output_dir", "script", "jobs")
    return plans.Options(**{name: FLAGS[name].value for name in names})


def list_all(papers) -> None:
    """Prints every row with its published number and the minutes that it takes."""
    for paper in papers:
        print(f"{paper.title} (docs/{paper.key}.md)")
        for table in paper.tables:
            print(f"  {table.title}")
            for row in table.rows:
                name = f"{paper.key}/{table.key}/{row.key}"
                number = row.told or (
                    "" if row.published != row.published else f"{row.published:g}"
                )
                number += " (R)" * row.recalled
                print(f"    {name:<52} {number:>14}  {_minutes(row.minutes)}")


def _minutes(minutes: float) -> str:
    told = f"about {minutes:.0f} min" if minutes < 90 else f"about {minutes / 60:.1f} h"
    if minutes < 1:
        told = "at once" if minutes < 0.05 else "under a minute"
    return told + " with the paper's data" * FLAGS.stand_in


def find(entry: published.Entry, *, may_run: bool) -> verdicts.Found:
    """The row by what is kept; else by runs below --output_dir, completed where they may run."""
    row = entry.row
    if row.compute:
        return verdicts.Found(entry, computed=row.compute(may_run))
    beside = None
    if row.relative_to:
        beside = find(entry.beside(row.relative_to), may_run=may_run).evidence
    own = look(entry, FLAGS.results)
    if has_number(own):
        if own.seeds < FLAGS.seeds:
            tell(
                f"{entry.name}: kept runs have {own.seeds} of {FLAGS.seeds} seeds; --results= "
                "runs all anew."
            )
    else:
        own = search(entry) if may_run else look(entry, FLAGS.output_dir) or own
    return verdicts.Found(entry, own, beside=beside)


def look(entry: published.Entry, root: str) -> evidence.Evidence | None:
    """What runs below a folder say; tells what is left out."""
    found, left_out = evidence.find(entry, root, stand_in=FLAGS.stand_in)
    for text in left_out:
        tell(f"left out {text}")
    return found


@functools.cache
def tell(text: str) -> None:
    """Says something once."""
    print(text, file=sys.stderr, flush=True)


def has_number(found: evidence.Evidence | None) -> bool:
    """Whether runs gave a number."""
    return found is not None and not math.isnan(found.value)


def is_missing(found: verdicts.Found) -> bool:
    """Whether a row has no number, or has it from a search that may not be at its end."""
    used = [each for each in (found.evidence, found.beside) if each]
    return math.isnan(found.value) or not all(map(is_kept, used))


def is_kept(found: evidence.Evidence | None) -> bool:
    """Whether runs of --results gave a number."""
    return has_number(found) and bool(FLAGS.results) and found.where.is_relative_to(FLAGS.results)


def search(entry: published.Entry) -> evidence.Evidence | None:
    """Runs the row's settings, and those beyond the best as long as it is at the edge."""
    row = entry.row
    exponents = row.grid.exponents if row.grid else ()
    tell(f"{entry.name}: {_minutes(row.minutes)}")
    while True:
        start(plans.command(entry, options(), exponents))
        found = look(entry, FLAGS.output_dir)
        if not row.grid or not has_number(found):
            return found
        grown = row.grid.grown(exponents, found.best)
        if grown == exponents:
            return found
        exponents = grown


def start(words: list[str]) -> None:
    """Runs scripts/sweep.py; whatever ends this, no process is left."""
    process = jobs.start([sys.executable, *words], None)
    try:
        code = process.wait()
    finally:
        jobs.end([process], patience=PATIENCE_SECONDS)
    if code == command_line.BAD_INPUT:
        raise ValueError(f"{shlex.join(['python', *words])} was refused, see above.")


def check_data(entries: list[published.Entry]) -> None:
    """Raises ValueError where what the rows need can't be had, or is not the paper's."""
    trained = [entry for entry in entries if not entry.row.compute]
    if FLAGS.stand_in:
        for entry in trained:
            if entry.row.stand_in_is_npz and not FLAGS.data_dir:
                raise ValueError(
                    f"{entry.name} takes no generated glyphs: give train.npz and test.npz by "
                    f"--data_dir."
                )
        return
    for data in {entry.table.data for entry in trained}:
        from tff_experiments import datasets

        asked = runs.parse_flags(data.flags)
        source = datasets.BY_NAME[asked["dataset"]]
        digits = {"only_digits": True} if "emnist_only_digits" in asked else {}
        way_out = (
            "--stand_in takes other data, train.npz and test.npz in --data_dir or, for some "
            "tables, generated glyphs, and says so."
        )
        try:
            loaded = datasets.load(
                asked["dataset"], source.Hparams(**digits), data_dir=FLAGS.data_dir
            )
        except ValueError as error:
            reason = error.__cause__ or error
            raise ValueError(f"{data.told} can't be had: {reason} {way_out}") from error
        if groups.examples_of(loaded.label) != data.examples:
            raise ValueError(f"{loaded.label} is not the paper's data, {data.told}. {way_out}")


def show(of: list[verdicts.Found]) -> None:
    """Prints one table, and writes it as Markdown."""
    entry = of[0].entry
    head = verdicts.heading(of, entry.table, stand_in=FLAGS.stand_in)
    table = verdicts.table(of, stand_in=FLAGS.stand_in)
    print("\n".join(head))
    print(tables.as_text(table), flush=True)
    # A part of a table does not take the place of the whole.
    part = f"_{entry.row.key}" if len(of) < len(entry.table.rows) else ""
    name = entry.table.key + part + ("_stand_in" if FLAGS.stand_in else "")
    path = pathlib.Path(FLAGS.output_dir, entry.paper.key, f"{name}.md")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(head) + f"\n\n{tables.as_markdown(table)}")
    print(f"wrote {path}\n")


def reproduce(name: str) -> int:
    """Makes the tables that a name means; returns the exit code."""
    asked = published.select(reproduction.PAPERS, name)
    found = [[find(entry, may_run=False) for entry in entries] for entries in asked]
    missing = with_others([each for of in found for each in of if is_missing(each)])
    if FLAGS.dry_run:
        for entry in missing:
            words = "# is measured" if entry.row.compute else typed(entry)
            print(f"# {entry.name}: {_minutes(entry.row.minutes)}\n{words}")
        return 0
    if FLAGS.run and missing:
        try:
            check_data(missing)
        except ValueError:
            # What is there can be seen all the same.
            for of in found:
                if not all(math.isnan(each.value) for each in of):
                    show(of)
            raise
        minutes = sum(entry.row.minutes for entry in missing)
        tell(f"{len(missing)} to run, {_minutes(minutes)}")
        found = [
            [find(each.entry, may_run=True) if is_missing(each) else each for each in of]
            for of in found
        ]
    for of in found:
        show(of)
    return int(FLAGS.run and any(math.isnan(each.value) for of in found for each in of))


def with_others(missing: list[verdicts.Found]) -> list[published.Entry]:
    """The rows, after those that they are relative to and that are not kept, each once."""
    rows = {}
    for each in missing:
        entry = each.entry
        if entry.row.relative_to and not is_kept(each.beside):
            other = entry.beside(entry.row.relative_to)
            rows.setdefault(other.name, other)
        rows[entry.name] = entry
    return list(rows.values())


def typed(entry: published.Entry) -> str:
    """What runs a row's first settings, as one would type it."""
    return shlex.join(["python", *plans.command(entry, options())])


def main(argv: list[str]) -> int:
    """Reproduces; bad input, and data that can't be had, are one line and exit code 2."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if FLAGS.list:
            list_all(reproduction.PAPERS)
            return 0
        if len(argv) != 2:
            raise ValueError("name one PAPER, PAPER/TABLE or PAPER/TABLE/ROW; --list shows them.")
        return reproduce(argv[1])
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return command_line.BAD_INPUT
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on.", file=sys.stderr)
        return 128 + signal.SIGINT


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
