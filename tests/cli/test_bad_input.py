"""Bad input: one message on stderr, exit code 1, nothing on stdout, no data lost; usage errors of click exit with 2."""

import gzip
import os
import resource
from pathlib import Path

import pytest

from tests.cli.program import finish, start, vastmax
from tests.corpora import write_corpus


def complaint(*arguments: str | Path, code: int = 1) -> str:
    outcome = vastmax(*arguments)
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    return outcome.sentence


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    return tmp_path / "model"


def make_missing(folder: Path) -> tuple[Path, str]:
    return folder / "missing.txt", "missing.txt"


def make_empty(folder: Path) -> tuple[Path, str]:
    (folder / "empty.txt").write_text("")
    return folder / "empty.txt", "empty.txt"


def make_one_word(folder: Path) -> tuple[Path, str]:
    (folder / "one.txt").write_text("word\n")
    return folder / "one.txt", "min_count"


def make_one_word_often(folder: Path) -> tuple[Path, str]:
    (folder / "often.txt").write_text("word " * 100)
    return folder / "often.txt", "'word'"


def make_rare(folder: Path) -> tuple[Path, str]:
    (folder / "rare.txt").write_text("every word is here once\n")
    return folder / "rare.txt", "min_count"


def make_folder_without_text(folder: Path) -> tuple[Path, str]:
    (folder / "nothing" / "deeper").mkdir(parents=True)
    return folder / "nothing", "nothing"


def make_truncated(folder: Path) -> tuple[Path, str]:
    packed = gzip.compress(write_corpus(folder / "whole.txt").read_bytes())
    (folder / "cut.txt.gz").write_bytes(packed[: len(packed) // 2])
    return folder / "cut.txt.gz", "cut.txt.gz"


def make_binary(folder: Path) -> tuple[Path, str]:
    (folder / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 40)
    return folder / "image.png", "binary"


MAKERS = [
    make_missing,
    make_empty,
    make_one_word,
    make_one_word_often,
    make_rare,
    make_folder_without_text,
    make_truncated,
    make_binary,
]


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__.removeprefix("make_"))
def test_corpus_that_cannot_be_learnt_from(tmp_path: Path, model_folder: Path, maker) -> None:
    path, told = maker(tmp_path)
    sentence = complaint("train", path, "-o", model_folder)
    assert told in sentence
    assert not model_folder.exists()


@pytest.mark.parametrize("verb", ["vocab", "phrases", "tree"])
def test_other_readers_complain_alike(tmp_path: Path, verb: str) -> None:
    for maker in (make_missing, make_empty, make_folder_without_text, make_truncated, make_binary):
        path, told = maker(tmp_path)
        assert told in complaint(verb, path)


def test_unwritable_output(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in complaint("train", corpus, "-o", tmp_path / "file" / "model")
    assert "cannot be written" in complaint("train", corpus, "-o", "/proc/model")
    assert "tree.safetensors" in complaint("tree", corpus, "-o", tmp_path / "file" / "tree.safetensors")


@pytest.mark.parametrize("verb", ["vocab", "phrases"])
def test_unwritable_file(corpus: Path, tmp_path: Path, verb: str) -> None:
    (tmp_path / "file").write_text("")
    assert "out.tsv" in complaint(verb, corpus, "-o", tmp_path / "file" / "out.tsv")


def test_full_disk(tmp_path: Path, model_folder: Path) -> None:
    """A file-size limit simulates a full disk: the corpus fits, the vectors do not."""
    corpus = write_corpus(tmp_path / "corpus.txt")
    limit = 150_000

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    outcome = finish(start("train", corpus, "-o", model_folder, "--dim", "300", preexec_fn=limit_files))
    assert outcome.code == 1
    note, sentence = outcome.err.splitlines()[-2:]
    assert note.startswith("vastmax: note: no checkpoint was written: ") and " cannot be written (" in note
    assert sentence.startswith("vastmax: the model was trained but not saved")
    assert "File too large" in sentence
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--model", "glove"], "model is 'glove': give 'skipgram' or 'cbow'"),
        (["--objective", "ns"], "objective is 'ns': give"),
        (["--sharing", "none"], "sharing is 'none': give"),
        (["--cbow-combine", "max"], "cbow_combine is 'max': give"),
        (["--cbow-gradient", "none"], "cbow_gradient is 'none': give"),
        (["--subsample-formula", "none"], "subsample_formula is 'none': give"),
        (["--tokenizer", "spacy"], "tokenizer"),
        (["--phrase-scoring", "pmi", "--phrases", "1"], "scoring"),
        (["--dim", "0"], "dim is 0: give a whole number"),
        (["--learning-rate", "nan"], "learning_rate is nan: give a number"),
        (["--min-count", "0"], "min_count"),
        (["--max-vocabulary", "0"], "max_vocabulary"),
        (["--threads", "0"], "threads"),
        (["--checkpoint-minutes", "-1"], "checkpoint_minutes"),
        (["--phrases", "nowhere.tsv"], "nowhere.tsv"),
        (["--resume", "--overwrite"], "exclude each other"),
    ],
)
def test_unknown_values(corpus: Path, model_folder: Path, flags: list[str], told: str) -> None:
    assert told in complaint("train", corpus, "-o", model_folder, *flags)
    assert not model_folder.exists()


