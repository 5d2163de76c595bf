"""Measures one subject, prints its table, and writes it to RESULTS.md.

    python scripts/benchmark.py runtime
    python scripts/benchmark.py memory --results=
    python scripts/benchmark.py startup

--results= prints only. --helpfull lists each subject's flags.
"""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tff_experiments import quiet

quiet.start()

from absl import flags, logging

from tff_experiments import benchmarks, command_line
from tff_experiments import flags as hparams_flags

FLAGS = flags.FLAGS


def table(title: str, head, rows) -> str:
    """A Markdown table."""
    lines = [
        title,
        "",
        "| " + " | ".join(head) + " |",
        "| " + " | ".join("---" for _ in head) + " |",
    ]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def write(path: pathlib.Path, subject: str, text: str) -> None:
    """Replaces what stands between the subject's two marks; raises ValueError without these."""
    begin, end = f"<!-- benchmark {subject} -->", f"<!-- end of benchmark {subject} -->"
    old = path.read_text()
    if begin not in old or end not in old:
        raise ValueError(
            f"{path} lacks the lines {begin!r} and {end!r}; put them where the table goes."
        )
    head, rest = old.split(begin, 1)
    path.write_text(f"{head}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}")


def main(argv: list[str]) -> int:
    """Measures; bad arguments are one line and exit code 2."""
    logging.set_verbosity(logging.WARNING)
    try:
        if len(argv) != 2 or argv[1] not in benchmarks.BY_NAME:
            raise ValueError(f"say what to measure: one of {sorted(benchmarks.BY_NAME)}.")
        subject = argv[1]
        hparams = hparams_flags.read_plugin(benchmarks.BY_NAME, subject)
        text = table(*benchmarks.BY_NAME[subject].run(hparams))
        print(text)
        if FLAGS.results:
            write(pathlib.Path(FLAGS.results), subject, text)
        return 0
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    hparams_flags.define_plugins(benchmarks.BY_NAME)
    flags.DEFINE_string(
        "results", str(ROOT / "RESULTS.md"), "Where the table goes; empty: nowhere."
    )
    command_line.run(main)
