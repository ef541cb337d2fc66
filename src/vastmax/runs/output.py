"""The output folder of a run: checked before training, and never overwritten without permission."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from typing_extensions import Self

from vastmax.errors import InputError
from vastmax.files import as_path, drop, is_file, member, tidy
from vastmax.locks import locked
from vastmax.runs.checkpoint import holds_checkpoint

__all__ = ["OutputFolder", "check_room"]

_CONFIG = "config.json"  # present in every finished model


def check_room(folder: Path, needed: int) -> None:
    """Raise InputError if the disk of a folder has fewer free bytes than ``needed`` for model and checkpoint."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return
    if free < needed:
        raise InputError(
            f"the disk of {folder} has {free / 1e6:.0f} MB free, but the model and its checkpoint need "
            f"{needed / 1e6:.0f} MB: free some, or name a folder on another disk."
        )


class OutputFolder:
    """A folder for a model, embeddings or a language model, and for its checkpoint until it is finished.

    As a context manager, it locks the folder against other writers, and on exit removes it if it was created here
    and is empty. On entering, InputError if the folder cannot be written, if another process or thread writes to it,
    or if it holds a model or a checkpoint and neither ``resume`` (continue from the checkpoint, if there is one) nor
    ``overwrite`` (train again) is set.
    """

    def __init__(self, path: str | os.PathLike[str], *, resume: bool = False, overwrite: bool = False) -> None:
        if resume and overwrite:
            raise InputError("resume and overwrite exclude each other: give one of them.")
        self.path = as_path(path)
        self.checkpoint = self.path / "checkpoint"
        self._resume, self._overwrite = resume, overwrite
        self._end = ExitStack()

    def __enter__(self) -> Self:
        with self._end as stack:
            if not self.path.exists():
                stack.callback(self._discard_if_empty)
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=self.path) as file:
                    file.write(b"\0" * 4096)
                    file.flush()
                stack.enter_context(locked(self.path))
            except OSError as error:
                raise InputError(
                    f"the output folder {self.path} cannot be written ({error.strerror or error}): name another folder."
                ) from error
            tidy(self.path)
            if not self._overwrite:
                self._check()
            self._end = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()

    def _check(self) -> None:
        if self.has_checkpoint:
            if not self._resume:
                raise InputError(
                    f"{self.path} has the checkpoint of an unfinished run: add --resume to continue, --overwrite to "
                    "start again, or name another folder."
                )
        elif self.is_finished and not self._resume:
            raise InputError(
                f"{self.path} contains a finished model: add --overwrite to train again, or name another folder."
            )

    @property
    def has_checkpoint(self) -> bool:
        """Whether the folder holds a checkpoint, of this kind of run or another."""
        return holds_checkpoint(self.checkpoint)

    @property
    def is_finished(self) -> bool:
        """Whether the folder holds a finished model, embeddings or a language model, and no checkpoint."""
        return is_file(member(self.path, _CONFIG)) and not self.has_checkpoint

    def drop_checkpoint(self) -> None:
        """Delete the checkpoint, as the run is finished or starts again."""
        drop(self.checkpoint)

    def _discard_if_empty(self) -> None:
        with suppress(OSError):
            self.path.rmdir()
