"""``vastmax lm``: training, scoring and drawing for users."""

import json
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.program import finish, start, vastmax
from tests.corpora import write_corpus

FLAGS = ["--dim", "16", "--rows", "8", "--length", "10", "--threads", "1", "--min-count", "1"]


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    for seed, name in enumerate(("train.txt", "valid.txt", "test.txt")):
        write_corpus(folder / name, 200 if name == "train.txt" else 30, seed)
    return folder


@pytest.fixture(scope="session")
def texts(text: Path) -> list[str]:
    return [str(text / "train.txt"), "--valid", str(text / "valid.txt"), "--test", str(text / "test.txt")]


@pytest.fixture(scope="session")
def language_model(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("models") / "a model"
    outcome = vastmax("lm", "train", *texts, "-o", folder, *FLAGS, "--epochs", "2")
    assert outcome.code == 0, outcome.err
    return folder


def test_training_says_what_it_came_to(tmp_path: Path, texts: list[str]) -> None:
    folder = tmp_path / "model"
    outcome = vastmax("lm", "train", *texts, "-o", folder, *FLAGS, "--epochs", "1", "--output-layer", "sampled")
    assert outcome.code == 0, outcome.err
    for said in ("test", "validation", "training text", "words/s in training", "parameters", "MB of memory", "log Z"):
        assert said in outcome.out
    assert outcome.out.splitlines()[-1].startswith(f"saved in {folder}; try: ")
    assert f"lm sample {folder}" in outcome.out
    assert (folder / "record.json").is_file()


def test_json_is_the_record(tmp_path: Path, texts: list[str]) -> None:
    found = vastmax("lm", "train", *texts, *FLAGS, "--epochs", "1", "--json").json
    assert found["output"] is None
    assert set(found["perplexity"]) == {"train", "valid", "test"}
    assert found["diagnostics"]["log_partition_mean"] is not None
    assert "lm train" in found["command"]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_bfloat16_trains_where_torch_has_no_lstm_in_it(
    tmp_path: Path, texts: list[str], language_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an AVX2 processor torch's own LSTM raises in bfloat16; training must not."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    flags = [*FLAGS, "--epochs", "2", "--precision", "bfloat16"]
    outcome = finish(start("lm", "train", *texts, "-o", tmp_path / "model", *flags))
    assert outcome.code == 0, outcome.err
    found, exact = (
        json.loads((folder / "record.json").read_text())["perplexity"]
        for folder in (tmp_path / "model", language_model)
    )
    assert found == pytest.approx(exact, rel=0.02)


def test_sub_commands_are_shown() -> None:
    shown = vastmax("lm", "--help").out
    assert all(name in shown for name in ("train", "score", "sample", "vastmax lm train corpus.txt -o model"))
    assert vastmax("lm").out == shown
    assert "--output-layer" in vastmax("lm", "train", "--help").out


def test_training_is_asked_for_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path / "score", 100)
    refused = vastmax("lm", "score.txt")
    assert (refused.code, refused.out) == (2, "")
    assert "no such command 'score.txt'" in refused.sentence
    outcome = vastmax("lm", "train", "score", *FLAGS, "--epochs", "1", "--held-out", "0.1")
    assert outcome.code == 0, outcome.err
    assert "note: validation and test text is cut from the training text." in outcome.err


def test_score_is_what_training_said(language_model: Path, text: Path) -> None:
    record = json.loads((language_model / "record.json").read_text(encoding="utf-8"))
    found = vastmax("lm", "score", language_model, text / "test.txt", "--threads", "1", "--json").json
    assert found["perplexity"] == record["perplexity"]["test"]
    assert (found["words"], found["sentences"]) == (30 * 13, 30)
    said = vastmax("lm", "score", language_model, text / "test.txt")
    assert f"perplexity {found['perplexity']:,.2f}" in said.out


def test_score_by_sentence(language_model: Path, text: Path) -> None:
    path = text / "test.txt"
    outcome = vastmax("lm", "score", language_model, path, "--per-sentence")
    rows = [line.split("\t") for line in outcome.out.splitlines()]
    assert [row[2] for row in rows] == path.read_text(encoding="utf-8").splitlines()
    assert {row[1] for row in rows} == {"13"}
    found = vastmax("lm", "score", language_model, path, "--json").json
    assert sum(float(row[0]) for row in rows) == pytest.approx(found["log_prob"], abs=0.01)
    assert "perplexity" in outcome.err
    kept = vastmax("lm", "score", language_model, path, "--per-sentence", "--json").json["per_sentence"]
    assert kept[3]["sentence"] == rows[3][2]


def test_score_of_standard_input(language_model: Path) -> None:
    process = start("lm", "score", language_model, "-", "--json", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write("g0w0 g0w1 never\n\ng1w0\n")
    process.stdin.close()
    process.stdin = None
    found = finish(process).json
    assert (found["words"], found["sentences"], found["unknown_share"]) == (6, 2, 0.25)


def test_sample(language_model: Path) -> None:
    flags = ["--words", "20", "-n", "2", "--seed", "4"]
    once = vastmax("lm", "sample", language_model, "--prompt", "g0w0 nonsense", *flags)
    assert once.code == 0, once.err
    assert once.out == vastmax("lm", "sample", language_model, "--prompt", "g0w0 nonsense", *flags).out
    assert once.out.startswith("g0w0 <unk> ")
    assert "</s>" not in once.out
    assert once.err == "note: the model does not know 'nonsense': <unk> replaces them\n"
    found = vastmax("lm", "sample", language_model, *flags, "--no-unknown", "--json").json
    assert len(found["samples"]) == 2
    assert not any("<unk>" in sample for sample in found["samples"])


def test_a_text_that_marks_the_ends_of_its_sentences(tmp_path: Path) -> None:
    marked = tmp_path / "marked.txt"
    marked.write_text("<s> tea with milk </s>\n<s> coffee with sugar </s>\n" * 60, encoding="utf-8")
    flags = [*FLAGS, "--epochs", "1", "--held-out", "0.1"]
    refused = vastmax("lm", "train", marked, *flags)
    assert refused.code == 1
    assert "contains the word '</s>'" in refused.sentence and "(--end-of-sentence)" in refused.sentence
    folder = tmp_path / "model"
    outcome = vastmax("lm", "train", marked, "-o", folder, *flags, "--end-of-sentence", "<eos>")
    assert outcome.code == 0, outcome.err
    assert json.loads((folder / "config.json").read_text())["text"]["end_of_sentence"] == "<eos>"
    found = vastmax("lm", "score", folder, marked, "--json").json
    assert (found["words"], found["sentences"], found["unknown_share"]) == (120 * 6, 120, 0)
    drawn = vastmax("lm", "sample", folder, "--words", "100").out
    assert "</s>" in drawn and "<eos>" not in drawn
    other = tmp_path / "other.txt"
    other.write_text("tea <eos>\n", encoding="utf-8")
    assert "another end_of_sentence (--end-of-sentence)" in vastmax("lm", "score", folder, other).sentence
    for word, told in (("", "end_of_sentence is '': give a word"), ("<unk>", "are both '<unk>': give two words")):
        assert told in vastmax("lm", "train", marked, *flags, "--end-of-sentence", word).sentence


def test_a_finished_model_is_not_overwritten_unasked(tmp_path: Path, texts: list[str], model: Path) -> None:
    folder = tmp_path / "model"
    command = ["lm", "train", *texts, "-o", str(folder), *FLAGS, "--epochs", "0.2"]
    assert vastmax(*command, "--resume").code == 0  # reports that there is nothing to resume yet
    before = (folder / "model.safetensors").read_bytes()
    again = vastmax(*command)
    assert again.code == 1
    assert "finished model" in again.sentence and "--overwrite" in again.sentence
    again = vastmax(*command, "--resume")
    assert (again.code, again.err) == (0, f"{folder} contains a finished model: nothing is left to resume\n")
    assert (folder / "model.safetensors").read_bytes() == before
    assert vastmax(*command, "--overwrite", "--seed", "2").code == 0
    assert (folder / "model.safetensors").read_bytes() != before
    embeddings = vastmax("lm", "train", *texts, "-o", model, *FLAGS)  # a folder of embeddings
    assert embeddings.code == 1
    assert "--overwrite" in embeddings.sentence
    embeddings = vastmax("lm", "train", *texts, "-o", model, "--resume", *FLAGS)
    assert embeddings.code == 1
    assert "contains embeddings, not a language model" in embeddings.sentence


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_interrupt_prints_the_command_that_resumes(
    tmp_path: Path, texts: list[str], language_model: Path, number: int
) -> None:
    folder = tmp_path / "a model"
    flags = [*FLAGS, "--epochs", "12", "--checkpoint-minutes", "0.0001"]
    process = start("lm", "train", *texts, "-o", folder, *flags)
    while process.poll() is None and not (folder / "checkpoint" / "state.json").exists():
        time.sleep(0.005)
    process.send_signal(number)
    outcome = finish(process)
    assert outcome.code == 130, outcome.err
    assert "Traceback" not in outcome.err
    said, command = outcome.err.splitlines()[-2:]
    assert said.startswith("vastmax: interrupted at ")
    assert said.endswith(f"checkpoint in {folder / 'checkpoint'}. Resume with:")
    refused = vastmax("lm", "train", *texts, "-o", folder, *flags)
    assert refused.code == 1
    assert "--resume" in refused.sentence and "--overwrite" in refused.sentence
    other = vastmax("lm", "train", *texts, "-o", folder, *flags, "--resume", "--seed", "9")
    assert "seed=1, now came seed=9" in other.sentence
    subprocess.run(shlex.split(command), check=True, capture_output=True)
    whole = vastmax("lm", "train", *texts, *flags, "--json").json
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    assert record["perplexity"] == whole["perplexity"]
    assert not (folder / "checkpoint").exists()


@pytest.mark.slow
def test_interrupt_without_a_folder(texts: list[str]) -> None:
    process = start("lm", "train", *texts, *FLAGS, "--epochs", "100000")
    assert process.stderr is not None
    assert any(line.startswith("training ") for line in iter(process.stderr.readline, ""))
    process.send_signal(signal.SIGINT)
    outcome = finish(process)
    assert outcome.code == 130
    assert outcome.err.splitlines()[-1].endswith("nothing is kept without -o DIR")


REFUSALS = {
    "no-layer": (["--output-layer", "nonsense"], "hierarchical"),
    "no-option": (["--output-layer", "sampled", "--option", "nonsense=1"], "num_samples"),
    "no-value": (
        ["--output-layer", "sampled", "--option", "num_samples"],
        "give a name and a value",
    ),
    "wrong-type": (["--output-layer", "sampled", "--option", "num_samples=ten"], "num_samples"),
    "tree-option": (["--output-layer", "hierarchical", "--option", "rule=adaptive"], "rule"),
    "no-model": (["--model", "transformer"], "feed-forward"),
    "no-tie": (["--output-layer", "hierarchical", "--tie"], "tie"),
    "epochs": (["--epochs", "0"], "epochs"),
    "device": (["--device", "abacus"], "abacus"),
    "meta": (["--device", "meta"], "device is 'meta': give cpu, cuda"),
    "checkpoints": (["--checkpoint-minutes", "-1"], "checkpoint_minutes is -1.0: give a number from 0"),
    "both": (["--resume", "--overwrite"], "resume and overwrite"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_bad_flags_are_told_in_a_sentence(tmp_path: Path, texts: list[str], name: str) -> None:
    flags, said = REFUSALS[name]
    outcome = vastmax("lm", "train", *texts, "-o", tmp_path / "model", *FLAGS, *flags)
    assert outcome.code == 1
    assert said in outcome.sentence
    assert not (tmp_path / "model").exists()


def test_bad_texts_are_told_in_a_sentence(tmp_path: Path, texts: list[str], language_model: Path, model: Path) -> None:
    strange = tmp_path / "strange.txt"
    strange.write_text("lorem ipsum dolor\n" * 5, encoding="utf-8")
    outcome = vastmax("lm", "train", texts[0], "--valid", texts[2], "--test", strange, *FLAGS)
    assert outcome.code == 1 and "only unknown words" in outcome.sentence
    same = vastmax("lm", "train", texts[0], "--valid", texts[0], "--test", texts[4], *FLAGS, "--epochs", "0.1")
    assert same.code == 0 and same.err.count("is both training and validation text") == 1
    assert "the model knows none of them" in vastmax("lm", "score", language_model, strange).sentence
    assert "embeddings, not a language model" in vastmax("lm", "score", model, strange).sentence
    assert "no language model" in vastmax("lm", "sample", tmp_path).sentence
    assert (
        "batching is 'word': give 'stream' or 'sentence'"
        in vastmax("lm", "score", language_model, texts[0], "--batching", "word").sentence
    )
    assert "resume needs" in vastmax("lm", "train", texts[0], "--resume").sentence


def test_divergence_is_told_in_a_sentence(tmp_path: Path, texts: list[str]) -> None:
    wild = ["--model", "feed-forward", "--linear", "--optimizer", "sgd", "--learning-rate", "10000", "--max-norm", "0"]
    outcome = vastmax("lm", "train", *texts, "-o", tmp_path / "model", *FLAGS, *wild)
    assert outcome.code == 1
    assert "lower the learning rate" in outcome.sentence


def test_too_many_words_for_memory_are_told_before_any_is_taken(
    texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = vastmax("lm", "train", *texts, *FLAGS, "--dim", "100000000")
    assert outcome.code == 1
    assert "GB are free" in outcome.sentence


def test_a_full_disk_is_told_in_a_sentence(tmp_path: Path, texts: list[str]) -> None:
    def limit() -> None:  # simulate a full disk for files of more than 64 kB
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))

    process = start(
        "lm", "train", *texts, "-o", tmp_path / "model", *FLAGS, "--epochs", "0.1", "--dim", "64", preexec_fn=limit
    )
    outcome = finish(process)
    assert outcome.code == 1, outcome.err
    assert "Traceback" not in outcome.err
    assert "the model was trained but not saved" in outcome.err
    assert "checkpoint is kept" not in outcome.err, "there is none"


@pytest.mark.parametrize(
    "verb", [["lm", "train", "x.txt"], ["lm", "score", "m", "x"], ["lm", "sample", "m"], ["compare", "x"]]
)
def test_without_torch(verb: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    outcome = vastmax(*verb)
    assert outcome.code == 1
    assert "pip install 'vastmax[torch,report]'" in outcome.sentence


def test_a_folder_that_another_product_took_over_says_what_it_holds(
    language_model: Path, model: Path, texts: list[str], corpus: Path, tmp_path: Path
) -> None:
    first, second = shutil.copytree(language_model, tmp_path / "first"), shutil.copytree(model, tmp_path / "second")
    assert vastmax("train", corpus, "-o", first, "--overwrite", "--epochs", "1", "--dim", "4").code == 0
    assert "contains 'vastmax embeddings 1', not a language model" in vastmax("lm", "score", first, texts[0]).sentence
    assert vastmax("lm", "train", *texts, "-o", second, "--overwrite", *FLAGS, "--epochs", "0.1").code == 0
    assert "contains 'vastmax language model 2', not embeddings" in vastmax("nearest", second, "a").sentence


def test_what_is_refused_is_refused_before_a_tree_is_grown(texts: list[str], tmp_path: Path) -> None:
    tree = ["--output-layer", "hierarchical-clustered", "--option", "vectors=nobody"]  # found only when it is built
    refused = vastmax("lm", "train", *texts, *tree, *FLAGS, "--checkpoint-minutes", "-1")
    assert "checkpoint_minutes is -1" in refused.sentence
    nowhere = vastmax("lm", "train", *texts, *FLAGS, "--option", "device=meta")
    assert "device is 'meta': give a device with data" in nowhere.sentence
