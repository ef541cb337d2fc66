"""Run every method on the same corpus, model and budget, one after the other, and write a report after each.

The state of a comparison is its files. ``records.jsonl`` alone identifies the finished runs, so a comparison can be
committed without its models and resumed elsewhere.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from vastmax import checks
from vastmax.comparison.config import RunConfig
from vastmax.comparison.report import RunRecord, read_records, require_report, write_report
from vastmax.comparison.run import CHECKPOINT, RECORD, check_device, described, write_records
from vastmax.comparison.worker import JOB
from vastmax.display import reporting
from vastmax.documents import read_json
from vastmax.errors import FormatError, InputError
from vastmax.files import as_path, cannot_write, drop, is_file, member, replacing, tidy, writing
from vastmax.language import LanguageCorpus
from vastmax.runs import TrainingInterrupted, TrainingProgress, differences, holds_checkpoint, plain

__all__ = ["ComparisonProgress", "compare"]

RECORDS, REPORT = "records.jsonl", "report.html"
_RUNS, _CORPUS, _ERRORS = "runs", "corpus", "errors.log"
_FREE = ("threads", "device")  # may change when a run is resumed
_PATIENCE = 120.0  # seconds a run has to write its checkpoint after a request to stop


@dataclass(frozen=True)
class ComparisonProgress:
    """The progress of a comparison.

    Attributes:
        label: the method of the current run, and ``seed`` its seed.
        number: the number of the run, from 1 to ``total``.
        training: progress of its training; None when the run begins or has ended.
        record: the record of the run, once it has ended; ``kept`` if it was finished in an earlier call.
        warning: a warning issued by the run.
    """

    label: str
    seed: int
    number: int
    total: int
    training: TrainingProgress | None = None
    record: RunRecord | None = None
    kept: bool = False
    warning: str | None = None

    @property
    def title(self) -> str:
        """Title of the run: its label and, if there are several runs, its number."""
        return self.label if self.total == 1 else f"{self.label} ({self.number} of {self.total})"


def compare(
    corpus: LanguageCorpus,
    configs: Sequence[RunConfig],
    folder: str | PathLike[str],
    *,
    text: Mapping[str, Any] | None = None,
    command: str | None = None,
    checkpoint_minutes: float = 10.0,
    progress: bool | Callable[[ComparisonProgress], None] | None = None,
) -> list[RunRecord]:
    """Run every config in its own process, and write ``records.jsonl`` and ``report.html`` after each.

    Calling it again with the same folder keeps finished runs, resumes an interrupted run and retries failed ones.
    Configs may be added from call to call; records of other runs are kept.

    Args:
        corpus: The training, validation and test text of all runs.
        configs: The runs, in order; label and seed together identify a run.
        folder: Output folder.
        text: How the text was tokenised, saved with the models.
        command: The command line, for the report.
        checkpoint_minutes: Minutes between two checkpoints of a run, up to 1,000,000; 0 to write one only when stopped.
        progress: True for a progress bar on a terminal or in a notebook, and lines on stderr elsewhere; or a callback
            for the start, progress and end of each run.

    Returns:
        The records of the configs, in their order.

    Raises:
        InputError: The folder cannot be written, another process writes into it, or it holds another comparison; two
            runs have the same name; the device does not exist; a finished or interrupted run has another config;
            checkpoint_minutes is out of range.
        TrainingInterrupted: Ctrl-C or SIGTERM; the interrupted run has its checkpoint.
    """
    require_report()
    by_name: dict[str, RunConfig] = {}
    for config in configs:
        if (name := run_name(config)) in by_name:
            raise InputError(
                f"two runs have the name {name}: give each method and seed once, and classes of one name "
                "a name each, as [methods.NAME] in a --config file."
            )
        by_name[name] = config
    folder = as_path(folder)
    runs, known = folder / _RUNS, _known(folder)
    # check everything before the first run, so that no error comes after hours of training
    kept = {name: finished(known.get(name), config) for name, config in by_name.items()}
    checks.number("checkpoint_minutes", checkpoint_minutes, 0, 1e6)
    for config in configs:
        check_device(config.device)
    for name, config in by_name.items():
        # a failed run may be retried with any config
        if not kept[name] and (differs := _begun_with_other(runs / name, config)) and not _read(runs / name / RECORD):
            raise InputError(
                f"{name} was started with {differs}: use those options, name another folder, or delete {runs / name}."
            )
    with writing(folder), reporting(progress) as told:
        for place in (folder, folder / _CORPUS, *(runs / name for name in by_name)):
            tidy(place)
        for name, record in kept.items():
            if record is not None:  # the process may have been killed before it deleted the checkpoint
                drop(runs / name / CHECKPOINT)
        _keep_corpus(corpus, folder, known)
        records: list[RunRecord] = []
        for number, (name, config) in enumerate(by_name.items(), 1):
            place, seed = runs / name, config.loop_options.seed

            def tell(number: int = number, label: str = config.method.label, seed: int = seed, **about: Any) -> None:
                if told is not None:
                    told(ComparisonProgress(label, seed, number, len(configs), **about))

            record = kept[name]
            if record is None:
                tell()
                if _begun_with_other(place, config):
                    drop(place / CHECKPOINT)  # a failed run is retried with other options
                # finished runs with this seed, whose word vectors this run may use
                lenders = [each for each in (*known.values(), *records) if each.status == "done" and each.seed == seed]
                job = {
                    "corpus": str((folder / _CORPUS).resolve()),
                    "config": config.to_json(),
                    "text": dict(text or {}),
                    "command": command,
                    "checkpoint_minutes": checkpoint_minutes,
                    "layers": [each for each in [config.method.layer] if ":" in each],
                    "runs": {each.label: str((runs / f"{each.label}-seed{seed}").resolve()) for each in lenders},
                }
                record = _run(place, job, config, corpus, tell, (number - 1) / len(configs))
            if record.status == "done":  # perhaps finished after its parent process had died
                (place / _ERRORS).unlink(missing_ok=True)
            records.append(record)
            tell(record=record, kept=kept[name] is not None)
            if kept[name] is None or number == len(configs):  # redraw the page at the end even if nothing is new
                _write(folder)
    return records


def run_name(config: RunConfig) -> str:
    """Return the name of a run, which is also the name of its folder."""
    return f"{config.method.label}-seed{config.loop_options.seed}"


def finished(record: RunRecord | None, config: RunConfig) -> RunRecord | None:
    """Return the record if its run finished with this config, else None; InputError if it finished with another."""
    if record is None or record.status != "done":
        return None
    was = {"probe": False, **record.config}  # the first versions had no probe and did not record it
    if differs := differences(was, plain(config.to_json()), _FREE):
        raise InputError(f"{run_name(config)} was made with {differs}: use those options, or name another folder.")
    return record


def _begun_with_other(place: Path, config: RunConfig) -> str | None:
    """Describe how the config of the checkpoint in a run's folder differs; None if it does not or there is none."""
    try:
        was = read_json(place / JOB)["config"]
    except (OSError, FormatError, KeyError, TypeError):
        return None
    return differences(was, plain(config.to_json()), _FREE) if holds_checkpoint(place / CHECKPOINT) else None


