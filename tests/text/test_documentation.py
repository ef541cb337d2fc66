"""The documentation corpus that every installation has: it finds prose, skips code and executes nothing."""

import itertools
import sysconfig
from pathlib import Path

from vastmax.text import documentation_folders, read_documentation

MODULE = '''
"""Summary of the module. It has two sentences, the second with `code` in it.

A paragraph with ``literal.code()`` and :func:`a role` and x.y and some_name and camelCase left out.

    >>> print("an example is no prose at all")
    an example is no prose at all

Then comes a literal block::

    this is not to be read as prose

- The first item of a list.
- The second item of a list.
"""
raise SystemExit("nobody may run this")

# A comment that goes on
# over the end of its line.

class Class:
    """What the class is for."""

    def method(self):
        """Return the value of something."""
        if True:
            def inner():
                """This one is well hidden."""

def again():
    """What the class is for."""
'''


def sentences(folder: Path) -> list[str]:
    return [" ".join(sentence) for sentence in read_documentation([folder])]


def test_prose_is_read_and_code_is_not(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(MODULE)
    assert sorted(sentences(tmp_path)) == sorted(
        [
            "a comment that goes on over the end of its line",
            "summary of the module",
            "it has two sentences the second with in it",
            "a paragraph with and and and and left out",
            "then comes a literal block",
            "the first item of a list",
            "the second item of a list",
            "what the class is for",
            "return the value of something",
            "this one is well hidden",
        ]
    )


def test_files_that_are_no_python_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "nul.py").write_bytes(b'"""Some words that nobody will ever read."""\0')
    (tmp_path / "latin.py").write_bytes(b'# coding: latin-1\n"""Caf\xe9 words that are read all the same."""\n')
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text('"""A test has no words that matter here."""')
    assert sentences(tmp_path) == ["words that are read all the same"]


def test_limit_is_kept(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(MODULE)
    read = list(read_documentation([tmp_path], max_words=20))
    assert 10 < sum(map(len, read)) <= 20


def test_this_python_has_documentation() -> None:
    assert Path(sysconfig.get_path("stdlib")).resolve() in documentation_folders()
    read = list(itertools.islice(read_documentation(), 3000))
    words = [word for sentence in read for word in sentence]
    assert len(words) > 20_000
    assert words.count("the") > 500
    assert all(word == word.lower() and "_" not in word and "." not in word for word in words)
