"""gensim's tests with its classes replaced by ours, and the list of tests left out."""

from __future__ import annotations

import sys
import unittest
from collections.abc import Callable, Iterator
from functools import partial, wraps
from importlib import import_module
from itertools import product
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

FILES = ("test_word2vec", "test_phrases", "test_keyedvectors", "test_fasttext")
LEFT_OUT = Path(__file__).with_name("left_out.txt")


def cases_of(file: str) -> dict[str, unittest.TestCase]:
    """Return every test of one of gensim's files, keyed by ``Class.method``, with the classes replaced."""
    from vastmax.integrations.gensim import FastText, FrozenPhrases, Phrases, Word2Vec, load_facebook_model

    module = _loaded(file)
    if hasattr(module, "word2vec"):
        module.word2vec = _with(import_module("gensim.models.word2vec"), Word2Vec=Word2Vec)
    for name, ours in {"Phrases": Phrases, "FrozenPhrases": FrozenPhrases, "FT_gensim": FastText}.items():
        if hasattr(module, name):
            setattr(module, name, ours)
    if file == "test_fasttext":
        models = import_module("gensim.models")
        fasttext = _with(models.fasttext, load_facebook_model=load_facebook_model)
        module.gensim = SimpleNamespace(models=_with(models, fasttext=fasttext))
    cases = _flat(unittest.defaultTestLoader.loadTestsFromModule(module))
    # one file imports a test class of another
    own = [case for case in cases if type(case).__module__ == module.__name__]
    return {f"{type(case).__name__}.{case._testMethodName}": case for case in own} | _functions(module)


def _functions(module: ModuleType) -> dict[str, unittest.TestCase]:
    """Return the tests that are functions, one for each combination of parameters."""
    found: dict[str, unittest.TestCase] = {}
    for name, test in vars(module).items():
        if name.startswith("test_") and callable(test):
            marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
            for values in product(*(mark.args[1] for mark in marks)):
                given = dict(zip((mark.args[0] for mark in marks), values, strict=True))
                title = name + "".join(f"[{value}]" for value in values)
                found[title] = unittest.FunctionTestCase(partial(test, **given))
    return found


def left_out() -> dict[tuple[str, str], str]:
    """Return why tests are left out, keyed by (file, name); the list has lines ``file Class.method: why``."""
    lines = LEFT_OUT.read_text(encoding="utf-8").splitlines()
    found = {}
    for line in lines:
        if line and not line.startswith("#"):
            place, _, why = line.partition(": ")
            file, name = place.split()
            found[file, name] = why
    return found


def _with(module: ModuleType, **ours: Any) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(module), **ours})


def _flat(suite: Any) -> Iterator[Any]:
    for each in suite:
        yield from _flat(each) if isinstance(each, unittest.TestSuite) else [each]


def _loaded(file: str) -> ModuleType:
    """Import a gensim test file, with a stand-in for testfixtures' `log_capture`, which gensim does not install."""
    if "testfixtures" not in sys.modules:
        sys.modules["testfixtures"] = ModuleType("testfixtures")
        sys.modules["testfixtures"].log_capture = _log_capture  # type: ignore[attr-defined]
    return import_module(f"gensim.test.{file}")


def _log_capture() -> Callable[[Any], Any]:
    """Like testfixtures' `log_capture`: pass a test the log output of its run."""

    def decorate(test: Any) -> Any:
        @wraps(test)
        def run(self: unittest.TestCase) -> None:
            with self.assertLogs(level="INFO") as log:
                lines = log.output
                test(self, _Lines(lines))

        return run

    return decorate


class _Lines:
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def __str__(self) -> str:
        return "\n".join(self._lines)
