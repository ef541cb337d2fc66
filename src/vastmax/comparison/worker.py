"""The subprocess for one run of a comparison: ``python -m vastmax.comparison.worker FOLDER``.

Reads ``job.json`` in the folder, and writes the output of :func:`run_language_model` there. Reports lines of JSON on
standard output: ``{"progress": …}`` while it trains, ``{"warning": …}``, and ``{"error": …}`` with exit code 1 if it
fails. Exit code 130 means that it was interrupted. Everything else printed to standard output, by C libraries too, is
redirected to standard error.

In its own process, a crash or an out-of-memory kill ends one run only, and the peak memory is that of the run alone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import safe_open

from vastmax.comparison.config import RunConfig
from vastmax.errors import InputError, VastmaxError
from vastmax.files import writing
from vastmax.language import LanguageCorpus
from vastmax.layers import own_layer
from vastmax.runs import TrainingInterrupted
from vastmax.vocabulary import Vocabulary

__all__ = ["JOB", "main"]

JOB = "job.json"


def main(folder: Path) -> int:
    """Run the job of a folder and return the exit code."""
    from vastmax.comparison.run import run_language_model

    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**record: Any) -> None:
        try:
            print(json.dumps(record), file=lines, flush=True)
        except BrokenPipeError:  # the parent process is gone: write a checkpoint and stop, as on Ctrl-C
            os.dup2(os.open(os.devnull, os.O_WRONLY), lines.fileno())
            os.kill(os.getpid(), signal.SIGTERM)

    warnings.showwarning = lambda message, *_, **__: say(warning=str(message))
    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    try:
        for place in job["layers"]:
            own_layer(place)
        with writing(folder):  # the worker of a killed comparison may still be running
            run_language_model(
                LanguageCorpus.load(job["corpus"]),
                RunConfig.from_json(job["config"]),
                folder,
                text=job["text"],
                command=job["command"],
                checkpoint_minutes=job["checkpoint_minutes"],
                progress=lambda report: say(progress=asdict(report)),
                vectors_of=lambda label: _vectors(job["runs"].get(label), label),
            )
    except TrainingInterrupted:
        return 130
    except VastmaxError as error:
        say(error=str(error))
    except MemoryError as error:
        say(error=f"out of memory ({error}): keep fewer words, or lower --dim, --rows or --length.")
    except Exception as error:
        import traceback

        traceback.print_exc()
        say(error=f"{type(error).__name__}: {error}")
    else:
        return 0
    return 1


def _vectors(folder: str | None, label: str) -> Any:
    """Return the word vectors (V, d) of a finished run: of its output table, if there is one, else of its input."""
    file = Path(folder or "", "model.safetensors")
    if folder is None or not file.is_file():
        raise InputError(f"vectors is {label!r}, and no run of this name is finished: put it before this one.")
    num_words = len(Vocabulary.load(file.with_name("vocabulary.tsv")))
    with safe_open(file, framework="numpy") as tensors:
        for name in ("output.weight", "embedding.weight"):
            # rows of an output table may also belong to nodes, classes or clusters; a tied table has one name only
            if name in tensors.keys() and tensors.get_slice(name).get_shape()[0] == num_words:  # noqa: SIM118
                return tensors.get_tensor(name)
    raise InputError(f"vectors is {label!r}, which has no vector per word: name a run with a table of words.")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
