"""gensim's own tests on our classes: each passes, or is listed with a reason and fails."""

import re
import tempfile
import unittest
import warnings
from collections import Counter
from pathlib import Path

import pytest

gensim = pytest.importorskip("gensim")
if not gensim.__version__.startswith("4.4."):
    pytest.skip("the list of tests left out is that of gensim 4.4", allow_module_level=True)

from tests.integrations.gensim_door.peer_tests import FILES, cases_of, left_out  # noqa: E402
from vastmax.integrations.gensim import load_word2vec_format  # noqa: E402

TESTS = {(file, name): case for file in FILES for name, case in cases_of(file).items()}
REASONS = left_out()
# gensim skips these without POT, fastText's program or BULK_TEST_REPS in the environment
SKIPPED = re.compile(r"TestWMD|wm_distance|in_bulk|SaveFacebook(ByteIdentity|FormatReading)")
SLOW = {
    "TestWord2VecModel.test_cbow_hs_fromfile",
    "TestWord2VecModel.test_evaluate_word_pairs_from_file",
    "TestWord2VecScripts.test_word2vec_stand_alone_script",  # starts a process
}


@pytest.mark.parametrize(
    ("file", "name"), [pytest.param(*test, marks=[pytest.mark.slow] * (test[1] in SLOW)) for test in TESTS]
)
def test_passes_or_is_listed(file: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # gensim's tests share file names
    monkeypatch.setattr(gensim.models.KeyedVectors, "load_word2vec_format", staticmethod(load_word2vec_format))
    result = unittest.TestResult()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        TESTS[file, name].run(result)
    if result.skipped:
        assert SKIPPED.search(name), f"{name} skips: tell it on the page"
        pytest.skip(result.skipped[0][1])
    wrong = [trace for _, trace in result.failures + result.errors]
    if (file, name) in REASONS:
        assert wrong, f"{name} passes: take it from the list of those left out"
    else:
        assert not wrong, wrong[0]


def test_only_what_is_there_is_listed() -> None:
    assert set(REASONS) <= set(TESTS)
    assert all(REASONS.values())


def test_the_page_tells_how_many_pass() -> None:
    page = (Path(__file__).parents[3] / "docs" / "from-gensim.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(test_\w+)\.py` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    told = {file: tuple(map(int, numbers)) for file, *numbers in rows}
    skipped = Counter(file for file, name in TESTS if SKIPPED.search(name))
    assert told == {
        file: (tests, tests - left_out - skipped[file], left_out, skipped[file])
        for file, tests, left_out in (
            (file, *(sum(place == file for place, _ in where) for where in (TESTS, REASONS))) for file in FILES
        )
    }
