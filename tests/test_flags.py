"""Hparams become flags; every config parses; plug-ins keep their room's contract."""

import dataclasses
import sys
from typing import Literal

import launch
import pytest
from absl import flags
from conftest import REPO

from tff_experiments import datasets, quiet, runtime, secure_sum, tasks
from tff_experiments import flags as hparams_flags
from tff_experiments.aggregation import BY_NAME as AGGREGATORS
from tff_experiments.algorithms import BY_NAME as ALGORITHMS

ROOMS = (
    datasets.BY_NAME,
    tasks.BY_NAME,
    runtime.BY_NAME,
    secure_sum.BY_NAME,
    AGGREGATORS,
    ALGORITHMS,
)
MODULES = [module for by_name in ROOMS for module in by_name.values()]


@dataclasses.dataclass(frozen=True)
class Knobs:
    """Of each type one."""

    count: int = 3
    """How many."""
    rate: float = 0.5
    """How fast."""
    kind: Literal["a", "b"] = "a"
    """Which."""
    on: bool = False
    """Whether."""
    name: str = "x"
    """Who."""

    def __post_init__(self):
        if self.count < 0:
            raise ValueError(f"count must be >= 0, got {self.count}.")


@pytest.fixture
def knob_flags(monkeypatch):
    values = flags.FlagValues()
    monkeypatch.setattr(flags, "FLAGS", values)
    for kind, name in ((bool, "bool"), (int, "integer"), (float, "float"), (str, "string")):
        define = getattr(flags, f"DEFINE_{name}")
        monkeypatch.setitem(
            hparams_flags._DEFINE, kind, lambda *a, define=define: define(*a, flag_values=values)
        )
    enum = flags.DEFINE_enum
    monkeypatch.setattr(flags, "DEFINE_enum", lambda *a: enum(*a, flag_values=values))
    hparams_flags.define(Knobs, prefix="k_", defaults={"rate": 0.25})
    return values


def test_a_dataclass_makes_its_flags_and_is_made_of_them(knob_flags):
    assert knob_flags["k_count"].help == "How many." and knob_flags["k_rate"].default == 0.25
    knob_flags(["program", "--k_count=7", "--k_kind=b", "--k_on"])
    assert hparams_flags.read(Knobs, prefix="k_") == Knobs(7, 0.25, "b", True, "x")
    assert hparams_flags.lines(["k_on", "k_name"]) == ["--k_on=true", "--k_name=x"]


@dataclasses.dataclass(frozen=True)
class Bare:
    """No text below its field."""

    bare: int = 1


@dataclasses.dataclass(frozen=True)
class NoDefault:
    """A field without a default."""

    needed: int
    """How many."""


@dataclasses.dataclass(frozen=True)
class NoFlag:
    """A field of a type that no flag has."""

    sizes: tuple = (1, 2)
    """How large."""


def test_a_field_needs_no_help_but_a_default_and_a_type_that_flags_have(knob_flags):
    hparams_flags.define(Bare, prefix="k_")
    assert knob_flags["k_bare"].value == 1
    for wrong, field in ((NoDefault, "needed"), (NoFlag, "sizes")):
        with pytest.raises(ValueError, match=f"{field} becomes a flag, so it must be"):
            hparams_flags.define(wrong, prefix="k_")


@dataclasses.dataclass(frozen=True)
class MoreKnobs(Knobs):
    """Those, and one more."""

    size: int = 1
    """How large."""


def test_inherited_fields_share_the_flags_of_their_base(knob_flags):
    hparams_flags.define(MoreKnobs, prefix="k_")
    knob_flags(["program", "--k_count=7", "--k_size=2"])
    assert hparams_flags.read(Knobs, prefix="k_").count == 7
    assert hparams_flags.read(MoreKnobs, prefix="k_") == MoreKnobs(7, 0.25, size=2)
    with pytest.raises(ValueError, match="--k_size is defined twice"):
        hparams_flags.define(MoreKnobs, prefix="k_")


def test_wrong_values_are_refused(knob_flags):
    with pytest.raises(flags.IllegalFlagValueError, match=r"should be one of <a\|b>"):
        knob_flags(["program", "--k_kind=c"])
    knob_flags(["program", "--k_count=-1"])
    with pytest.raises(ValueError, match="count must be >= 0, got -1"):
        hparams_flags.read(Knobs, prefix="k_")


def test_a_flag_is_not_defined_twice(knob_flags):
    with pytest.raises(ValueError, match="--k_count is defined twice"):
        hparams_flags.define(Knobs, prefix="k_")


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_each_plug_in_has_hparams_with_help_and_a_source(module):
    assert dataclasses.is_dataclass(module.Hparams) and module.__doc__
    assert callable(getattr(module, "build", None) or module.use)
    helps = hparams_flags._helps(module.Hparams)
    for field in dataclasses.fields(module.Hparams):
        assert helps[field.name].endswith(".")
    module.Hparams()


@pytest.mark.parametrize("config", sorted((REPO / "configs").rglob("*.cfg")), ids=lambda p: p.stem)
def test_each_config_parses_and_says_its_command_and_number(config):
    text = config.read_text()
    assert text.startswith("# ") and "Expect" in text and "scripts/" in text
    command = [sys.executable, "scripts/run.py", f"--flagfile={config}", "--only_check_args"]
    done = launch.run(command, cwd=REPO, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("argv", "verbosity"),
    [([], -1), (["--verbosity=1"], 1), (["-v", "0"], 0), (["--rounds=5", "--v=1"], 1)],
)
def test_verbosity_is_read_before_absl_parses(argv, verbosity):
    assert quiet._verbosity(["run.py", *argv]) == verbosity
