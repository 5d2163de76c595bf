"""Prints and plots what a partition of a data set looks like: clients, sizes, label skew.

python scripts/partition_report.py --dataset=digits --partition=dirichlet --partition_alpha=0.1
python scripts/partition_report.py --dataset=mnist --data_dir=FOLDER --partition=label_shards
python scripts/partition_report.py --plugin=examples/my_dataset.py --dataset=my_dataset
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from tff_experiments import quiet

quiet.start()

from absl import flags, logging

from tff_experiments import command_line, datasets
from tff_experiments import flags as hparams_flags
from tff_experiments.datasets import partition_report

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    """Prints the report and says where the plot is; bad input is one line and exit code 2."""
    logging.set_verbosity(logging.WARNING)
    try:
        command_line.refuse_arguments(argv)
        data = hparams_flags.load_data(FLAGS.dataset)
        print(partition_report.as_text(data))
        if FLAGS.plot:
            partition_report.plot(data, pathlib.Path(FLAGS.plot))
            print(f"plot      {FLAGS.plot}")
        return 0
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def define_flags() -> None:
    """Loads data sets of one's own, and defines all flags."""
    hparams_flags.load_plugins("Files with a data set of your own.", {"dataset": datasets.BY_NAME})
    hparams_flags.define_data("digits")
    flags.DEFINE_string(
        "plot", "runs/partition.png", "Picture to write, .png or .svg; '' for none."
    )
    hparams_flags.define_plugins(datasets.BY_NAME)
    for name in ("dataset", "partition", "data_dir", "plot"):
        FLAGS.register_key_flag_for_module(sys.argv[0], FLAGS[name])


if __name__ == "__main__":
    command_line.define_or_exit(define_flags)
    command_line.run(main)
