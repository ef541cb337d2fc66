"""Files that are either the old or the new, never half of one; and files of others, opened with a sentence ready."""

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

if TYPE_CHECKING:  # whoever has an array has loaded numpy; whoever has none does without
    from numpy.typing import NDArray

T = TypeVar("T")
STAGING = ".incoming"
_DROPPED = ".dropped-"
_LONGEST_NAME = 100  # characters of a target's name in that of its temporary file
_READS = 100  # of files that are replaced while they are read, again and again
PATIENCE = 10.0  # seconds, for a writer that will soon have finished


def as_path(path: Any) -> Path:
    """Return what a caller gave as the name of a file or folder, there or not; InputError for what can be none."""
    try:
        name = "" if isinstance(path, bytes) or not isinstance(path, (str, os.PathLike)) else os.fspath(path)
        with suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(name or os.curdir)
    except (OSError, ValueError) as error:  # too long, NUL in it, no permission to look it up
        raise InputError(
            f"a path is {shown(path)} ({getattr(error, 'strerror', None) or error}): give another path."
        ) from error
    if not isinstance(name, str) or not isinstance(path, (str, os.PathLike)):
        raise refused("a path", path, "text or a Path")
    return Path(name)


def cannot_write(path: str | os.PathLike[str], error: Exception) -> InputError:
    """Return the one sentence for a folder without permission, a full disk and the like."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return InputError(f"{os.fspath(path)} cannot be written ({reason}): make room, or name another place.")


def _writing_errors() -> tuple[type[Exception], ...]:
    """What a disk that cannot be written raises; safetensors has an error of its own, which needs it to be loaded."""
    library = sys.modules.get("safetensors")
    return (OSError,) if library is None else (OSError, library.SafetensorError)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside path and move it there in the end; a kill or an error leaves the old file.

    A link stays a link to what is replaced. What is no file, as ``/dev/stdout``, is written to directly.
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
        # made here, and not by whoever writes: nothing that lies there already, a link for example, is written to
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        claim(descriptor)
        yield temporary
        os.fsync(descriptor)  # a name must not reach the disk before the bytes it stands for: the power may fail
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except _writing_errors() as error:
        raise cannot_write(target, error) from error
    finally:
        with suppress(OSError):  # gone, or on a disk that is read-only, which has been told
            temporary.unlink()
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def replacing_members(directory: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty folder whose files, in the end, all replace those of the same names in directory, at one moment.

    The moment is the renaming of the staging folder to ``.incoming``: before it `member` finds the old files, from
    then on the new ones, moved or not. Files of other names stay as they are. InputError where another process writes
    into the directory and goes on doing so.
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
    """Make a directory and hold it, see `locked`; InputError where it cannot be made."""
    with ExitStack() as stack:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(directory, patience=patience))
        except OSError as error:
            raise cannot_write(directory, error) from error
        yield


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as numpy's .npy; OSError where the disk is full, which numpy's own way to write may not notice."""
    import numpy as np

    with path.open("wb") as file:
        np.lib.format.write_array(_Written(file), np.asarray(array), allow_pickle=False)


def map_array(path: Path) -> NDArray[Any]:
    """Return the array of numpy's .npy, mapped; FormatError where it holds none, OSError where it cannot be read.

    It may be written to, as PyTorch expects of every array that it wraps: what is written stays in memory, and the
    file as it is.
    """
    import numpy as np

    try:
        return np.load(path, mmap_mode="c", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # of damaged headers numpy raises what the modules raise that it parses them with
        raise FormatError(f"{path} is not a NumPy array ({error}): give a .npy file, or write it again.") from error


class _Written:
    """A file that numpy does not know for one: it hands over bytes, and whether they were written is looked at."""

    def __init__(self, file: IO[bytes]) -> None:
        self.write = file.write


def tidy(directory: Path) -> None:
    """Bring to its end what a killed process left in a folder: files half moved, and what it was dropping."""
    with reading(directory):
        if not directory.is_dir():
            return
    with writing(directory, patience=PATIENCE):
        _finish_moving(directory)
        for left in (*directory.glob(f"{STAGING}.*.tmp"), *directory.glob(f"{_DROPPED}*")):
            shutil.rmtree(left, ignore_errors=True)


def drop(folder: Path) -> None:
    """Delete a folder at one moment: a kill leaves all of it, or what nobody reads and `tidy` finds."""
    dropped = folder.with_name(f"{_DROPPED}{token()}")
    try:
        folder.rename(dropped)
    except OSError:  # it is not there, or must go where it lies
        dropped = folder
    shutil.rmtree(dropped, ignore_errors=True)


def _delete_unlocked(left: Path) -> None:
    """Delete the temporary file of a process that was killed, and not that of one that is at work."""
    with suppress(OSError):
        descriptor = os.open(left, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            if claim(descriptor):
                left.unlink()
        finally:
            os.close(descriptor)


def token() -> str:
    """Return a part of a file's name that no one else has."""
    return secrets.token_hex(8)


def _sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def member(directory: Path, name: str) -> Path:
    """Return where the file of this name is now, also where a kill came in the midst of replacing."""
    incoming = directory / STAGING / name
    return incoming if is_file(incoming) else directory / name


def read_members(directory: Path, names: Iterable[str], read: Callable[[], T]) -> T:
    """Return what ``read`` makes of a directory's files of these names: all of one moment, if they are replaced.

    It is called again where they were meanwhile, whatever it returned or raised. InputError where they cannot be read.
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
    """Whether a file of this name is there; InputError where that may not be looked up: it is not taken for missing."""
    with reading(path):
        try:
            return stat.S_ISREG(os.stat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError, ValueError):  # the last: NUL in a name
            return False


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Around what reads a file or a folder: no permission, too many open files and the like become an InputError."""
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
    """Raise OSError where a file cannot be opened, of which safetensors only says that it is not there."""
    with open(path, "rb"):
        pass


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file for reading, unpacking gzip; what is wrong with either comes as InputError or FormatError."""
    with reading(as_path(path)), open(path, "rb") as raw:
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        try:
            with gzip.GzipFile(fileobj=raw) if packed else raw as file:
                yield file  # type: ignore[misc]
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise FormatError(
                f"{os.fspath(path)} is a damaged or truncated gzip file ({error}): fetch or write it again."
            ) from error
