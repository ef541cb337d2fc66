"""The documentation of the running Python: a corpus that needs no download.

It consists of the docstrings and comments of the standard library and of installed packages, and of the topics of
``pydoc``. Files are parsed, never imported, so none of their code runs.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import site
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["documentation_folders", "read_documentation"]

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_SKIPPED_FOLDERS = {"__pycache__", "test", "tests", "site-packages", "dist-packages", "node_modules", "idle_test"}
# A sentence ends at .!?:; before a capital, at a blank line, or before a list item.
_BREAK = re.compile(r"\n\s*\n|\n\s*[-*•]\s+|(?<=[.!?:;])\s+(?=[A-Z])")
_WORD = re.compile(r"[A-Za-z][a-z]*(?:['-][a-z]+)*|[A-Z]+s?")
_EDGES = ".,;:!?()[]\"'*`"
_COMMENTS = re.compile(r"(?:^[ \t]*#.*\n)+", re.MULTILINE)
_COMMENT_MARK = re.compile(r"^[ \t]*#[#!: \t]*", re.MULTILINE)
_SHORTEST = 4
_PROSE = 0.6


def documentation_folders() -> list[Path]:
    """Return the folders of the standard library and of installed packages that this interpreter can see.

    In a virtual environment they include the packages of the base Python.
    """
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    folders = [sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    folders += [sysconfig.get_path("purelib", vars=base), *site.getsitepackages(), site.getusersitepackages()]
    unique = dict.fromkeys(Path(folder).resolve() for folder in folders)
    return [folder for folder in unique if folder.is_dir()]


def read_documentation(
    folders: Iterable[str | os.PathLike[str]] | None = None, *, max_words: int | None = None
) -> Iterator[list[str]]:
    """Yield the sentences of Python documentation as lists of lower-case words, without code and duplicates.

    Args:
        folders: Folders to search for ``.py`` files. Default: the topics of ``pydoc``, then `documentation_folders`.
        max_words: Largest number of words in all; None for no limit.
    """
    seen: set[bytes] = set()
    words = 0
    for text in _texts(folders):
        for sentence in _sentences(text):
            key = hashlib.blake2b(" ".join(sentence).encode(), digest_size=8).digest()
            if key in seen:
                continue
            if max_words is not None and words + len(sentence) > max_words:
                return
            seen.add(key)
            words += len(sentence)
            yield sentence


def _texts(folders: Iterable[str | os.PathLike[str]] | None) -> Iterator[str]:
    if folders is None:
        from pydoc_data.topics import topics

        yield from topics.values()
    for folder in documentation_folders() if folders is None else folders:
        for path in _python_files(Path(folder)):
            yield from _prose(path)


def _python_files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS)
        yield from (Path(root, name) for name in sorted(files) if name.endswith(".py"))


def _prose(path: Path) -> Iterator[str]:
    """Yield the docstrings and comment blocks of a file; nothing if this version of Python cannot parse it."""
    try:
        source = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for block in _COMMENTS.findall(source.decode("utf-8", "replace")):
        yield _COMMENT_MARK.sub("", block)
    # Only statements can hold docstrings; skipping expressions makes the walk fast.
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, _DOCUMENTED) and (text := ast.get_docstring(node)):
            yield text
        for name in ("body", "orelse", "handlers", "finalbody"):
            pending.extend(child for child in getattr(node, name, ()) if isinstance(child, ast.stmt))


def _sentences(text: str) -> Iterator[list[str]]:
    for part in _BREAK.split(_without_code(text)):
        tokens = [token.strip(_EDGES) for token in part.split()]
        # Tokens that are not words are code: names with dots or underscores, camelCase, numbers
        words = [token.lower() for token in tokens if _WORD.fullmatch(token)]
        if len(words) >= max(_SHORTEST, _PROSE * len(tokens)):
            yield words


def _without_code(text: str) -> str:
    """Drop interpreter sessions, literal blocks after ``::``, directives, underlines and quoted code."""
    kept: list[str] = []
    literal_indent, session = -1, False
    for line in text.splitlines():
        bare = line.strip()
        indent = len(line) - len(line.lstrip())
        session = bool(bare) and (session or bare.startswith(">>>"))
        if session:
            continue
        if literal_indent >= 0 and (not bare or indent > literal_indent):
            kept.append("")
            continue
        literal_indent = -1
        if bare.startswith(("..", "|", "+--", "===", "---", "$ ", "@")):
            kept.append("")
            continue
        if bare.endswith("::"):
            literal_indent = indent
        kept.append(line)
    return re.sub(r"``.*?``|:[a-z:]+:`[^`]*`|`[^`]*`", " ", "\n".join(kept))
