"""What a run would spend, and the noise that a target takes, without any training.

    python scripts/privacy.py --num_clients=3383 --clients_per_round=120 --noise_multiplier=1.2
    python scripts/privacy.py --mechanism=skellam --clip=0.03 --rounds=1500 --target_epsilon=3,6,10
    python scripts/privacy.py --mechanism=skellam --target_epsilon=10 --over=bits --values=12,14,16
    python scripts/privacy.py --mechanism=skellam --over=dropout --values=0,0.1,0.2 --plot=drop.png

--over takes any flag that is a number, and answers for each of its --values.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from tff_experiments import command_line
from tff_experiments import flags as hparams_flags
from tff_experiments.privacy import answers, plan

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the flags."""
    before = set(FLAGS)
    hparams_flags.define(plan.Hparams)
    flags.DEFINE_list(
        "target_epsilon", [], "Epsilons to find the noise for; without any, noise is given."
    )
    flags.DEFINE_string("over", "", "A flag that is a number: answers for each of its --values.")
    flags.DEFINE_list("values", [], "What --over takes.")
    flags.DEFINE_string("plot", "", "Picture of the table to write, .png or .svg.")
    for name in sorted(set(FLAGS) - before):
        FLAGS.register_key_flag_for_module(sys.argv[0], FLAGS[name])


def answer() -> str:
    """The text that answers; raises ValueError for what can't be asked."""
    hparams = hparams_flags.read(plan.Hparams)
    targets = answers.numbers("target_epsilon", FLAGS.target_epsilon)
    if not FLAGS.over:
        if FLAGS.values or FLAGS.plot:
            raise ValueError("--values and --plot are for a table: take --over=FLAG, too.")
        return "\n\n".join(answers.as_text(hparams, target) for target in targets or [None])
    if FLAGS.plot:
        answers.check_picture(pathlib.Path(FLAGS.plot))
    values = answers.numbers("values", FLAGS.values)
    table = answers.table(hparams, over=FLAGS.over, values=values, targets=targets)
    if FLAGS.plot:
        answers.plot(table, pathlib.Path(FLAGS.plot))
    return answers.table_as_text(table) + (f"\nplot  {FLAGS.plot}" if FLAGS.plot else "")


def main(argv: list[str]) -> int:
    """Prints the answer; wrong input and refusals are one line and exit code 2."""
    try:
        command_line.refuse_arguments(argv)
        print(answer())
        return 0
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
