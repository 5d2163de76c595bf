"""Asks the clients of a data set a question that is not a model, and prints it beside the truth.

    python scripts/analyze.py --query=histogram --value=label --dataset=digits
    python scripts/analyze.py --query=quantile --value=pixel_mean --quantile_quantiles=0.1,0.5,0.9
    python scripts/analyze.py --query=trie_hh --value=file --words=words.csv --secure_sum=secagg
    python scripts/analyze.py --query=histogram --value=zipf --mechanism=skellam --bits=20 \
        --target_epsilon=4 --histogram_max_per_client=5 --secure_sum=secagg --plot=histogram.png

--helpshort lists what all queries share; --helpfull adds each query's own flags, prefixed by its
name. A --plugin file may hold a query of your own (ROOM = "query").
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from tff_experiments import quiet

QUIET = quiet.start()

from absl import flags, logging

from tff_experiments import analytics, command_line, datasets, runtime, secure_sum, spending
from tff_experiments import flags as hparams_flags
from tff_experiments.analytics import answers, questions, value_sources, study
from tff_experiments.clients import dropouts, participation
from tff_experiments.privacy import answers as privacy_answers
from tff_experiments.runtime import local

FLAGS = flags.FLAGS
ROOMS = {
    "query": analytics.BY_NAME,
    "secure_sum": secure_sum.BY_NAME,
    "dataset": datasets.BY_NAME,
}


def define_flags() -> None:
    """Loads plug-ins, and defines all flags."""
    hparams_flags.load_plugins("Files with a query, data set or secure sum of your own.", ROOMS)
    before = set(FLAGS) - {"plugin"}
    flags.DEFINE_enum("query", "histogram", sorted(analytics.BY_NAME), "What is asked.")
    flags.DEFINE_enum(
        "secure_sum", "plain", sorted(secure_sum.BY_NAME), "How integers are summed securely."
    )
    hparams_flags.define_data("digits")
    hparams_flags.define(value_sources.Hparams)
    hparams_flags.define(questions.Hparams)
    hparams_flags.define(spending.Hparams)
    hparams_flags.define(dropouts.Hparams, prefix="dropout_")
    flags.DEFINE_integer("show", 20, "Rows of the table, at most.", lower_bound=1)
    flags.DEFINE_string("plot", "", "Picture of the answer to write, .png or .svg.")
    for name in sorted(set(FLAGS) - before):
        FLAGS.register_key_flag_for_module(sys.argv[0], FLAGS[name])
    hparams_flags.define(local.Hparams)
    for by_name in ROOMS.values():
        hparams_flags.define_plugins(by_name)


def build() -> tuple[questions.Study, object]:
    """The study and the secure sum from the flags; raises ValueError for what can't be asked."""
    hparams = hparams_flags.read(questions.Hparams)
    asked = hparams_flags.read(value_sources.Hparams)
    protocol = secure_sum.BY_NAME[FLAGS.secure_sum].build(
        hparams_flags.read_plugin(secure_sum.BY_NAME, FLAGS.secure_sum)
    )
    check_protocol(hparams.mechanism, protocol.is_secure)
    own = hparams_flags.read_plugin(analytics.BY_NAME, FLAGS.query)
    has_own_data = asked.value in value_sources.OWN_DATA
    if has_own_data and (FLAGS["dataset"].present or FLAGS.partition or FLAGS.data_dir):
        raise ValueError(
            f"--value={asked.value} has clients of its own; leave --dataset, --data_dir and "
            f"--partition out."
        )
    data = None if has_own_data else hparams_flags.load_data(FLAGS.dataset)
    held = value_sources.load(asked, data, seed=hparams.seed)
    shared = hparams_flags.read(spending.Hparams)
    made = questions.prepare(
        FLAGS.query, analytics.BY_NAME[FLAGS.query], own, held, hparams, shared
    )
    protocol.check(made.hparams.clients_per_round)
    return made, protocol


def check_protocol(mechanism: str, is_secure: bool) -> None:
    """Refuses, or warns of, noise that does not go with the secure sum."""
    if mechanism == "local_gaussian" and is_secure:
        raise ValueError(
            f"--mechanism=local_gaussian sends each client's noisy vector in the clear, and "
            f"--secure_sum={FLAGS.secure_sum} is to hide it; take --secure_sum=plain, or "
            f"--mechanism=skellam."
        )
    if mechanism in ("discrete_gaussian", "skellam") and not is_secure:
        logging.warning(
            "--secure_sum=plain: the server sees each client's vector with a small share of the "
            "noise."
        )


def answer() -> str:
    """The text that answers; raises as `questions.prepare` and `study.ask` do."""
    if FLAGS.plot:
        privacy_answers.check_picture(pathlib.Path(FLAGS.plot))
    made, protocol = build()
    world = participation.World(dropping=hparams_flags.read(dropouts.Hparams, prefix="dropout_"))
    with local.use(hparams_flags.read(local.Hparams), secure_sum=protocol) as context:
        result = study.ask(made, context, world, repeatable=FLAGS.seed_noise >= 0)
    if result.answer is None:
        raise runtime.RoundAborted("every round was aborted, too few clients were left.")
    lines = [("data", made.held.source), *answers.summary(result.answer), *result.lines]
    if FLAGS.plot:
        title = f"{FLAGS.query} of {made.held.name}: {made.held.source}"
        answers.plot(result.answer, pathlib.Path(FLAGS.plot), title=title)
        lines.append(("plot", FLAGS.plot))
    width = max(len(name) for name, _ in lines)
    text = "\n".join(f"{name:<{width}}  {value}" for name, value in lines)
    return f"{answers.as_text(result.answer, show=FLAGS.show)}\n\n{text}"


def main(argv: list[str]) -> int:
    """Prints the answer; bad input is one line and exit code 2, a run that failed 1."""
    if QUIET:
        logging.set_verbosity(logging.ERROR if FLAGS.secure_sum == "plain" else logging.WARNING)
    try:
        command_line.refuse_arguments(argv)
        print(answer())
        return 0
    except (
        ValueError,
        OSError,
        runtime.ClientError,
        runtime.RefusedError,
        runtime.RoundAborted,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, RuntimeError) else 2


if __name__ == "__main__":
    command_line.define_or_exit(define_flags)
    command_line.run(main)
