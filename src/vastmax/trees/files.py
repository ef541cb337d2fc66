"""Safetensors files with the arrays of trees and classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from os import PathLike, fspath
from typing import Literal, TypeVar

from numpy.typing import NDArray

from vastmax.errors import FormatError, InputError
from vastmax.files import as_path, check_opens, reading, replacing

__all__ = ["read_arrays", "write_arrays"]

T = TypeVar("T")
Kind = Literal["tree", "classes"]
Path = str | PathLike[str]


def write_arrays(path: Path, kind: Kind, arrays: dict[str, NDArray]) -> None:
    """Write arrays to a safetensors file, replaced atomically; InputError if it cannot be written."""
    from safetensors.numpy import save

    content = save(arrays, metadata={"format": f"vastmax {kind} 1"})
    with replacing(path) as temporary:
        temporary.write_bytes(content)  # save_file writes a temporary file of its own, which a kill would leave behind


def read_arrays(path: Path, kind: Kind, names: Iterable[str], make: Callable[..., T]) -> T:
    """Read the arrays of these names, and return ``make(*arrays)``.

    InputError if the file cannot be read, FormatError if it has another format or arrays that ``make`` rejects.
    """
    from safetensors import SafetensorError, safe_open

    name, expected = fspath(as_path(path)), f"vastmax {kind} 1"
    with reading(path):
        check_opens(path)
    try:
        with safe_open(name, framework="numpy") as file:
            found = (file.metadata() or {}).get("format")
            if found != expected:
                raise FormatError(f"{name} has the format {found!r}: give {expected!r}, or build the {kind} again.")
            return make(*(file.get_tensor(key) for key in names))
    except InputError as error:
        raise FormatError(f"{name} is damaged ({str(error).rstrip('.')}): build the {kind} again.") from error
    except (SafetensorError, ValueError, TypeError, AttributeError) as error:  # the last two: a dtype that NumPy lacks
        raise FormatError(f"{name} is not a {kind} file ({error}): give one that save wrote.") from error
