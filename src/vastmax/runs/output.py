"""The output folder of a run: checked before hours are spent, and never emptied unasked."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from vastmax.errors import InputError
from vastmax.files import member
from vastmax.runs.checkpoint import drop_checkpoint, holds_checkpoint

__all__ = ["OutputFolder", "check_room"]

_CONFIG = "config.json"  # which every finished model has


def check_room(folder: Path, needed: int) -> None:
    """Raise InputError if the disk of a folder has fewer bytes free than a model and its checkpoint will take."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return
    if free < needed:
        raise InputError(
            f"the disk of {folder} has {free / 1e6:.0f} MB free where the model and its checkpoint need "
            f"{needed / 1e6:.0f} MB: free some, or name a folder on another disk."
        )


class OutputFolder:
    """A folder that will hold a model, embeddings or a language model, and until then its checkpoint.

    InputError where it cannot be written, or holds what neither ``resume`` (go on from the checkpoint in it, if there
    is one) nor ``overwrite`` (train anew although it holds a model or a checkpoint) allows to touch.
    """

    def __init__(self, path: str | os.PathLike[str], *, resume: bool = False, overwrite: bool = False) -> None:
        if resume and overwrite:
            raise InputError("resume and overwrite exclude each other: go on from the checkpoint, or start again.")
        self.path = Path(path)
        self.checkpoint = self.path / "checkpoint"
        self._made = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.path, prefix=".probe-") as file:
                file.write(b"\0" * 4096)
                file.flush()
        except OSError as error:
            self.discard_if_empty()
            reason = error.strerror or error
            raise InputError(f"the output folder {self.path} cannot be written ({reason}): name another.") from error
        if overwrite:
            return
        if self.has_checkpoint:
            if not resume:
                raise InputError(
                    f"{self.path} holds the checkpoint of an unfinished run: add --resume to go on, --overwrite to "
                    "start again, or name another folder."
                )
        elif member(self.path, _CONFIG).is_file():  # of embeddings, or of a language model
            ways = "nothing is left to resume: add" if resume else "add"
            raise InputError(
                f"{self.path} holds a finished model: {ways} --overwrite to train again, or name another folder."
            )

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is anything to resume from, by this kind of run or another."""
        return holds_checkpoint(self.checkpoint)

    def drop_checkpoint(self) -> None:
        """Delete the checkpoint: the run is finished, or starts anew."""
        drop_checkpoint(self.checkpoint)

    def discard_if_empty(self) -> None:
        """Take back a folder made for a run that never began."""
        if self._made:
            with contextlib.suppress(OSError):
                self.path.rmdir()
