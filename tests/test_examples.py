"""The examples run on real data and learn; they are the first thing that people copy."""

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
    """The example's measure of an untrained and of the trained model."""
    if example == "huggingface_causal_lm":
        pytest.importorskip("transformers", reason="needs transformers: pip install transformers")
    return import_module(example).main(arguments)


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


def test_a_text_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat sat on the mat and the dog sat on the log\n" * 200)
    before, after = run("lstm_language_model", "--data", str(tmp_path / "text.txt"), "--steps", "40", "--dim", "16")
    assert after < 0.7 * before


def test_examples_are_short_and_each_is_tested() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    for path in FOLDER.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 120, path.name
        assert f'"{path.stem}"' in source, path.name
