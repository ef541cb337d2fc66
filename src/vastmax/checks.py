"""Checks of values, which raise one sentence that names the argument, the value given and the values accepted."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from vastmax.errors import InputError

__all__ = [
    "LARGEST_SEED",
    "conforms",
    "described",
    "flag",
    "number",
    "one_of",
    "refused",
    "shown",
    "whole",
    "word_list",
]

LARGEST_SEED = 2**63 - 1
_LONGEST = 60  # characters of a value in a message
_NAMES = {
    Any: "anything",
    NoneType: "none",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
}


def refused(name: str, value: Any, wanted: str) -> InputError:
    """Return the error ``NAME is VALUE: give WANTED.`` for the caller to raise."""
    return InputError(f"{name} is {shown(value)}: give {wanted}.")


def shown(value: Any) -> str:
    """Return a value as shown in a message: dtype and shape of an array, otherwise its repr, truncated if long."""
    array = hasattr(value, "dtype") and hasattr(value, "shape")
    if array and value.shape != ():
        return f"{value.dtype} of shape {tuple(value.shape)}"
    try:
        text = str(value) if array else repr(value)
    except Exception:  # an int of thousands of digits, a recursive container, a failing __repr__
        return f"a {type(value).__name__} that cannot be written"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def one_of(name: str, value: Any, choices: Collection[str]) -> None:
    """Raise InputError unless the value is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise refused(name, value, _listed(map(repr, choices)))


def flag(name: str, value: Any) -> None:
    """Raise InputError unless the value is True or False."""
    if not isinstance(value, bool):
        raise refused(name, value, "true or false")


def whole(name: str, value: Any, low: float, high: float = math.inf, *, other: str = "") -> int:
    """Return an integer (NumPy's too) as an int; InputError if it is not one from ``low`` to ``high``.

    ``other`` names a further accepted value in the message, for example "None for no limit".
    """
    if not _is(value, Integral) or not low <= value <= high:
        raise refused(name, value, f"a whole number {_range(low, high)}{other and f', or {other}'}")
    return int(value)


def number(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
    other: str = "",
) -> float:
    """Return a real number (NumPy's too) as a float; InputError if it is not finite or out of range.

    The range is ``low`` to ``high``, without ``low`` if ``above`` and without ``high`` if ``below``; ``other`` is as in
    `whole`.
    """
    try:
        real = float(value) if _is(value, Real) else math.nan
    except OverflowError:  # an int above 1e308
        real = math.inf
    if not (math.isfinite(real) and low <= real <= high) or (above and real == low) or (below and real == high):
        raise refused(name, value, f"a number {_range(low, high, above, below)}{other and f', or {other}'}")
    return real


def word_list(words: Any) -> list[str]:
    """Return words as a list; InputError for a set, a mapping, non-strings, or strings that UTF-8 cannot encode."""
    if isinstance(words, (str, bytes, Set, Mapping)) or not isinstance(words, Iterable):  # a set has no order
        raise refused("words", words, "a list of words")
    found = list(words)
    try:
        "".join(found).encode()
    except TypeError:
        wrong = next(word for word in found if not isinstance(word, str))
        raise refused("a word", wrong, "text") from None
    except UnicodeEncodeError as error:
        wrong = next(word for word in found if error.object[error.start] in word)
        raise refused("a word", wrong, "text without unpaired surrogates") from None
    return found


def conforms(value: Any, hint: Any) -> bool:
    """Return whether a value has an annotated type, including the members of lists, tuples and mappings.

    Integers, NumPy's included, are accepted as ints and floats; NumPy's floats as floats only; True and False as
    neither. Arrays are sequences, strings are not.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return conforms(value, inner[0])
    if origin in (Union, UnionType):
        return any(conforms(value, each) for each in inner)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in inner)
    kind = NoneType if hint is None else origin or hint
    if kind is Any:
        return True
    if kind is bool:
        return isinstance(value, bool) or (str(getattr(value, "dtype", "")) == "bool" and value.shape == ())
    if kind in (int, float):
        return _is(value, Integral if kind is int else Real)
    if kind is Sequence and not isinstance(value, Sequence):
        if getattr(value, "shape", ()) == ():
            return False
    elif not isinstance(value, kind) or (kind is Sequence and isinstance(value, (str, bytes))):
        return False
    if not inner:
        return True
    if isinstance(value, Mapping):
        return all(conforms(key, inner[0]) and conforms(each, inner[1]) for key, each in value.items())
    if kind is tuple and inner[-1] is not ...:
        return len(value) == len(inner) and all(map(conforms, value, inner))
    return all(conforms(each, inner[0]) for each in value)


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def described(hint: Any) -> str:
    """Return a description of the values that an annotated type accepts, for messages."""
    return _listed(_alternatives(hint))


def _alternatives(hint: Any) -> list[str]:
    origin, inner = get_origin(hint), get_args(hint)
    kind = NoneType if hint is None else origin or hint
    if origin is Annotated:
        return _alternatives(inner[0])
    if origin in (Union, UnionType):
        return [word for each in inner for word in _alternatives(each)]
    if origin is Literal:
        return list(map(repr, inner))
    if kind in _NAMES:
        return [_NAMES[kind]]
    if not isinstance(kind, type):
        return ["anything"]
    several = issubclass(kind, Collection)
    what = "a table" if issubclass(kind, Mapping) else "a list" if several else f"a {kind.__name__}"
    members = [each for each in inner if each is not ...][-1:] if several else []
    return [what + "".join(f" of {_plural(each)}" for each in members if each is not Any)]


def _plural(hint: Any) -> str:
    """Return the description of a type in the plural, for the members of a list or a table."""
    return " or ".join(
        {"a whole number": "whole numbers", "a number": "numbers", "a table": "tables", "text": "texts"}.get(word, word)
        for word in _alternatives(hint)
    )


def _listed(words: Iterable[str]) -> str:
    *first, last = dict.fromkeys(words)
    return f"{', '.join(first)} or {last}" if first else last


def _range(low: float, high: float, above: bool = False, below: bool = False) -> str:
    if high == math.inf:
        return "that is finite" if low == -math.inf else f"above {low:g}" if above else f"of {_plain(low)} or more"
    least = f"above {_plain(low)}" if above else f"from {_plain(low)}"
    return f"{least} {'and' if above else 'to'} {'below ' if below else 'at most ' if above else ''}{_plain(high)}"


def _plain(bound: float) -> str:
    """Return a bound as text, ints with all digits."""
    return str(bound) if isinstance(bound, int) else f"{bound:g}"
