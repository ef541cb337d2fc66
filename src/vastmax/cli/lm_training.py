"""The implementation of ``vastmax lm train``, in one process or in those that torchrun started."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vastmax.cli.console import command_line, interrupted, interrupted_training, note
from vastmax.cli.flags import keys_and_values, picked
from vastmax.cli.language import read_corpus, text_facts
from vastmax.language import LoopOptions, ModelOptions

if TYPE_CHECKING:
    from vastmax.comparison.report import RunRecord
    from vastmax.runs import Processes

__all__ = ["train_together"]


def train_together(
    context: typer.Context,
    processes: Processes,
    given: dict[str, Any],
    method: tuple[str, list[str] | None],
    *,
    output: Path | None,
    resume: bool,
    overwrite: bool,
) -> RunRecord | None:
    """Train in these processes and return the record; None if nothing is left to train."""
    from vastmax.comparison import RunConfig, check_sharding, method_with, run_language_model
    from vastmax.language import load_language_model
    from vastmax.runs import OutputFolder, restarted

    said, folder, reading = note if processes.leads else lambda _: None, None, True
    if restarted():
        goes_on = "training starts again" if output is None else f"the run in {output} continues"
        said(f"one of the processes ended, and all were started again: {goes_on}")
    with ExitStack() as stack:
        try:
            with processes.together():
                config = RunConfig(
                    method=method_with(method[0], keys_and_values(method[1])),
                    model=picked(ModelOptions, given),
                    training=picked(LoopOptions, given),
                    threads=given["threads"],
                    device=given["device"],
                )
                check_sharding(given["output_sharding"], config.model)
                has_checkpoint = finished = False
                if output is not None and processes.leads:
                    folder = stack.enter_context(OutputFolder(output, resume=resume, overwrite=overwrite))
                    has_checkpoint, finished = folder.has_checkpoint, folder.is_finished
                has_checkpoint, finished = processes.gather([has_checkpoint, finished])[0]
                if resume and finished:
                    if processes.leads:
                        load_language_model(output)  # type: ignore[arg-type]
                    said(f"{output} contains a finished model: nothing is left to resume")
                    return None
                corpus = read_corpus(given, processes)
                reading = False
                if folder is not None and has_checkpoint and not resume:
                    folder.drop_checkpoint()
                elif resume and not has_checkpoint and not restarted():
                    said(f"no checkpoint in {output} yet: starting from the beginning")
                return run_language_model(
                    corpus,
                    config,
                    output,
                    text=text_facts(given, corpus),
                    command=command_line(context),
                    checkpoint_minutes=given["checkpoint_minutes"],
                    progress=True,
                    processes=processes,
                    output_sharding=given["output_sharding"],
                ).record
        except KeyboardInterrupt as stop:
            if reading:
                raise interrupted(context, "interrupted while reading: nothing was written") from None
            checkpoint = folder.checkpoint if folder is not None and folder.has_checkpoint else None
            otherwise = "nothing is kept without -o DIR" if output is None else "no checkpoint was written"
            raise interrupted_training(context, checkpoint, getattr(stop, "share", None), otherwise) from None
