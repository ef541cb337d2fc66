"""Atomic replacement of files and folders, and reading of files with one-sentence errors."""

from __future__ import annotations

import glob
import gzip
import os
import secrets
import shutil
import stat
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from vastmax.checks import refused, shown
from vastmax.errors import FormatError, InputError, VastmaxError
from vastmax.locks import claim, locked

__all__ = [
    "PATIENCE",
    "as_path",
    "cannot_write",
    "check_opens",
    "drop",
    "is_file",
    "map_array",
    "member",
    "opened",
    "read_members",
    "reading",
    "replacing",
    "replacing_members",
    "tidy",
    "token",
    "write_array",
    "writing",
]

if TYPE_CHECKING:  # callers with arrays have loaded NumPy; others do without it
    from numpy.typing import NDArray

T = TypeVar("T")
STAGING = ".incoming"
_DROPPED = ".dropped-"
_LONGEST_NAME = 100  # characters of a target's name in the name of its temporary file
_READS = 100  # attempts to read files that are replaced meanwhile
PATIENCE = 10.0  # seconds to wait for another writer to finish


def as_path(path: Any) -> Path:
    """Return the Path of a file or folder, existing or not; InputError if it cannot be a path."""
    try:
        name = "" if isinstance(path, bytes) or not isinstance(path, (str, os.PathLike)) else os.fspath(path)
        with suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(name or os.curdir)
    except (OSError, ValueError) as error:  # too long, contains NUL, no permission to look it up
        raise InputError(
            f"a path is {shown(path)} ({getattr(error, 'strerror', None) or error}): give another path."
        ) from error
    if not isinstance(name, str) or not isinstance(path, (str, os.PathLike)):
        raise refused("a path", path, "text or a Path")
    return Path(name)


def cannot_write(path: str | os.PathLike[str], error: Exception) -> InputError:
    """Return the error for a path that cannot be written: no permission, disk full and so on."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return InputError(f"{os.fspath(path)} cannot be written ({reason}): make room, or name another place.")


def _writing_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of failed writes, including that of safetensors if it is loaded."""
    library = sys.modules.get("safetensors")
    return (OSError,) if library is None else (OSError, library.SafetensorError)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path to write to, and atomically rename it to ``path`` at the end.

    A kill or an error leaves the old file. The target of a symbolic link is replaced, and the link kept. Anything but a
    regular file, such as ``/dev/stdout``, is written to directly. InputError if it cannot be written.
    """
    target = Path(os.path.realpath(as_path(path)))
    if target.exists() and not target.is_file():
        try:
            yield target
        except _writing_errors() as error:
            raise cannot_write(path, error) from error
        return
    of_target = f".{target.name[:_LONGEST_NAME]}."
    temporary = target.with_name(f"{of_target}{token()}.tmp")
    descriptor = None
    try:
        for left in target.parent.glob(f"{glob.escape(of_target)}*.tmp"):
            _delete_unlocked(left)
        # O_EXCL: never write to something that exists at this name already, such as a link
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        claim(descriptor)
        yield temporary
        os.fsync(descriptor)  # the data must reach the disk before the name does, in case of power failure
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except _writing_errors() as error:
        raise cannot_write(target, error) from error
    finally:
        with suppress(OSError):  # already renamed, or on a read-only disk, which was reported
            temporary.unlink()
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def replacing_members(directory: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty staging folder; at the end its files atomically replace those of the same names in ``directory``.

    The commit is the renaming of the staging folder to ``.incoming``: before it `member` finds the old files, after it
    the new ones, moved or not. Files of other names stay. InputError if it cannot be written, or another process is
    still writing to the directory after `PATIENCE` seconds.
    """
    target = as_path(directory)
    staging = target / f"{STAGING}.{token()}.tmp"
    with writing(target, patience=PATIENCE):
        try:
            tidy(target)
            staging.mkdir()
            yield staging
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


