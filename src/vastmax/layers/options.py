"""The options of layers, known from their signatures: which there are, of what types, and how text names them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np
import torch
from numpy.typing import ArrayLike

from vastmax.errors import InputError
from vastmax.proposals import PROPOSALS
from vastmax.trees import TREES

if TYPE_CHECKING:
    from vastmax.layers.base.output_layer import OutputLayer

__all__ = ["checked", "options_of", "parse_layer_options"]

F = TypeVar("F", bound=Callable[..., Any])

_ARRAY_TYPES = set(get_args(ArrayLike))
_TRUTHS = {"true": True, "yes": True, "false": False, "no": False}
_NAMES: dict[str, Mapping[str, Any]] = {"tree": TREES, "proposal": PROPOSALS}


@cache
def options_of(layer: type[OutputLayer]) -> dict[str, Any]:
    """What ``from_vocabulary`` of a layer takes by name, and its types.

    Those are its own arguments, and those of the constructor, to which it hands the rest, that can be left out; of
    both along the classes that the layer is made of, as far as each hands the rest on.
    """
    known: dict[str, Any] = {}
    for method in ("from_vocabulary", "__init__"):
        for function in (vars(kind)[method] for kind in layer.__mro__ if method in vars(kind)):
            function = inspect.unwrap(getattr(function, "__func__", function))
            parameters = inspect.signature(function).parameters.values()
            for parameter in parameters:
                if parameter.kind is parameter.KEYWORD_ONLY or parameter.default is not parameter.empty:
                    known.setdefault(parameter.name, _annotations(function).get(parameter.name, Any))
            if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
                break
    return {name: annotation for name, annotation in known.items() if name not in layer.refused_options}


def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of a function's arguments; none where they are names that are not there when the program runs."""
    try:
        return get_type_hints(function)
    except NameError:
        return {}


def checked(from_vocabulary: F) -> F:
    """``from_vocabulary`` with its options checked before it sees them."""
    names = list(inspect.signature(from_vocabulary).parameters)[3:]  # behind cls, in_features and vocabulary

    @wraps(from_vocabulary)
    def check_first(cls: type[OutputLayer], in_features: int, vocabulary: Any, *more: Any, **options: Any) -> Any:
        for name, value in {**dict(zip(names, more, strict=False)), **options}.items():
            types = _types_of(cls, name)
            if not any(_is(value, kind) for kind in types):
                raise InputError(f"{name} is {_shown(value)}: give {_described(types)}.")
        return from_vocabulary(cls, in_features, vocabulary, *more, **options)

    return cast(F, check_first)


def parse_layer_options(layer: type[OutputLayer], texts: Mapping[str, str]) -> dict[str, Any]:
    """Options of a layer as the command line gives them; see :func:`vastmax.layers.parse_options`."""
    return {name: _parsed(name, text, _types_of(layer, name)) for name, text in texts.items()}


def _types_of(layer: type[OutputLayer], name: str) -> list[Any]:
    """The types of which an option may be.

    Raises:
        InputError: where the layer has no such option.
    """
    if name in layer.refused_options:
        raise InputError(f"{name} {layer.refused_options[name]}.")
    known = options_of(layer)
    if name not in known:
        raise InputError(f"{layer.__name__} has no option {name!r}: choose from {', '.join(sorted(known))}.")
    return _members(known[name])


def _members(annotation: Any) -> list[Any]:
    """The members of a union; ``ArrayLike``, itself a union of many, as one."""
    if get_origin(annotation) not in (Union, UnionType):
        return [annotation]
    members = get_args(annotation)
    if torch.device in members:  # a string, there, is the name of one
        return [member for member in members if member is not str]
    if not _ARRAY_TYPES or not set(members) >= _ARRAY_TYPES:
        return list(members)
    return [ArrayLike, *(member for member in members if member not in _ARRAY_TYPES)]


def _is(value: Any, kind: Any) -> bool:
    """Whether a value is of a type; types that are not known here are left to the layer."""
    if kind is ArrayLike:
        return isinstance(value, torch.Tensor) or _is_array(value)
    if get_origin(kind) is Literal:
        return any(value is each or (type(value) is type(each) and value == each) for each in get_args(kind))
    if get_origin(kind) is Sequence:
        several = isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, (str, bytes))
        return several and all(_is(each, get_args(kind)[0]) for each in value)
    if kind is bool:
        return isinstance(value, (bool, np.bool_))
    if kind is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, Real) and not isinstance(value, bool) and value == value  # which NaN is not
    if kind is torch.dtype:
        return isinstance(value, kind) and value.is_floating_point
    if kind is torch.device:
        return isinstance(value, kind) or (isinstance(value, str) and _is_device(value))
    try:
        return not isinstance(kind, type) or isinstance(value, kind)
    except TypeError:  # a protocol, or Any
        return True


def _parsed(name: str, text: str, types: Sequence[Any]) -> Any:
    """The value that text stands for, by the narrowest of the types that takes it: a string is the last resort."""
    text = text.strip()
    if str in types and text not in _NAMES.get(name, {text}):
        raise InputError(f"there is no {name} {text!r}: choose one of {', '.join(_NAMES[name])}.")
    for kind in sorted(types, key=lambda kind: kind is str):
        try:
            value = _value(text, kind)
        except ValueError:
            continue
        if _is(value, kind):
            return value
    named = [kind for kind in types if _named(kind)]
    rest = "" if len(named) == len(types) else "; anything else takes Python"
    raise InputError(f"{name} is {text!r}: give {_described(named)}{rest}.")


def _value(text: str, kind: Any) -> Any:
    """The value of one type that text stands for; ValueError where there is none."""
    if kind is NoneType and text.lower() == "none":
        return None
    if kind is bool and text.lower() in _TRUTHS:
        return _TRUTHS[text.lower()]
    if kind in (int, float):
        return kind(text)
    if kind in (str, torch.device):
        return text
    if get_origin(kind) is Literal and text in get_args(kind):
        return text
    if get_origin(kind) is Sequence:
        return [_value(part.strip(), get_args(kind)[0]) for part in text.split(",") if part.strip()]
    raise ValueError(text)


def _is_array(value: Any) -> bool:
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError):  # rows of different lengths; what cannot be copied
        return False
    return array.ndim > 0 and array.dtype.kind in "biuf"


def _is_device(name: str) -> bool:
    try:
        torch.device(name)
    except RuntimeError:
        return False
    return True


def _named(kind: Any) -> bool:
    """Whether text can stand for a value of this type."""
    return kind in (NoneType, bool, int, float, str, torch.device) or get_origin(kind) in (Literal, Sequence)


def _described(types: Sequence[Any]) -> str:
    """What the types take, in words."""
    words = [_in_words(kind) for kind in types]
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _in_words(kind: Any) -> str:
    known = {NoneType: "none", bool: "true or false", int: "a whole number", float: "a number", str: "a string"}
    if kind in known:
        return known[kind]
    if kind is ArrayLike:
        return "an array"
    if kind is torch.dtype:
        return "a dtype of real numbers such as float32"
    if kind is torch.device:
        return "a device such as cpu"
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if get_origin(kind) is Sequence:
        return {int: "whole numbers such as 1000,4000"}.get(get_args(kind)[0], "several values")
    return f"a {getattr(kind, '__name__', kind)}"


def _shown(value: Any) -> str:
    """A value in a sentence, not a page."""
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"
