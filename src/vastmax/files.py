"""Files that are either the old or the new, never half of one; and files of others, opened with a sentence ready."""

from __future__ import annotations

import gzip
import os
import shutil
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from vastmax.errors import FormatError, InputError

__all__ = ["cannot_write", "member", "opened", "replacing", "replacing_members"]

STAGING = ".incoming"


def cannot_write(path: str | os.PathLike[str], error: Exception) -> InputError:
    """Return the one sentence for a folder without permission, a full disk and the like."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return InputError(f"cannot write {os.fspath(path)}: {reason}; make room or name another place.")


def _writing_errors() -> tuple[type[Exception], ...]:
    """What a disk that cannot be written raises; safetensors has an error of its own, which needs it to be loaded."""
    library = sys.modules.get("safetensors")
    return (OSError,) if library is None else (OSError, library.SafetensorError)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside path and move it there in the end; a kill or an error leaves the old file.

    A link stays a link to what is replaced. What is no file, as ``/dev/stdout``, is written to directly.
    """
    target = Path(os.path.realpath(path))
    direct = target.exists() and not target.is_file()
    temporary = target if direct else target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if not direct:
            os.replace(temporary, target)
    except _writing_errors() as error:
        raise cannot_write(path if direct else target, error) from error
    finally:
        with suppress(OSError):  # gone, or on a disk that is read-only, which has been told
            if not direct:
                temporary.unlink()


@contextmanager
def replacing_members(directory: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty folder whose files, in the end, all replace those of the same names in directory, at one moment.

    The moment is the renaming of the staging folder to ``.incoming``: before it `member` finds the old files, from
    then on the new ones, moved or not. Files of other names stay as they are.
    """
    target = Path(directory)
    staging = target / f"{STAGING}.{os.getpid()}.tmp"
    try:
        target.mkdir(parents=True, exist_ok=True)
        _finish_moving(target)
        for abandoned in target.glob(f"{STAGING}.*.tmp"):
            shutil.rmtree(abandoned, ignore_errors=True)
        staging.mkdir()
        yield staging
        # A name must not reach the disk before the bytes it stands for: the power may fail between the two.
        for file in staging.iterdir():
            _sync(file)
        _sync(staging)
        staging.rename(target / STAGING)
        _sync(target)
        _finish_moving(target)
    except _writing_errors() as error:
        raise cannot_write(target, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk, where the system can."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def member(directory: Path, name: str) -> Path:
    """Return where the file of this name is now, also where a kill came in the midst of replacing."""
    incoming = directory / STAGING / name
    return incoming if incoming.exists() else directory / name


def _finish_moving(directory: Path) -> None:
    incoming = directory / STAGING
    if incoming.is_dir():
        for file in sorted(incoming.iterdir()):
            os.replace(file, directory / file.name)
        incoming.rmdir()


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file for reading, unpacking gzip; what is wrong with either comes as InputError or FormatError."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as raw:
            packed = raw.peek(2)[:2] == b"\x1f\x8b"
            with gzip.GzipFile(fileobj=raw) if packed else raw as file:
                yield file  # type: ignore[misc]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FormatError(f"{name} is a damaged or truncated gzip file: {error}.") from error
    except FileNotFoundError:
        raise InputError(f"{name} does not exist.") from None
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror or error}.") from error
