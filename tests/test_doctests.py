"""Run the examples in docstrings."""

import doctest
from importlib import import_module
from pkgutil import walk_packages

import pytest

import vastmax

MODULES = [
    module.name for module in walk_packages(vastmax.__path__, "vastmax.") if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    found = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert found.failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    assert sum(len(test.examples) for name in MODULES for test in finder.find(import_module(name))) > 10