TREE_FLAGS = [
    (["--rule", "random"], "rule needs kind clustered, and kind is huffman: leave it out"),
    (["--trees", "2"], "trees needs kind clustered, and kind is huffman"),
    (["--kind", "balanced", "--vectors", "model"], "--kind balanced uses no vectors: leave out --vectors"),
    (["--kind", "clustered", "--rule", "fair"], "rule is 'fair': give 'adaptive', 'balanced' or 'random'"),
    (
        ["--kind", "clustered", "--rule", "random", "--epsilon", "0.4"],
        "epsilon needs rule adaptive, and rule is random: leave it out",
    ),
    (["--kind", "clustered", "--rule", "random", "--vectors", "model"], "--rule random uses no vectors"),
    (["--kind", "balanced-random", "--seed", "-1"], "seed is -1: give a whole number from 0 to"),
    (["--threads", "1000000000"], "threads is 1000000000: give a whole number from 1 to 1024"),
    (["--kind", "clustered", "--trees", "0"], "trees is 0: give a whole number from 1 to 64"),
    (["--kind", "clustered", "--vectors", "nowhere"], "nowhere"),
    (["--kind", "wordnet", "--wordnet", "nowhere"], "apt install wordnet-base"),
    (["--kind", "custom"], "kind custom needs a taxonomy"),
    (["--kind", "custom", "--taxonomy", "nowhere.tsv"], "nowhere.tsv cannot be read"),
    (["--kind", "class-based", "--classes", "0"], "classes is 0: give a whole number from 1"),
    (["--kind", "class-based", "--show", "2"], "--show draws trees"),
    (["--show", "-1"], "--show is -1: give a number of levels, 0 or more"),
]


