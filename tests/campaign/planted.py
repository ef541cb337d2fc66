"""Readers and writers with one planted fault each, which the campaign must find."""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Callable
from pathlib import Path

from tests.campaign.readers import Reader
from tests.campaign.writers import Writer
from vastmax.errors import FormatError
from vastmax.files import token

__all__ = ["READERS", "WRITERS"]

_GOOD = '{"format": "planted", "rows": [1, 2, 3]}'


def _write(folder: Path) -> None:
    (folder / "planted.json").write_text(_GOOD)


def _unless_good(fault: Callable[[], object]) -> Reader:
    return Reader(_write, lambda at: None if (at / "planted.json").read_bytes() == _GOOD.encode() else fault())


def _spin() -> None:
    until = time.process_time() + 3.5
    while time.process_time() < until:
        pass


def _refuse() -> None:
    raise FormatError("planted.json is damaged.")


READERS: dict[str, Reader] = {
    "believes": Reader(_write, lambda at: sum(json.loads((at / "planted.json").read_bytes())["rows"])),
    "crashes": _unless_good(lambda: ctypes.string_at(0)),
    "fills memory": _unless_good(lambda: bytearray(b"x" * (200 << 20))),
    "spins": _unless_good(_spin),
    "refuses": _unless_good(_refuse),
}


def _in_place(folder: Path, which: int) -> None:
    (folder / "file").write_text(str(which) * 100)


def _leaving(folder: Path, which: int) -> None:
    temporary = folder / f"{token()}.tmp"
    temporary.write_text(str(which) * 100)
    temporary.replace(folder / "file")


def _read(folder: Path) -> str:
    if not (folder / "file").exists():
        raise FormatError("there is no file.")
    return (folder / "file").read_text()


WRITERS: dict[str, Writer] = {"in place": Writer(_in_place, _read), "leaving": Writer(_leaving, _read)}
