"""The base class of long runs, tested with a counting run: clock, reports, checkpoints, stops and their order."""

import math
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vastmax.errors import CheckpointError, InputError, VastmaxError
from vastmax.runs import Run, StopRequest, TrainingInterrupted


class Counting(Run):
    """Sums random numbers, one per step; on the fake clock a step takes 1 s, everything else 100 s."""

    kind = "a count"
    report_seconds = 0.0

    def __init__(self, folder: Path | None = None, minutes: float = 1e-9, steps: int = 5, **more: Any) -> None:
        self.reports: list[Any] = []
        super().__init__(folder, minutes, self.reports.append)
        self.steps, self.stop_after, self.stop = steps, more.get("stop_after", math.inf), StopRequest()
        self.clock = more.get("clock", [0.0])
        self.total, self.calls, self.generator = np.zeros(1), [], np.random.default_rng(0)

    def step(self) -> None:
        self.clock[0] += 1
        self.total += self.generator.random()
        self.losses.add(float(self.words), 1)
        self.words += 1
        self.stop.requested = self.words >= self.stop_after

    share = property(lambda self: self.words / self.steps)  # type: ignore[assignment]
    learning_rate = property(lambda self: 0.5)  # type: ignore[assignment]
    identity = property(lambda self: {"steps": self.steps})  # type: ignore[assignment]

    def begin(self) -> None:
        self.calls.append("begin")

    def between_steps(self) -> None:
        self.clock[0] += 100
        self.calls.append(self.words)

    def end(self) -> None:
        self.calls.append("end")

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        self.clock[0] += 100
        return {"chance": self.generator.bit_generator.state}, {"total": self.total}

    def restore(self, facts: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
        self.generator.bit_generator.state = facts["chance"]
        self.total[...] = tensors["total"]

    def go(self) -> "Counting":
        self.run(self.stop)
        return self


def test_what_happens_when(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = [0.0]
    monkeypatch.setattr("vastmax.runs.run.time.perf_counter", lambda: clock[0])
    run = Counting(tmp_path, clock=clock).go()
    assert run.calls == ["begin", 1, 2, 3, 4, 5, "end"]
    assert run.seconds == 5  # training only
    assert [report.words for report in run.reports] == [1, 2, 3, 4, 5]
    assert [report.loss for report in run.reports] == [0, 0.5, 1, 1.5, 2]
    assert [report.recent_loss for report in run.reports] == [0, 1, 2, 3, 4]
    assert [report.seconds_left for report in run.reports] == pytest.approx([4, 3, 2, 1, 0])
    assert {report.words_per_second for report in run.reports} == {1}
    assert {report.words_total for report in run.reports} == {5}
    assert run.has_checkpoint  # until everything is saved


def test_reports_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("vastmax.runs.run.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr(Counting, "report_seconds", 250.0)
    assert [report.words for report in Counting(steps=8, clock=clock).go().reports] == [1, 4, 7, 8]
    monkeypatch.setattr(Counting, "report_share", 0.5)
    assert [report.words for report in Counting(steps=8, clock=clock).go().reports] == [1, 5, 8]


def test_stopped_anywhere_and_resumed_it_ends_as_another(tmp_path: Path) -> None:
    whole = Counting().go()
    for stop_after in (1, 3, 5):
        run = Counting(tmp_path, stop_after=stop_after)
        if run.has_checkpoint:
            run.resume()
        with pytest.raises(TrainingInterrupted) as stopped:
            run.go()
        assert (stopped.value.checkpoint, stopped.value.share) == (tmp_path, stop_after / 5)
    resumed = Counting(tmp_path)
    resumed.resume()
    resumed.go()  # only the work after the last step remains
    assert resumed.calls == ["begin", "end"]
    assert (resumed.total, resumed.words, resumed.losses.mean) == (whole.total, whole.words, whole.losses.mean)
    assert resumed.generator.random() == whole.generator.random()


@pytest.mark.parametrize(("minutes", "stop_after", "left"), [(0, 9, False), (0, 3, True), (10, 9, True)])
def test_without_minutes_only_a_stop_leaves_a_checkpoint(
    tmp_path: Path, minutes: float, stop_after: int, left: bool
) -> None:
    run = Counting(tmp_path / "checkpoint", minutes, stop_after=stop_after)
    try:
        run.go()
    except TrainingInterrupted:
        assert stop_after < 5
    assert run.has_checkpoint == left


def test_without_a_folder_a_stop_is_only_a_stop() -> None:
    run = Counting(stop_after=2)
    with pytest.raises(TrainingInterrupted) as stopped:
        run.go()
    assert stopped.value.checkpoint is None
    for wrong in (run.save, run.resume):
        with pytest.raises(InputError, match="no folder for a checkpoint"):
            wrong()


def test_the_checkpoint_goes_when_all_is_saved(tmp_path: Path) -> None:
    def full() -> None:
        raise InputError("here cannot be written (no space): make room, or name another place.")

    run = Counting(tmp_path / "checkpoint").go()
    told = "the model was trained but not saved: here cannot be written"
    with pytest.raises(VastmaxError, match=rf"^{told}.* The checkpoint in {tmp_path}/checkpoint is kept: resume"):
        run.conclude(full)
    again = Counting(tmp_path / "checkpoint")
    again.resume()
    again.go().conclude(lambda: None)
    assert again.total == run.total
    assert not (tmp_path / "checkpoint").exists()
    with pytest.raises(VastmaxError, match=rf"^{told}.*place\.$"):
        Counting().go().conclude(full)


def test_another_run_is_refused(tmp_path: Path) -> None:
    Counting(tmp_path).save()
    with pytest.raises(CheckpointError, match="was made with steps=5, now came steps=6"):
        Counting(tmp_path, steps=6).resume()


def test_a_state_that_lacks_something_is_one_sentence(tmp_path: Path) -> None:
    Counting(tmp_path).save()
    state = tmp_path / "state.json"
    state.write_text(state.read_text().replace('"chance"', '"change"'))
    with pytest.raises(CheckpointError, match="lacks 'chance': delete it to start again"):
        Counting(tmp_path).resume()


def test_minutes_are_checked() -> None:
    with pytest.raises(InputError, match="checkpoint_minutes is -1: give a number from 0"):
        Counting(minutes=-1)


FULL = """
import resource, sys, warnings
from pathlib import Path
from tests.runs.test_run import Counting
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
with warnings.catch_warnings(record=True) as met:
    warnings.simplefilter("always")
    run = Counting(Path(sys.argv[1])).go()
print(run.words, len(met), met[0].message, sep="|")
"""


def test_a_full_disk_is_a_warning_and_the_run_goes_on(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "checkpoint")], capture_output=True, text=True, check=True
    )
    words, warned, message = ran.stdout.strip().split("|")
    assert int(words) == 5
    assert int(warned) == 6  # one checkpoint per step, and one at the end
    assert message.startswith("no checkpoint was written: ") and " cannot be written (" in message
    assert "too large" in message
    assert not list((tmp_path / "checkpoint").glob("*"))


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingInterrupted):
        Counting(tmp_path, stop_after=2).go()

    def full(self: Counting) -> Any:
        raise InputError("the disk is full.")

    again = Counting(tmp_path)
    again.resume()
    monkeypatch.setattr(Counting, "state", full)
    with pytest.warns(UserWarning, match="no checkpoint was written, the one before it is kept: the disk is full"):
        again.go()
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        last = Counting(tmp_path)
        last.resume()
    assert last.words == 2
