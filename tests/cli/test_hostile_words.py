"""Words with control characters: escaped for people, unchanged in JSON and in files."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.program import Outcome, on_terminal, vastmax
from vastmax.embeddings import Embeddings
from vastmax.embeddings.subwords import SubwordVectors
from vastmax.text import Phrases, Subwords
from vastmax.vocabulary import Vocabulary

# colours, a title by OSC, a bell, CSI as the single C1 character, DEL, bidirectional overrides, a literal backslash
WORDS = ["a\x1b[31mb", "\x1b]0;owned\x07", "c\x07\x08", "\x9b2Jd", "e\x7f", "f\u202eg", "\u2066h", "i\\n"]
WRITTEN = ["a\\x1b[31mb", "\\x1b]0;owned\\x07", "c\\x07\\x08", "\\x9b2Jd", "e\\x7f", "f\\u202eg", "\\u2066h", "i\\n"]
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "corpus.txt"
    path.write_text((" ".join(WORDS) + "\n" + " ".join(reversed(WORDS)) + "\n") * 40, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def hostile_model(tmp_path_factory: pytest.TempPathFactory, hostile: Path) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "model"
    assert vastmax("train", hostile, "-o", folder, "--dim", "4", "--epochs", "1", "--threads", "1").code == 0
    return folder


def harmless(*arguments: str | Path, code: int = 0) -> Outcome:
    """Run, and check that the output has no terminal control sequences."""
    outcome = vastmax(*arguments)
    assert outcome.code == code, outcome.err
    assert not OBEYED.search(outcome.out + outcome.err), (outcome.out, outcome.err)
    return outcome


def test_words_of_a_corpus(hostile: Path, tmp_path: Path) -> None:
    table = harmless("vocab", hostile, "-o", tmp_path / "vocabulary.tsv").out.splitlines()
    assert sorted(line.split("\t")[0] for line in table[1:]) == sorted(WRITTEN)
    assert sorted(each["word"] for each in harmless("vocab", hostile, "--json").json["top"]) == sorted(WORDS)
    assert sorted(Vocabulary.load(tmp_path / "vocabulary.tsv").words or []) == sorted(WORDS)
    picture = harmless("tree", hostile, "--show", "8").out
    assert all(written in picture for written in WRITTEN)
    assert "\\x1b[31m" in harmless("tree", hostile, "--show", "8", "--json").err


def test_phrases_of_a_corpus(hostile: Path, tmp_path: Path) -> None:
    flags = ["--threshold", "0.1", "--min-count", "1"]
    table = harmless("phrases", hostile, *flags, "-o", tmp_path / "phrases.tsv").out
    assert "\\x1b[31mb" in table
    found = {each["phrase"] for each in harmless("phrases", hostile, *flags, "--json").json["top"]}
    assert found <= set(Phrases.load(tmp_path / "phrases.tsv").scores) and any("\x1b" in phrase for phrase in found)


def test_words_of_a_model(hostile_model: Path, tmp_path: Path) -> None:
    rows = harmless("nearest", hostile_model, WORDS[0]).out.splitlines()[1:]
    assert {row.split("\t")[0] for row in rows} == {WRITTEN[0]}
    assert sorted(row.split("\t")[1] for row in rows) == sorted(WRITTEN[1:])
    found = harmless("nearest", hostile_model, WORDS[0], "--json").json
    assert {each["word"] for each in found[WORDS[0]]} == set(WORDS[1:])
    answers = harmless("analogy", hostile_model, *WORDS[:3]).out
    assert all(written in answers for written in WRITTEN[3:])
    assert {each["word"] for each in harmless("analogy", hostile_model, *WORDS[:3], "--json").json["answers"]} <= set(
        WORDS
    )
    gold = tmp_path / "gold\x1b[2J.txt"
    gold.write_text(f": {WORDS[0]}\n{' '.join(WORDS[:4])}\n", encoding="utf-8")
    assert WRITTEN[0] in harmless("evaluate", hostile_model, "--analogies", gold).out
    assert harmless("evaluate", hostile_model, "--analogies", gold, "--answers", "--json").json["analogies"]
    assert WRITTEN[2] in harmless("evaluate", hostile_model, "--analogies", gold, "--answers").out
    summed = harmless("nearest", hostile_model, WORDS[0], "-", WORDS[1], "--exclude", WORDS[2], "--among", WORDS[3])
    assert summed.out.splitlines()[1].startswith(f"{WRITTEN[0]} - {WRITTEN[1]}\t{WRITTEN[3]}\t")


def test_paths_of_a_model(hostile_model: Path, tmp_path: Path) -> None:
    for name in ("v\x1b[31m.txt", "v\x9b2J.bin", "v\u202e.npy"):
        written = repr(name)[1:-1]
        assert f"{written}: 8 words" in harmless("export", hostile_model, tmp_path / name).out
        assert "8 words" in harmless("import", tmp_path / name, tmp_path / f"model of {name}").out
        assert written in harmless("import", tmp_path / name, tmp_path / f"model of {name}", code=1).sentence
    assert harmless("export", hostile_model, tmp_path / "w\x1b.txt", "--json").json["output"].endswith("w\x1b.txt")


def test_words_in_complaints(hostile_model: Path, hostile: Path, tmp_path: Path) -> None:
    known = harmless("nearest", hostile_model, "a\x1b[31mB", code=1)
    assert "give a word that it contains, perhaps a\\x1b[31mb." in known.sentence
    for name in ("no\x1b[31m.txt", "no\nvastmax: fine", "no\u202e.txt", "no\x9b.txt"):
        assert " no\\" in harmless("vocab", name, code=1).sentence
        assert "no\\" in harmless("train", hostile, "-o", tmp_path / "model", "--phrases", name, code=1).sentence
    assert "\\x1b" in harmless("vocab", "--\x1b[31m", code=2).sentence
    assert "\\x1b" in harmless("\x1b[31m", code=2).sentence


def test_words_of_a_language_model(hostile: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    flags = ["--dim", "4", "--rows", "2", "--length", "4", "--threads", "1", "--epochs", "0.5", "--min-count", "1"]
    harmless("lm", "train", hostile, "-o", folder, *flags, "--held-out", "0.1")
    drawn = harmless("lm", "sample", folder, "--words", "60", "--prompt", "never\x1b[31m").out
    assert any(written in drawn for written in WRITTEN)
    assert any(word in harmless("lm", "sample", folder, "--words", "60", "--json").json["samples"][0] for word in WORDS)
    scored = harmless("lm", "score", folder, hostile, "--per-sentence").out.splitlines()
    assert scored[0].split("\t")[2] == " ".join(WRITTEN)
    kept = harmless("lm", "score", folder, hostile, "--per-sentence", "--json").json["per_sentence"]
    assert kept[0]["sentence"] == " ".join(WORDS)


def test_names_in_a_file_of_methods(hostile: Path, tmp_path: Path) -> None:
    config = tmp_path / "comparison.toml"
    config.write_text('[methods."x\\u001b[31m"]\nbias = true\n', encoding="utf-8")
    refused = harmless("compare", hostile, "--config", config, "-o", tmp_path / "out", code=1)
    assert "[methods.x\\x1b[31m] has no layer" in refused.sentence


def test_what_json_leaves_as_it_is_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    from vastmax.cli.console import print_json

    document = {word: [word, 1.5, None] for word in WORDS} | {"\x85\u2028": "ü → 語 😀"}
    print_json(document)
    printed = capsys.readouterr().out
    assert json.loads(printed) == document
    assert not OBEYED.search(printed) and "ü → 語 😀" in printed


def test_on_a_terminal(hostile: Path) -> None:
    command = [sys.executable, "-m", "vastmax", "vocab", str(hostile)]
    seen = on_terminal(*command, environment={"NO_COLOR": "1", "COLUMNS": "100", "PYTHONUTF8": "1"})
    assert "\x1b[31m" not in seen
    text = re.sub(r"\x1b\[[0-9;]*m", "", seen).replace("\r\n", "\n")  # without rich's own styles
    assert not OBEYED.search(text) and all(written in text for written in WRITTEN)


@pytest.mark.parametrize("name", ["plain", "two words", "it's", "a\x1b[31mb", "\udcffc'\\d\n\u202e語", "\x9be"])
def test_what_is_quoted_is_what_a_shell_takes(name: str) -> None:
    from vastmax.cli.console import quoted

    assert not OBEYED.search(quoted(name))
    taken = subprocess.run(["bash", "-c", f"printf %s {quoted(name)}"], capture_output=True, check=True).stdout
    assert taken == os.fsencode(name)


def test_names_that_are_no_text(hostile: Path, tmp_path: Path) -> None:
    text, name = tmp_path / "text\udcff", "out\udcff"
    text.write_bytes(hostile.read_bytes())
    flags = ["--dim", "4", "--rows", "2", "--length", "4", "--threads", "1", "--epochs", "0.5", "--min-count", "1"]
    harmless("vocab", text, "-o", tmp_path / f"vocabulary of {name}")
    harmless("train", text, "-o", tmp_path / name, "--dim", "4", "--epochs", "1", "--threads", "1")
    vectors = tmp_path / f"{name}.npy"
    assert harmless("export", tmp_path / name, vectors, "--json").json["output"] == str(vectors)
    harmless("import", vectors, tmp_path / f"again {name}")
    harmless("lm", "train", text, "-o", tmp_path / f"lm {name}", *flags, "--held-out", "0.1")
    harmless("lm", "score", tmp_path / f"lm {name}", text)
    for _ in range(2):  # the second call finds it finished
        harmless("compare", text, "-o", tmp_path / f"compare {name}", "--methods", "full", *flags)


@pytest.mark.parametrize("verb", [("nearest",), ("nearest", "+a"), ("analogy", "a", "b")])
def test_words_that_no_ngrams_can_be_cut_from(tmp_path: Path, verb: tuple[str, ...]) -> None:
    subwords = SubwordVectors(Subwords(1, 2, 9), np.ones((9, 2), np.float32))
    Embeddings(np.eye(2), Vocabulary(["a", "b"], None), subwords=subwords).save(tmp_path)
    outcome = harmless(verb[0], tmp_path, *verb[1:], "t\udcffea", code=1)
    assert outcome.sentence == "a word is 't\\udcffea': give text without unpaired surrogates."


def test_what_standard_output_cannot_hold_is_written_out(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("café 語\n" * 5, encoding="utf-8")
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "vastmax", "vocab", str(tmp_path / "text")]
    table = subprocess.run(command, env=ascii_only, capture_output=True, check=True).stdout
    assert table == b"word\tcount\ncaf\\xe9\t5\n\\u8a9e\t5\n"
    found = subprocess.run([*command, "--json"], env=ascii_only, capture_output=True, check=True).stdout
    assert [each["word"] for each in json.loads(found)["top"]] == ["café", "語"]
