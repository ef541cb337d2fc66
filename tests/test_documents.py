"""Damaged or malicious JSON and TOML."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vastmax.documents import parse_json, parse_toml, read_json, read_toml
from vastmax.errors import FormatError

READERS = pytest.mark.parametrize("read", [read_json, read_toml], ids=["json", "toml"])


def test_what_is_in_it() -> None:
    assert parse_json('{"a": [1, null]}') == {"a": [1, None]}
    assert parse_toml("a = [1]\n[b]\nc = 'x'") == {"a": [1], "b": {"c": "x"}}


@READERS
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": ', "is not (JSON|TOML)"),
        (b"a = \xff", "is not UTF-8"),
        (b"a = " + b"[" * 100_000, r"is not (JSON \(|TOML \(it is nested too deeply)"),
        (b"", "is not JSON"),
        (b"a = " + b"1" * 5000, "is not (JSON|TOML)"),
    ],
    ids=["cut", "no UTF-8", "deep", "empty", "digits"],
)
def test_damaged(read: Callable[[Path], Any], content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    if read is read_toml and not content:
        assert read(path) == {}
        return
    with pytest.raises(FormatError, match=words):
        read(path)


def test_nested_too_deeply() -> None:
    for text in (".".join("a" * 1000) + " = 1", "[" + ".".join("a" * 1000) + "]"):
        with pytest.raises(FormatError, match="it is nested too deeply"):
            parse_toml(text)
    with pytest.raises(FormatError, match="it is nested too deeply"):
        parse_json("[" * 60 + "]" * 60)
    with pytest.raises(FormatError, match="not JSON"):
        parse_json('["\\ud800"]')
    assert parse_json("[" * 40 + "]" * 40) and parse_toml("a = '" + "." * 1000 + "'")
    for opened in ("[" * 100_000, '{"a":' * 100_000):
        with pytest.raises(FormatError, match="it is nested too deeply"):
            parse_json(opened)


@READERS
def test_what_is_too_long_is_not_read(read: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse: takes no disk space
    with pytest.raises(FormatError, match="is longer than 64 MB"):
        read(path)


@READERS
def test_what_is_not_there(read: Callable[[Path], Any], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")
