"""Hparams dataclass -> absl flags. Name, type, default and help are written once, in the
dataclass.
"""

import ast
import dataclasses
import functools
import inspect
import itertools
import sys
import textwrap
import types
import typing
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, TypeVar

from absl import flags

from tff_experiments import datasets, plugins
from tff_experiments.datasets import partition

T = TypeVar("T")
_DEFINE = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


def define(
    hparams_class: type,
    *,
    prefix: str = "",
    defaults: Mapping[str, Any] = types.MappingProxyType({}),
    choices: Mapping[str, Sequence[str]] = types.MappingProxyType({}),
) -> None:
    """Defines a flag for each field: --<prefix><field>. A field that a class inherits shares the
    flag that its base has by that name.

    Args:
        hparams_class: A frozen dataclass; each field's help is the string below it, if any.
        prefix: What the flags' names begin with.
        defaults: Field -> default that differs from the class's.
        choices: Field -> what it may be, where that is not known when the class is written.

    Raises:
        ValueError: A flag is there already, a field has no default, or no type that a flag has.
    """
    hints = typing.get_type_hints(hparams_class)
    helps = _helps(hparams_class)
    bases = [base for base in hparams_class.__bases__ if dataclasses.is_dataclass(base)]
    inherited = {field.name for base in bases for field in dataclasses.fields(base)}
    for field in dataclasses.fields(hparams_class):
        name = prefix + field.name
        if name in flags.FLAGS and field.name in inherited:
            continue
        if name in flags.FLAGS:
            raise ValueError(
                f"flag --{name} is defined twice, the second time by {hparams_class.__module__}."
            )
        default = defaults.get(field.name, field.default)
        hint, text = hints[field.name], helps.get(field.name, "")
        allowed = choices.get(field.name)
        if typing.get_origin(hint) is typing.Literal:
            allowed = typing.get_args(hint)
        if default is dataclasses.MISSING or not (allowed or hint in _DEFINE):
            raise ValueError(
                f"{hparams_class.__module__}.{hparams_class.__qualname__}: {field.name} becomes a "
                "flag, so it must be a bool, int, float, str or Literal[...], with a default."
            )
        if allowed:
            flags.DEFINE_enum(name, default, allowed, text)
        else:
            _DEFINE[hint](name, default, text)


def read(hparams_class: type[T], *, prefix: str = "") -> T:
    """Makes the dataclass from its flags; raises ValueError as its `__post_init__` does."""
    names = [field.name for field in dataclasses.fields(hparams_class)]
    return hparams_class(**{name: flags.FLAGS[prefix + name].value for name in names})


def define_plugins(by_name: Mapping[str, types.ModuleType]) -> None:
    """Defines the flags of all entries of a room, each prefixed as `prefix_of` says."""
    for name, module in by_name.items():
        define(module.Hparams, prefix=prefix_of(name, module))


def prefix_of(name: str, module: types.ModuleType) -> str:
    """An entry's name and "_", unless the entry says another `FLAG_PREFIX`: a default has none."""
    return getattr(module, "FLAG_PREFIX", f"{name}_")


def read_plugin(by_name: Mapping[str, types.ModuleType], name: str) -> Any:
    """Makes the `Hparams` of one entry of a room."""
    return read(by_name[name].Hparams, prefix=prefix_of(name, by_name[name]))


def load_plugins(
    help_text: str, rooms: Mapping[str, MutableMapping[str, types.ModuleType]]
) -> None:
    """Defines --plugin and adds its files to their rooms: their flags are not known before.

    Args:
        help_text: What the files may hold.
        rooms: As `plugins.load` has them, which says what else is raised.

    Raises:
        ValueError: A flagfile can't be read.
    """
    flags.DEFINE_list("plugin", [], help_text)
    try:
        flags.FLAGS(sys.argv, known_only=True)
    except flags.Error as error:
        raise ValueError(str(error).removeprefix("ERROR:: ")) from error
    plugins.load(flags.FLAGS.plugin, rooms)
    flags.FLAGS.unparse_flags()


def define_data(default_dataset: str | None) -> None:
    """Defines what chooses the data: source, partition and where files are."""
    choices = sorted(datasets.BY_NAME)
    text = "Source of the data" + ("; by default the task's." if default_dataset is None else ".")
    flags.DEFINE_enum("dataset", default_dataset, choices, text)
    partitions = [partition.NATURAL, *sorted(partition.BY_NAME)]
    text = "How clients are made; by default as the source has it."
    flags.DEFINE_enum("partition", None, partitions, text)
    flags.DEFINE_string("data_dir", "", "Folder with the source's files.")
    text = "Converted data; by default $TFF_EXPERIMENTS_CACHE or ~/.cache/tff_experiments."
    flags.DEFINE_string("cache_dir", "", text)
    define(partition.Hparams, prefix="partition_")


def load_data(default_dataset: str):
    """Loads the `FederatedData` that the flags choose; raises as `datasets.load` does."""
    source = flags.FLAGS.dataset or default_dataset
    return datasets.load(
        source,
        read_plugin(datasets.BY_NAME, source),
        data_dir=flags.FLAGS.data_dir,
        cache_dir=flags.FLAGS.cache_dir,
        partition_name=flags.FLAGS.partition or "",
        partition_hparams=read(partition.Hparams, prefix="partition_"),
    )


def lines(names: list[str]) -> list[str]:
    """The flags' values as the lines of a flagfile; those without a value are left out."""
    values = {name: flags.FLAGS[name].value for name in names}
    return [f"--{name}={_text(value)}" for name, value in values.items() if value not in (None, [])]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


@functools.cache
def _helps(hparams_class: type) -> dict[str, str]:
    """Field name -> the string literal that follows the field in the class's source, or in that of
    the class that it inherits the field from.
    """
    inherited = [_helps(base) for base in hparams_class.__bases__ if dataclasses.is_dataclass(base)]
    body = ast.parse(textwrap.dedent(inspect.getsource(hparams_class))).body[0].body
    own = {
        field.target.id: " ".join(text.value.value.split())
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }
    return {name: text for helps in [*inherited, own] for name, text in helps.items()}