def test_taxonomies_that_are_none(corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "taxonomy.tsv"
    for text, told in [
        ("\n", "taxonomy.tsv is empty: give lines of parent, tab, child"),
        ("a\tb\nonly\n", "taxonomy.tsv is 'only': give parent, tab, child"),
        ("a\tb\tc\n", "line 1 of "),
        ("a\tb\n", "leaves that are not among the given words"),
        ("a\tg0w0\n", "lacks the words"),
        ("", "taxonomy.tsv is empty: give lines of parent, tab, child"),
    ]:
        path.write_text(text)
        assert told in complaint("tree", corpus, "--kind", "custom", "--taxonomy", path)


@pytest.mark.parametrize("verb", ["tree", "vocab", "phrases"])
def test_a_place_that_cannot_be_written_is_told_first(verb: str, tmp_path: Path) -> None:
    told = complaint(verb, "no-corpus.txt", "-o", tmp_path / "no folder" / "x")
    place = tmp_path / "no folder"
    assert told.startswith(f"{place / 'x'} cannot be written, as folder {place} does not exist: make it, or name")
    assert complaint(verb, "no-corpus.txt", "-o", tmp_path) == f"{tmp_path} is a folder: name a file in it."


def test_vectors_of_other_words(corpus: Path, model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("tea milk tea milk\n" * 20)
    told = complaint("tree", other, "--kind", "clustered", "--vectors", model)
    assert f"--vectors {model}: " in told
    assert "is not in the vocabulary" in told and "train it on this corpus" in told


def test_unknown_values_of_other_verbs(corpus: Path, model: Path) -> None:
    assert "kind is 'fir': give 'huffman'" in complaint("tree", corpus, "--kind", "fir")
    for flags, told in TREE_FLAGS:
        assert told in complaint("tree", corpus, *flags)
    assert "method" in complaint("analogy", model, "g1w1", "g1w2", "g2w1", "--method", "sum")
    assert "k is 0" in complaint("nearest", model, "g1w1", "-k", "0")
    assert "scoring" in complaint("phrases", corpus, "--scoring", "pmi")


def test_models_that_are_none(tmp_path: Path, corpus: Path, model: Path) -> None:
    assert "nowhere" in complaint("nearest", tmp_path / "nowhere", "word")
    assert "corpus.txt" in complaint("nearest", corpus, "word")
    assert "vectors.safetensors" in complaint("import", model / "vectors.safetensors", tmp_path / "out")
    assert "missing.txt" in complaint("import", tmp_path / "missing.txt", tmp_path / "out")
    assert "missing.txt" in complaint("evaluate", model, "--similarity", tmp_path / "missing.txt")
    assert "vectors.doc" in complaint("export", model, tmp_path / "vectors.doc")


def test_a_checkpoint_of_another_version(corpus: Path, model: Path, model_folder: Path) -> None:
    checkpoint = model_folder / "checkpoint"
    checkpoint.mkdir(parents=True)
    for path in model.iterdir():  # a folder of embeddings, the old format of checkpoints
        (checkpoint / path.name).write_bytes(path.read_bytes())
    assert "by another version of vastmax" in complaint("train", corpus, "-o", model_folder, "--resume")
    assert "--resume to continue" in complaint("train", corpus, "-o", model_folder)


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["train"],
        ["train", "corpus.txt"],
        ["train", "corpus.txt", "-o", "model", "--frobnicate"],
        ["train", "corpus.txt", "-o"],
        ["train", "corpus.txt", "-o", "model", "--dim", "many"],
        ["train", "corpus.txt", "-o", "model", "--learning-rate", "fast"],
        ["analogy", "model", "a", "b"],
        ["nearest", "model"],
        ["export", "model", "file.txt", "too", "many"],
    ],
)
def test_usage_errors(arguments: list[str]) -> None:
    complaint(*arguments, code=2)


@pytest.mark.parametrize("verb", ["vocab", "phrases"])
def test_a_count_below_zero(corpus: Path, verb: str) -> None:
    assert complaint(verb, corpus, "--top", "-1") == "top is -1: give 0 or more."


@pytest.mark.parametrize("verb", ["vocab", "phrases", "tree"])
def test_what_is_read_is_not_written_over(corpus: Path, tmp_path: Path, verb: str) -> None:
    folder, link = tmp_path / "texts", tmp_path / "link"
    folder.mkdir()
    text = folder / "text.txt"
    text.write_bytes(corpus.read_bytes())
    link.symlink_to(text)
    for read, output in ((text, text), (folder, text), (folder / "*.txt", text), (text, link), (link, text)):
        assert "is also an input: name another file" in complaint(verb, read, "-o", output)
    with text.open() as piped:
        done = finish(start(verb, "-", "-o", text, stdin=piped))
    assert done.code == 1 and "is also an input" in done.sentence
    assert text.read_bytes() == corpus.read_bytes()
    (tmp_path / "old").write_text("of another run")
    assert vastmax(verb, text, "-o", tmp_path / "old").code == 0


def test_a_taxonomy_is_not_written_over(corpus: Path, tmp_path: Path) -> None:
    taxonomy = tmp_path / "taxonomy.tsv"
    taxonomy.write_text("a\tb\n")
    flags = ["--kind", "custom", "--taxonomy", taxonomy]
    assert "is also an input" in complaint("tree", corpus, *flags, "-o", taxonomy)


def test_what_may_not_be_read_is_no_mistake_of_usage(
    corpus: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code that opens the file reports bad input, with exit code 1; the argument parser does not check access."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    for verb in ("nearest", "export", "import", "evaluate", "lm", "compare", "train", "tree"):
        path, flags = tmp_path / verb, ["--dim", "4", "--epochs", "1"]
        path.write_text("nothing")
        arguments = {
            "nearest": [path, "word"],
            "export": [path, tmp_path / "v.txt"],
            "import": [path, tmp_path / "new"],
            "evaluate": [model, "--similarity", path],
            "lm": ["score", path, corpus],
            "compare": [corpus, "-o", tmp_path / "compared", "--config", path],
            "train": [corpus, "-o", path, *flags],
            "tree": [corpus, "--kind", "clustered", "--vectors", path],
        }[verb]
        assert complaint(verb, *arguments)