@contextmanager
def writing(directory: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Create a directory and hold its lock, see `locked`; InputError if it cannot be created or is locked."""
    with ExitStack() as stack:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(directory, patience=patience))
        except OSError as error:
            raise cannot_write(directory, error) from error
        yield


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as .npy; OSError if the disk is full, which np.save may not notice."""
    import numpy as np

    with path.open("wb") as file:
        np.lib.format.write_array(_Written(file), np.asarray(array), allow_pickle=False)


def map_array(path: Path) -> NDArray[Any]:
    """Return the memory-mapped array of a .npy file; FormatError if it is not valid, OSError if it cannot be read.

    The mapping is copy-on-write: PyTorch expects arrays that it wraps to be writable, but the file never changes.
    """
    import numpy as np

    try:
        return np.load(path, mmap_mode="c", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # damaged headers raise whatever NumPy's header parser raises
        raise FormatError(f"{path} is not a NumPy array ({error}): give a .npy file, or write it again.") from error


class _Written:
    """A file object that NumPy does not recognise as a file, so it uses ``write``, which reports errors."""

    def __init__(self, file: IO[bytes]) -> None:
        self.write = file.write


def tidy(directory: Path) -> None:
    """Finish what a killed process left in a folder: complete a commit, and delete staging and dropped folders."""
    with reading(directory):
        if not directory.is_dir():
            return
    with writing(directory, patience=PATIENCE):
        _finish_moving(directory)
        for left in (*directory.glob(f"{STAGING}.*.tmp"), *directory.glob(f"{_DROPPED}*")):
            shutil.rmtree(left, ignore_errors=True)


def drop(folder: Path) -> None:
    """Delete a folder atomically: a kill leaves it whole, or renamed for `tidy` to delete."""
    dropped = folder.with_name(f"{_DROPPED}{token()}")
    try:
        folder.rename(dropped)
    except OSError:  # missing, or cannot be renamed: delete it in place
        dropped = folder
    shutil.rmtree(dropped, ignore_errors=True)


def _delete_unlocked(left: Path) -> None:
    """Delete a temporary file unless a live process holds its lock."""
    with suppress(OSError):
        descriptor = os.open(left, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            if claim(descriptor):
                left.unlink()
        finally:
            os.close(descriptor)


def token() -> str:
    """Return 16 random hexadecimal digits for a unique file name."""
    return secrets.token_hex(8)


def _sync(path: Path) -> None:
    """Flush a file's data, or a folder's entries, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def member(directory: Path, name: str) -> Path:
    """Return the current path of this file in a directory, even if a commit was interrupted."""
    incoming = directory / STAGING / name
    return incoming if is_file(incoming) else directory / name


def read_members(directory: Path, names: Iterable[str], read: Callable[[], T]) -> T:
    """Return ``read()``, which reads these files of a directory, all from the same commit.

    If the files were replaced meanwhile, it is called again, whatever it returned or raised, up to 100 times.
    InputError if they cannot be read.
    """
    names = tuple(names)

    def state() -> list[tuple[Path, int, int, int] | None]:
        return [_identity(member(directory, name)) for name in names]

    for _ in range(_READS):
        before = state()
        try:
            with reading(directory):
                found = read()
        except VastmaxError:
            if state() == before:
                raise
        else:
            if state() == before:
                return found
    with reading(directory):
        return read()


def _identity(path: Path) -> tuple[Path, int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return path, status.st_ino, status.st_size, status.st_mtime_ns


def _finish_moving(directory: Path) -> None:
    incoming = directory / STAGING
    if incoming.is_dir():
        for file in sorted(incoming.iterdir()):
            os.replace(file, directory / file.name)
        incoming.rmdir()


def is_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a regular file exists; InputError, rather than False, if permissions forbid the lookup."""
    with reading(path):
        try:
            return stat.S_ISREG(os.stat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: NUL in a name
            return False


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Convert any OSError raised while reading a file or folder to an InputError."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{error.filename or os.fspath(path)} does not exist: check the path.") from None
    except OSError as error:
        name = error.filename or os.fspath(path)
        raise InputError(
            f"{name} cannot be read ({error.strerror or error}): check the path and its permissions."
        ) from error


def check_opens(path: str | os.PathLike[str]) -> None:
    """Raise OSError if a file cannot be opened, which safetensors would report as a missing file."""
    with open(path, "rb"):
        pass


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file for reading, decompressing gzip; InputError if it is unreadable, FormatError if gzip is damaged."""
    with reading(as_path(path)), open(path, "rb") as raw:
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        try:
            with gzip.GzipFile(fileobj=raw) if packed else raw as file:
                yield file  # type: ignore[misc]
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise FormatError(
                f"{os.fspath(path)} is a damaged or truncated gzip file ({error}): fetch or write it again."
            ) from error
