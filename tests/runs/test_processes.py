"""Communication between the processes of a group, and how an error on one ends all."""

import json
import socket
import sys
from typing import Any

import pytest

from tests.runs.ranks import start
from vastmax.errors import CorpusError, InputError
from vastmax.runs import ALONE, EndedElsewhere, first_here, joined, restarted, started_in_group, tells

GROUP = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1", "LOCAL_RANK": "1"}


@pytest.fixture(scope="module")
def outcomes() -> list[dict[str, Any]]:
    ended = start(3, [sys.executable, "-m", "tests.runs.ranks"])
    assert [code for code, _, _ in ended] == [0, 9, 0], ended
    return [dict(map(json.loads, out.splitlines())) for _, out, _ in ended]


@pytest.mark.parametrize("job", ["shares", "again"])
def test_all_learn_what_each_brings(outcomes: list[dict[str, Any]], job: str) -> None:
    for rank, outcome in enumerate(outcomes):
        assert outcome[job] == [[0, 5000, 10000], [True, False], True, [rank, 3, rank]]


def test_an_error_of_one_is_told_by_it_with_its_name(outcomes: list[dict[str, Any]]) -> None:
    silent = ["EndedElsewhere", "process 1 ended the run: see its own error."]
    told = ["CorpusError", f"rank 1 on {socket.gethostname()}: file x does not exist."]
    assert [each["one fails"] for each in outcomes] == [silent, told, silent]


def test_an_error_of_all_is_told_by_the_first_alone(outcomes: list[dict[str, Any]]) -> None:
    silent = ["EndedElsewhere", "process 0 ended the run: see its own error."]
    assert [each["all fail"] for each in outcomes] == [["CorpusError", "file x does not exist."], silent, silent]


def test_a_fault_of_the_program_ends_all_and_stays_what_it_is(outcomes: list[dict[str, Any]]) -> None:
    assert [each["a fault"][0] for each in outcomes] == ["KeyError", "EndedElsewhere", "EndedElsewhere"]


def test_what_differs_is_named(outcomes: list[dict[str, Any]]) -> None:
    sentence = "dim of the options differs between processes (10 on rank 0, 11 on rank 1): make it the same everywhere."
    assert [each["differ"][0] for each in outcomes] == ["InputError", "EndedElsewhere", "EndedElsewhere"]
    assert outcomes[0]["differ"][1] == sentence


def test_one_that_dies_ends_the_others(outcomes: list[dict[str, Any]]) -> None:
    for kind, sentence in (outcomes[0]["dies"], outcomes[2]["dies"]):
        assert kind == "EndedElsewhere" and "another process of the group is gone" in sentence


def test_one_process_is_a_group_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in GROUP:
        monkeypatch.delenv(name, raising=False)
    with joined() as processes:
        assert processes is ALONE and processes.leads and not started_in_group() and not restarted()
        assert processes.gather({"a": (1, 2)}) == [{"a": [1, 2]}] and processes.anywhere(True, False) == (True, False)
        processes.agree("anything", 1)
        with pytest.raises(CorpusError, match=r"^no file$"), processes.together():
            raise CorpusError("no file")


def test_one_of_a_group_of_one_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**GROUP, "RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    with joined() as processes:
        assert processes is ALONE


def test_who_tells_of_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    error = InputError("a usage error, which all make alike")
    assert tells(error) and first_here()
    for name, value in {**GROUP, "TORCHELASTIC_RESTART_COUNT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert started_in_group() and restarted() and not first_here() and not tells(error)
    error.rank = 1
    assert tells(error) and not tells(EndedElsewhere("process 0 ended the run"))
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert tells(InputError("on the second machine, where it is the first"))


def test_a_group_that_cannot_be_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GROUP.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("vastmax.runs.processes._meet", lambda: (_ for _ in ()).throw(RuntimeError("refused\nmore")))
    with (
        pytest.raises(InputError, match=r"^rank 1 on .* cannot join the others at localhost:1 \(refused\): check"),
        joined(),
    ):
        pass