def _keep_corpus(corpus: LanguageCorpus, folder: Path, known: Mapping[str, RunRecord]) -> None:
    """Save the corpus for the processes of the runs; InputError if the folder holds records of another corpus."""
    place = folder / _CORPUS
    saved = is_file(member(place, "corpus.json"))  # False if saving failed
    there = {record.corpus.get("fingerprint") for record in known.values()}
    there |= {LanguageCorpus.load(place).fingerprint} if saved else set()
    if there - {corpus.fingerprint}:
        raise InputError(
            f"{folder} has a comparison on another text or vocabulary (they depend on --held-out and --min-count), "
            "or on another part of it (which depends on --scoring, --minutes-each, --validations, --dim and --layers): "
            "name another folder."
        )
    if not saved:
        corpus.save(place)


def _run(
    place: Path,
    job: Mapping[str, Any],
    config: RunConfig,
    corpus: LanguageCorpus,
    tell: Callable[..., None],
    share: float,
) -> RunRecord:
    """Run the job in a subprocess, and return its record, or one that describes the failure."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        (place / RECORD).unlink(missing_ok=True)  # the record of a failed attempt
    except OSError as error:
        raise cannot_write(place, error) from error
    with replacing(place / JOB) as temporary:
        temporary.write_text(json.dumps(job), encoding="utf-8")
    error = None
    # in a new session, so that Ctrl-C in the terminal reaches only this process, which forwards it once
    with (place / _ERRORS).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "vastmax.comparison.worker", str(place)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        try:
            for line in process.stdout or ():
                said = json.loads(line)
                if "progress" in said:
                    tell(training=TrainingProgress(**said["progress"]))
                elif "warning" in said:
                    tell(warning=said["warning"])
                else:
                    error = said["error"]
            code = process.wait()
        except KeyboardInterrupt:
            _stop(process)
            raise TrainingInterrupted(place / CHECKPOINT, share) from None
        except BaseException:
            _stop(process)
            raise
    record = _read(place / RECORD)
    if code == 0 and record is not None:
        return record
    if code == 130:
        raise TrainingInterrupted(place / CHECKPOINT, share)
    if error is None:
        error = f"the run's process ended with {_ending(code)}: see {place / _ERRORS}."
    record = RunRecord(**described(config, corpus, job["command"]), status="failed", error=error)
    write_records(place / RECORD, record)
    return record


def _ending(code: int) -> str:
    if code == -signal.SIGKILL:
        return "SIGKILL, for example because the system ran out of memory"
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _stop(process: subprocess.Popen[str]) -> None:
    """Ask a run to stop, and wait until it has written its checkpoint; kill it after a timeout or a second Ctrl-C."""
    process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=_PATIENCE)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


def _read(path: Path) -> RunRecord | None:
    try:
        return RunRecord.from_json(read_json(path))
    except (OSError, FormatError, InputError):
        return None


def _known(folder: Path) -> dict[str, RunRecord]:
    """Return the records of a folder by run name: from the run folders and, if those are gone, ``records.jsonl``."""
    path = folder / RECORDS
    found = {f"{record.label}-seed{record.seed}": record for record in (read_records(path) if is_file(path) else [])}
    for place in (folder / _RUNS).glob(f"*/{RECORD}"):
        if (record := _read(place)) is not None:
            found[place.parent.name] = record
    return found


def _write(folder: Path) -> None:
    """Write all records, including those of earlier calls with other methods, and their report."""
    found = sorted(_known(folder).values(), key=lambda record: (record.status != "done", record.finished))
    write_records(folder / RECORDS, *found)
    write_report(found, folder / REPORT)
