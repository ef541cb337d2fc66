"""Options as dataclass fields, each annotated once with its help, its accepted values and its command-line form."""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, fields
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from vastmax.checks import flag, number, one_of, refused, whole

__all__ = ["Flag", "Option", "check_options", "options_of"]


@dataclass(frozen=True)
class Flag:
    """Metadata of an option's field: ``dim: Annotated[int, Flag("Length of a vector.", low=1)] = 100``."""

    help: str
    metavar: str = ""  # placeholder in help; by default the choices of a Literal, or N, X or TEXT by type
    low: float = -math.inf
    high: float = math.inf
    above: bool = False  # whether low itself is excluded
    below: bool = False  # whether high itself is excluded
    default: str = ""  # meaning of a default of None, for help


@dataclass(frozen=True)
class Option:
    """A dataclass field annotated with a `Flag`."""

    name: str
    kind: type  # bool, int, float or str
    optional: bool  # whether None is accepted
    choices: tuple[str, ...]  # values of a Literal; otherwise empty
    default: Any
    flag: Flag


@cache
def options_of(options: type) -> tuple[Option, ...]:
    """Return the fields of a dataclass annotated with a `Flag`, in order."""
    hints, found = get_type_hints(options, include_extras=True), []
    for field in fields(options):
        if get_origin(hints[field.name]) is Annotated:
            kind, about = get_args(hints[field.name])
            several = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
            (kind,) = (each for each in several if each is not NoneType)
            choices = get_args(kind) if get_origin(kind) is Literal else ()
            default = None if field.default is MISSING else field.default
            found.append(Option(field.name, str if choices else kind, NoneType in several, choices, default, about))
    return tuple(found)


def check_options(options: Any) -> None:
    """Check all fields annotated with a `Flag`, and convert NumPy's numbers to Python's; for ``__post_init__``.

    InputError if a value is not accepted; the message names the option, the value and the accepted values.
    """
    for option in options_of(type(options)):
        name, value, about = option.name, getattr(options, option.name), option.flag
        if value is None and option.optional:
            continue
        if option.choices:
            one_of(name, value, option.choices)
        elif option.kind is bool:
            flag(name, value)
        elif option.kind is int:
            object.__setattr__(options, name, whole(name, value, about.low, about.high))
        elif option.kind is float:
            real = number(name, value, about.low, about.high, above=about.above, below=about.below)
            object.__setattr__(options, name, real)
        elif option.kind is str and not isinstance(value, str):
            raise refused(name, value, "text")
