"""The pages of the site: their code runs, every method has a page, and their prose uses the field's terms."""

import importlib
import inspect
import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.prose import faults, pages, words_of
from vastmax.comparison import METHODS, RunConfig, run_language_model
from vastmax.embeddings import train
from vastmax.language import LoopOptions, ModelOptions, read_language_corpus
from vastmax.layers import LAYERS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
WORDS = "coffee tea milk king queen man woman in new york tree car"
# Pages whose code needs several processes or its own text; other tests run them.
ELSEWHERE = {"many-machines.md", "training-stack.md", "from-gensim.md", "embeddings.md", "vectors-at-rest.md"}
CODE = re.compile(r"^( *)```(python)?(.*?)^ *```$", re.MULTILINE | re.DOTALL)
WIDEST = 90  # columns of code visible on a desktop without scrolling
# Word limit of the pages, so that each fact appears once. Pages of later additions are not counted.
MOST_WORDS = 24_000
ADDED = {"embeddings", "subwords", "from-gensim", "vectors-at-rest"} | {
    "many-machines",
    "internet-scale",
    "training-stack",
}


def code_of(page: Path, language: str = "python") -> list[str]:
    """Return the code blocks of a page, including those in tabs and lists."""
    found = CODE.findall(page.read_text(encoding="utf-8"))
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, of, block in found if of == language]


def embeddings_and_texts(page: Path) -> dict[str, Any]:
    """Create texts, a model and records in the working directory, under the names that the pages use."""
    for name in ("corpus.txt", "train.txt", "valid.txt", "test.txt", "new.txt"):
        Path(name).write_text(f"{WORDS}\nnew york\n" * 60, encoding="utf-8")
    if 'output="model"' not in page.read_text(encoding="utf-8"):  # otherwise the page trains it
        train("corpus.txt", output="model", dim=8, epochs=1, threads=1, phrases=1, phrase_threshold=0.001)
    Path("comparison").mkdir()
    shutil.copy(ROOT / "studies" / "ptb-trees" / "records.jsonl", "comparison")
    return {"counts": range(1000, 0, -1), "hidden": torch.randn(6, 256), "target": torch.randint(1000, (6,))}


def language_model() -> dict[str, Any]:
    """Create a language model and a text under the names that the page uses."""
    text = [["the", "company", "said", *WORDS.split()]] * 60
    Path("new.txt").write_text("the company said new\n", encoding="utf-8")
    corpus = read_language_corpus(text, text, text, min_count=1)
    config = RunConfig(
        method=METHODS["hierarchical"],
        model=ModelOptions(dim=8, rows=4, length=5),
        training=LoopOptions(epochs=1),
        threads=1,
    )
    options = {"tokenizer": "whitespace", "lowercase": False, "unknown": "<unk>", "end_of_sentence": "</s>"}
    run_language_model(corpus, config, Path("model"), text=options)
    return {}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "page",
    [page for page in pages() if code_of(page) and page.name not in ELSEWHERE],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_the_code_of_pages_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    prepared = language_model() if page.stem == "language-models" else embeddings_and_texts(page)
    names = {"__name__": "page", **prepared}
    for block in code_of(page):
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.parametrize("name", LAYERS)
def test_every_method_has_its_page(name: str) -> None:
    page = (DOCS / "layers" / f"{name}.md").read_text(encoding="utf-8")
    assert f"::: vastmax.layers.{LAYERS[name].__name__}\n" in page
    assert f"<!-- touched: {name} -->\n" in page
    shown = runpy.run_path(str(ROOT / "mkdocs_hooks.py"))["on_page_markdown"](page)
    assert "<svg" in shown and 'class="target"' in shown
    for heading in ("When to use it", "When not to", "Cost", "Example"):
        assert f"\n## {heading}\n" in page, heading


PACKAGES = [
    *("vastmax", "vastmax.comparison", "vastmax.comparison.report", "vastmax.embeddings", "vastmax.integrations"),
    *("vastmax.integrations.gensim", "vastmax.language", "vastmax.layers", "vastmax.optimizers", "vastmax.proposals"),
    *("vastmax.text", "vastmax.trees", "vastmax.vocabulary", "vastmax.distributed"),
]
# Names that packages share internally, and registries.
SHARED = {
    *("LAYERS", "METHODS", "MODELS", "OPTIMIZERS", "PROPOSALS", "TOKENIZERS", "TREES", "ENGLISH_CONNECTOR_WORDS"),
    *("END_OF_SENTENCE", "SENTENCE_END", "STDIN", "WORD_END", "__version__", "Phraser"),
    *("WarmStart", "analogy_objective", "holds_embeddings", "read_pairs"),
    *("check_sharding", "estimated_seconds", "within_budget", "require_report", "verdict_sentences"),
    *("Batch", "Batches", "Batching", "Columns", "SentenceBatches", "StreamBatches", "can_tie", "make_batches"),
    *("Sources", "Tokenizer", "WholeCorpus", "count_words", "describe", "documentation_folders", "encode_part"),
    *("expand_paths", "is_paths", "part_of", "read_documentation", "cluster_width", "unigram_entropy"),
    *("as_counts", "as_weights", "check_limits", "check_word", "escape", "join_words", "split_words", "unescape"),
    *("with_word", "SamplesUsed", "Together", "from_each", "own_part", "spread_like", "whole_on_first"),
}


@pytest.mark.parametrize("package", PACKAGES)
def test_what_packages_offer_is_in_the_reference(package: str) -> None:
    module = importlib.import_module(package)
    shown = "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    known = set(re.findall(r"^::: vastmax\.(?:\w+\.)*(\w+)$", shown, re.MULTILINE))
    assert set(module.__all__) - known - SHARED == set()
    things = [getattr(module, name) for name in module.__all__]
    assert [
        thing for thing in things if (inspect.isclass(thing) or inspect.isfunction(thing)) and not thing.__doc__
    ] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_keep_to_the_terms_of_the_field(page: Path) -> None:
    assert list(faults(page)) == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_code_does_not_scroll_sideways(page: Path) -> None:
    blocks = [block for *_, block in CODE.findall(page.read_text(encoding="utf-8"))]
    assert [line for block in blocks for line in block.splitlines() if len(line) > WIDEST] == []


def test_pages_say_each_fact_once() -> None:
    counted = {page.stem: words_of(page) for page in pages() if page.is_relative_to(DOCS) and page.stem not in ADDED}
    assert sum(counted.values()) <= MOST_WORDS, counted
