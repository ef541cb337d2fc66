"""The processes that run one command together, as ``torchrun`` starts them; a single process is a group of one.

Messages go through one exchange, that of `Processes.gather`, in which an error takes the place of a value: so every
process learns of an error at its next exchange, and all end.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vastmax.checks import shown
from vastmax.errors import InputError, VastmaxError
from vastmax.machine import versions
from vastmax.runs.stop import signals_held

__all__ = [
    "ALONE",
    "EndedElsewhere",
    "Processes",
    "first_here",
    "joined",
    "leads",
    "restarted",
    "started_in_group",
    "tells",
]

_PATIENCE = timedelta(days=1)  # timeout: one may have a huge file to read; a dead one is noticed at once
_MESSAGE = 4096  # bytes sent at once, enough for most messages
_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class EndedElsewhere(VastmaxError):  # noqa: N818 (not an error of this process)
    """Another process ended the run; that process reports the error, so the command line of this one does not."""


def started_in_group() -> bool:
    """Whether a launcher such as ``torchrun`` started this process in a group, judging by environment variables."""
    return all(os.environ.get(name) for name in _NEEDED) and _number("WORLD_SIZE", 1) > 1


def restarted() -> bool:
    """Whether the launcher restarted the processes because one of them had died."""
    return started_in_group() and _number("TORCHELASTIC_RESTART_COUNT", 0) > 0


def first_here() -> bool:
    """Whether this is the first process of its machine, or the only one: it reports for all of them."""
    return not started_in_group() or _number("LOCAL_RANK", _number("RANK", 0)) == 0


def leads() -> bool:
    """Whether this process is the leader (rank 0) of its group, or the only one: it reports the result of the run."""
    return not started_in_group() or _number("RANK", 0) == 0


def tells(error: BaseException | str) -> bool:
    """Whether this process reports an error: the process that raised it, or the first of its machine."""
    return not isinstance(error, EndedElsewhere) and (getattr(error, "rank", None) is not None or first_here())


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default


class Processes:
    """The processes of a run; all of them call each method but `leads`, in the same order.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
        local_rank: Number of this process on its machine, from 0.
    """

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0) -> None:
        self.rank, self.size, self.local_rank = rank, size, local_rank
        self._ended = False

    @property
    def leads(self) -> bool:
        """Whether this process is the leader, which shows progress and writes the common files."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """Return the value (JSON) of each process, by rank.

        Raises:
            EndedElsewhere: Another process has ended the phase, or is gone.
        """
        if self.size == 1:
            return [json.loads(json.dumps(value))]
        said = self._exchange({"value": value})
        for rank, each in enumerate(said):
            if "error" in each:
                self._ended = True
                raise EndedElsewhere(f"process {rank} ended the run: see its own error.")
        return [each["value"] for each in said]

    def anywhere(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each flag whether it is set on any process."""
        if self.size == 1:
            return flags
        return tuple(any(column) for column in zip(*self.gather([bool(each) for each in flags]), strict=True))

    def agree(self, what: str, value: Any) -> None:
        """Check that all processes have the same value (JSON); for a mapping, the error names the key that differs.

        Raises:
            InputError: The values differ.
        """
        values = self.gather(value)
        for rank, each in enumerate(values):
            if each == values[0]:
                continue
            name, first, other = what, values[0], each
            if isinstance(first, dict) and isinstance(other, dict):
                key = next(key for key in {**first, **other} if first.get(key) != other.get(key))
                name, first, other = f"{key} of {what}" if what else key, first.get(key), other.get(key)
            raise InputError(
                f"{name} differs between processes ({shown(first)} on rank 0, {shown(other)} on rank {rank}): "
                "make it the same everywhere."
            )

    @contextmanager
    def together(self) -> Iterator[None]:
        """Run a phase that ends on all processes if it ends on one, before any of them continues.

        The lowest rank with an error raises it: a `VastmaxError` names rank and host unless all processes have the
        same error. All others raise `EndedElsewhere`. A nested phase reports for the outer one too.
        """
        if self.size == 1:
            yield
            return
        try:
            yield
        except Exception as error:
            if self._ended or isinstance(error, EndedElsewhere):
                raise
            sentence = str(error) if isinstance(error, VastmaxError) else repr(error)
            said = self._exchange({"error": sentence, "host": socket.gethostname()})
            self._ended = True
            those = [rank for rank, each in enumerate(said) if "error" in each]
            if self.rank != those[0]:
                raise EndedElsewhere(f"process {those[0]} ended the run: see its own error.") from error
            if not isinstance(error, VastmaxError):
                raise
            alike = len({said[rank]["error"] for rank in those}) == 1 and len(those) == self.size
            told = error if alike else type(error)(f"rank {self.rank} on {said[self.rank]['host']}: {sentence}")
            told.rank = self.rank
            raise told from error
        else:
            if not self._ended:
                self.gather(None)

    def from_leader(
        self, arrays: Mapping[str, NDArray[Any]] | None, keep: Callable[[str, NDArray[Any]], NDArray[Any]] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Return the arrays of the leader, of any shapes and dtypes; the others pass None.

        Arrays are sent one at a time, and ``keep`` returns from a name and an array the part of it to keep.
        """
        if self.size == 1:
            return dict(arrays or {})
        import torch

        mine = {name: np.asarray(each, order="C") for name, each in (arrays or {}).items()}
        described = {name: (each.shape, np.lib.format.dtype_to_descr(each.dtype)) for name, each in mine.items()}
        found = {}
        for name, (shape, kind) in self.gather(described)[0].items():
            fields: Any = kind if isinstance(kind, str) else [tuple(each) for each in kind]
            dtype = np.lib.format.descr_to_dtype(fields)
            found[name] = mine[name] if self.leads else np.empty(shape, dtype)
            if found[name].nbytes:
                with self._peers():
                    torch.distributed.broadcast(torch.from_numpy(found[name].reshape(-1).view(np.uint8)), 0)
            if keep is not None:
                found[name] = keep(name, found[name])
        return found

    def swap(self, parts: Sequence[bytes]) -> list[bytes]:
        """Send each process its part, by rank, and return what each of them sent to this one."""
        if self.size == 1:
            return list(parts)
        import torch

        sizes = [each[self.rank] for each in self.gather([len(each) for each in parts])]
        sent = torch.frombuffer(bytearray(b"".join(parts) or b"\0"), dtype=torch.uint8)[: sum(map(len, parts))]
        found = torch.empty(sum(sizes), dtype=torch.uint8)
        with self._peers():
            torch.distributed.all_to_all_single(found, sent, sizes, [len(each) for each in parts])
        return [each.numpy().tobytes() for each in found.split(sizes)]

    def add_up(self, array: NDArray[np.float32]) -> int:
        """Replace a contiguous float32 array by its sum over all processes; return the bytes that all of them sent."""
        if self.size == 1 or not array.size:
            return 0
        import torch

        with self._peers():
            torch.distributed.all_reduce(torch.from_numpy(array))
        return 2 * (self.size - 1) * array.nbytes  # reduce-scatter and all-gather: each sends (size - 1) / size, twice

    def _exchange(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        """Send a message and return those of all processes, by one collective, or two if a message is long."""
        text = json.dumps(message).encode()
        said = self._bytes(len(text).to_bytes(8, "little") + text[: _MESSAGE - 8], _MESSAGE)
        lengths = [int.from_bytes(each[:8], "little") for each in said]
        if max(lengths) > _MESSAGE - 8:
            rest = self._bytes(text[_MESSAGE - 8 :], max(lengths))
            said = [first + other for first, other in zip(said, rest, strict=True)]
        return [json.loads(each[8 : 8 + length]) for each, length in zip(said, lengths, strict=True)]

    def _bytes(self, mine: bytes, length: int) -> list[bytes]:
        import torch

        sent = torch.zeros(length, dtype=torch.uint8)
        sent[: len(mine)] = torch.frombuffer(bytearray(mine), dtype=torch.uint8) if mine else sent[:0]
        found = [torch.empty_like(sent) for _ in range(self.size)]
        with self._peers():
            torch.distributed.all_gather(found, sent)
        return [each.numpy().tobytes() for each in found]

    @contextmanager
    def _peers(self) -> Iterator[None]:
        """Wrap a collective: if it fails, as another process is gone, the run of this process ends too."""
        try:
            yield
        except RuntimeError as error:
            self._ended = True
            raise EndedElsewhere(f"another process of the group is gone ({error}): see its own error.") from error


ALONE = Processes()
"""The group of a process that was started alone."""


_meetings = count()


@cache
def _launcher() -> tuple[Any, int, int]:
    """Return the launcher's store, the rank of this process, and the number of processes."""
    from torch.distributed.rendezvous import rendezvous

    return next(rendezvous("env://", timeout=_PATIENCE))


def _meet() -> tuple[Any, int, int]:
    """Like `_launcher`, but with a new prefix in the store each time.

    The store still holds the keys of the previous group, and those of dead processes after a restart.
    """
    from torch.distributed import PrefixStore  # pyright: ignore[reportPrivateImportUsage]

    store, rank, size = _launcher()
    attempt = _number("TORCHELASTIC_RESTART_COUNT", 0)
    return PrefixStore(f"vastmax {attempt} {next(_meetings)}", store), rank, size


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that this one was started with, or stay alone; leave them on exit.

    A process group that the caller has initialised is used and left as it is. Otherwise one is created: gloo for
    tensors in memory and, with CUDA, nccl for tensors on GPUs.

    Raises:
        InputError: PyTorch is missing, the others cannot be reached, or versions differ between processes.
    """
    if not started_in_group():
        yield ALONE
        return
    with signals_held():
        try:
            from torch import cuda, distributed
        except ImportError as error:
            raise InputError(
                f"a run of several processes needs PyTorch ({error}): pip install 'vastmax[torch]'."
            ) from error
    own = not distributed.is_initialized()
    if own:
        try:
            store, rank, size = _meet()
            backend = "cpu:gloo,cuda:nccl" if cuda.is_available() else "gloo"
            distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_PATIENCE)
        except (RuntimeError, ValueError, OSError) as error:
            address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            refusal = InputError(
                f"rank {os.environ['RANK']} on {socket.gethostname()} cannot join the others at {address} "
                f"({str(error).splitlines()[0].rstrip('.')}): check that rank 0 runs there and can be reached."
            )
            refusal.rank = _number("RANK", 0)
            raise refusal from error
    rank = distributed.get_rank()
    group = Processes(rank, distributed.get_world_size(), _number("LOCAL_RANK", rank))
    try:
        with group.together():
            group.agree("versions", versions())
        yield group
    finally:
        if own:
            with suppress(RuntimeError):  # the other processes may be gone
                distributed.destroy_process_group()
