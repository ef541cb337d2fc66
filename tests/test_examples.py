"""The examples run on real data and learn, since users copy them first."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.data import data_path

FOLDER = Path(__file__).parents[1] / "examples"
LEARNT = {"cosine_softmax"}  # shown and tested by tests/layers/test_extending.py


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


def run(example: str, *arguments: str) -> tuple[float, float]:
    """Return the example's metric for the untrained and the trained model."""
    if example in ("huggingface_causal_lm", "sharded_causal_lm"):
        pytest.importorskip("transformers", reason="needs transformers: pip install transformers")
    return import_module(example).main(arguments)


def printed(example: str, *arguments: str) -> str:
    """Return the output of two processes started as torchrun does."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    call = [*launch, str(FOLDER / f"{example}.py"), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr[-4000:]
    return ran.stdout


@pytest.mark.parametrize(
    ("example", "output_layer"), [("lstm_language_model", "hierarchical"), ("huggingface_causal_lm", "full")]
)
def test_language_models_learn(example: str, output_layer: str, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = run(example, "--output-layer", output_layer, "--steps", "60", "--dim", "32")
    assert after < 0.9 * before
    assert "step 60: loss " in capsys.readouterr().out


@pytest.mark.slow
def test_recommender_learns(capsys: pytest.CaptureFixture[str]) -> None:
    before, after = run("next_item_recommender", "--output-layer", "partial", "--steps", "40", "--dim", "32")
    assert after > before + 0.1
    assert "NDCG@10" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "gain"), [("items/ml-100k.inter", 0.02), ("items/LastFM.txt", 0.005)])
def test_recommender_reads_the_usual_formats(name: str, gain: float) -> None:
    before, after = run("next_item_recommender", "--data", str(data_path(name)), "--steps", "40", "--dim", "32")
    assert after > before + gain


@pytest.mark.parametrize(
    ("items", "steps"),
    [("tower", 30), *(pytest.param(each, 200, marks=pytest.mark.slow) for each in ("tower", "table"))],
)
def test_two_towers_on_two_processes_are_those_on_one(items: str, steps: int) -> None:
    arguments = "--items", items, "--steps", str(steps)
    popular, alone = run("two_tower_recommender", *arguments)
    assert alone > popular + 0.02 if steps == 200 else alone > 0.2  # an untrained model finds 20 of 3,000
    together = [
        float(each) for each in re.findall(r"recall@20 ([0-9.]+)", printed("two_tower_recommender", *arguments))
    ]
    assert together[0] == pytest.approx(popular, abs=5e-4)
    assert together[-1] == pytest.approx(alone, abs=3e-3)  # a few users make the difference


def test_a_sharded_language_model_learns_and_comes_back_on_one_process(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs transformers: pip install transformers")
    options = "--output-layer", "hierarchical", "--dim", "32"
    said = printed("sharded_causal_lm", *options, "--steps", "20", "--save", str(tmp_path / "model"))
    before, *_, after = (float(each.replace(",", "")) for each in re.findall(r"perplexity ([0-9.,]+)", said))
    assert after < 0.8 * before
    again, _ = run("sharded_causal_lm", *options, "--steps", "0", "--load", str(tmp_path / "model"))
    assert again == pytest.approx(after, abs=0.06)


def test_a_text_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat sat on the mat and the dog sat on the log\n" * 200)
    before, after = run("lstm_language_model", "--data", str(tmp_path / "text.txt"), "--steps", "40", "--dim", "16")
    assert after < 0.7 * before


def test_examples_are_short_and_each_is_tested() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    for path in FOLDER.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 130, path.name
        assert f'"{path.stem}"' in source, path.name
