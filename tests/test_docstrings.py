"""Public docstrings say the shapes of tensors, the units of quantities, the errors and the source of a method."""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from functools import cache, reduce
from typing import Any

import pytest

from tests.test_pages import PACKAGES
from vastmax.layers import LAYERS
from vastmax.proposals import PROPOSALS
from vastmax.trees import TREES

SHAPE = re.compile(r"\((?:[\w.…+*·'-]+),(?:[\w .…+*·'-]+,?)*\)|\bscalar")  # (N, d), (V,), (…, d), (k + 1,)
ARRAY = re.compile(r"\b(?:Tensor|NDArray|ArrayLike)\b")
UNIT = re.compile(r"\b(?:seconds?|minutes?|bytes?|[KMG]i?B|tokens?|words?|steps?|epochs?)\b", re.IGNORECASE)
QUANTITY = re.compile(r"^(?:memory|budget|timeout|interval|patience|every|max_memory|limit|\w+_every)$")
CHECKS = {"refused", "one_of", "flag", "whole", "number", "word_list"}


@cache
def offered() -> dict[str, Any]:
    """Return every public class and function of the packages, and every public method defined in vastmax."""
    found: dict[str, Any] = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isfunction(thing) or inspect.isclass(thing):
                found[f"{thing.__module__}.{thing.__qualname__}"] = thing
            if inspect.isclass(thing):
                found |= {f"{part.__module__}.{part.__qualname__}": part for part in methods(thing)}
    return found


def methods(thing: type) -> Iterator[Callable[..., Any]]:
    """Yield the public methods of a class that vastmax defines, inherited ones included."""
    for name, part in inspect.getmembers(thing):
        function = inspect.unwrap(getattr(part, "__func__", part)) if callable(part) else None
        if inspect.isfunction(function) and function.__module__.startswith("vastmax") and not name.startswith("_"):
            yield function


def of_class(name: str) -> Any:
    """Return the class that defines a method, or None."""
    function = offered()[name]
    *owners, _ = function.__qualname__.split(".")
    if not owners or "<locals>" in owners:
        return None
    return reduce(getattr, owners, importlib.import_module(function.__module__))


def said(name: str) -> str:
    """Return a docstring joined with that of its class, which describes arguments shared by methods."""
    thing, owner = offered()[name], of_class(name)
    own = inspect.getdoc(thing) or ""
    own += (inspect.getdoc(thing.__init__) or "") if inspect.isclass(thing) else ""
    bases = owner.__mro__ if owner else thing.__mro__[1:] if inspect.isclass(thing) else ()
    more = [inspect.getdoc(base) or "" for base in bases if base.__module__.startswith("vastmax")]
    return "\n".join([own, *more])


def signature_of(thing: Any) -> inspect.Signature | None:
    """Return the signature of an object, or None for an exception or a protocol, which have none."""
    try:
        return inspect.signature(thing)
    except (TypeError, ValueError):
        return None


def raises(thing: Any) -> bool:
    """Return whether a function, or a class's construction, raises an error for some arguments."""
    parts = [vars(thing).get(name) for name in ("__init__", "__post_init__")] if inspect.isclass(thing) else [thing]
    for part in parts:
        try:
            body = ast.walk(ast.parse(textwrap.dedent(inspect.getsource(part))))  # type: ignore[arg-type]
        except (OSError, TypeError):  # the __init__ of a dataclass has no source
            continue
        for node in body:
            raised = ast.dump(node.exc) if isinstance(node, ast.Raise) and node.exc is not None else ""
            if raised and "NotImplementedError" not in raised:
                return True
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CHECKS:
                return True
    return False


def faults(name: str) -> Iterator[str]:
    """Yield what a docstring lacks."""
    thing, text = offered()[name], said(name)
    found = signature_of(thing)
    if found is not None:
        hints = [str(each.annotation) for each in found.parameters.values()] + [str(found.return_annotation)]
        if any(ARRAY.search(hint) for hint in hints) and not SHAPE.search(text):
            yield "no shape, as in (N, d)"
        for parameter in found.parameters:
            if QUANTITY.match(parameter) and not UNIT.search(text):
                yield f"no unit of {parameter}"
    if raises(thing) and "Error" not in text:
        yield "no error, as in InputError"


def test_docstrings_say_shapes_units_and_errors() -> None:
    found = [f"{name}: {fault}" for name in sorted(offered()) for fault in faults(name)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("methods", [LAYERS, PROPOSALS, TREES], ids=["layers", "proposals", "trees"])
def test_methods_name_their_source(methods: dict[str, Any]) -> None:
    docs = {name: inspect.getdoc(getattr(method, "func", method)) or "" for name, method in methods.items()}
    assert [name for name, doc in docs.items() if not re.search(r"\b(19|20)\d\d\b.*https?://", doc, re.DOTALL)] == []
