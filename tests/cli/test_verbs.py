"""Each verb: its text and JSON output, and that both agree with the Python API."""

import inspect
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vastmax as package
from tests.cli.program import finish, start, vastmax
from vastmax.cli.console import program
from vastmax.embeddings import Embeddings, evaluate_analogies, evaluate_similarity
from vastmax.text import Phrases, build_vocabulary
from vastmax.trees import (
    Classes,
    Tree,
    clustered_tree,
    custom_tree,
    frequency_classes,
    huffman_tree,
    show_tree,
    union_tree,
)
from vastmax.vocabulary import Vocabulary

VERBS = [
    "demo",
    "train",
    "nearest",
    "analogy",
    "evaluate",
    "align",
    "compress",
    "export",
    "import",
    "vocab",
    "phrases",
    "tree",
]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.txt"
    path.write_text(": groups\ng1w0 g1w1 g2w0 g2w1\ng3w0 g3w1 g4w0 nowhere\n: gram1\ng1w0 g1w2 g2w0 g2w2\n")
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.txt"
    path.write_text("g1w0 g1w1 9\ng1w0 g2w0 1\ng3w1 g3w2 8\ng1w1 nowhere 5\n")
    return path


def test_help_lists_every_verb() -> None:
    outcome = vastmax("--help")
    assert outcome.code == 0
    for verb in VERBS:
        assert f"  {verb} " in outcome.out


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_has_examples_and_json(verb: str) -> None:
    outcome = vastmax(verb, "--help")
    assert outcome.code == 0
    assert f"  vastmax {verb}" in outcome.out.split("Examples:")[1]
    assert "--json" in outcome.out


def test_no_arguments_print_the_help() -> None:
    assert vastmax().code == 0
    assert "Commands:" in vastmax().out


def test_version() -> None:
    assert vastmax("--version").out == f"vastmax {package.__version__}\n"


@pytest.mark.parametrize("verb", [[], ["train"], ["tree"], ["lm", "train"], ["compare"]], ids="-".join)
def test_help_does_not_load_the_core(verb: list[str]) -> None:
    heavy = "print({'numpy', 'torch'} & {*sys.modules})"
    program = f"import sys; from vastmax.cli.app import run; run({[*verb, '--help']}); {heavy}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_every_flag_of_train_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = set(inspect.signature(package.train).parameters)
    given: dict[str, Any] = {}

    def train(corpus: list[str], **options: Any) -> None:
        given.update(options, corpus=corpus)
        raise KeyboardInterrupt

    monkeypatch.setattr("vastmax.embeddings.train", train)
    flags = ["--phrases", "2", "--phrase-threshold", "7", "--phrase-scoring", "npmi", "--connector-words", "of, the"]
    assert vastmax("train", "corpus.txt", "-o", "model", *flags, "--phrase-min-count", "3", "--dim", "8").code == 130
    assert set(given) == arguments
    found = {name: given[name] for name in given if name.startswith("phrase") or name in ("connector_words", "dim")}
    assert found == {
        "phrases": 2,
        "phrase_threshold": 7.0,
        "phrase_scoring": "npmi",
        "phrase_min_count": 3,
        "connector_words": ("of", "the"),
        "dim": 8,
    }


def test_train_says_what_it_did_and_what_to_type_next(corpus: Path, tmp_path: Path) -> None:
    outcome = vastmax("train", corpus, "-o", tmp_path / "a model", "--dim", "8", "--epochs", "1")
    assert outcome.code == 0
    assert "200 words, 8 dimensions: 24,000 words in" in outcome.out
    assert f"try: vastmax nearest '{tmp_path / 'a model'}' WORD" in outcome.out


def test_commands_to_type_next_are_found_by_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "my env" / "vastmax"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for called, again in (
        (str(script), f"'{script}'"),
        (str(Path(package.__file__).with_name("__main__.py")), f"{shlex.quote(sys.executable)} -m vastmax"),
        ("/usr/bin/pytest", "vastmax"),
    ):
        monkeypatch.setattr(sys, "argv", [called])
        assert program() == again
    monkeypatch.setenv("PATH", str(script.parent))
    monkeypatch.setattr(sys, "argv", [str(script)])
    assert program() == "vastmax"


def test_train_equals_python(corpus: Path, tmp_path: Path) -> None:
    outcome = vastmax("train", corpus, "-o", tmp_path, "--dim", "9", "--epochs", "2", "--threads", "1", "--json")
    embeddings = package.train(corpus, dim=9, epochs=2, threads=1)
    np.testing.assert_array_equal(Embeddings.load(tmp_path).vectors, embeddings.vectors)
    facts = outcome.json
    assert (facts["vocabulary"], facts["dim"], facts["words"]) == (200, 9, 48_000)
    assert facts["config"]["options"] == embeddings.config["options"]
    assert outcome.out.count("\n") == 1


def test_train_from_standard_input(corpus: Path, tmp_path: Path) -> None:
    for name, source in (("file", corpus), ("stdin", "-")):
        with corpus.open() as text:
            process = start("train", source, "-o", tmp_path / name, "--dim", "4", "--threads", "1", stdin=text)
            assert finish(process).code == 0
    assert (tmp_path / "file" / "vectors.safetensors").read_bytes() == (
        tmp_path / "stdin" / "vectors.safetensors"
    ).read_bytes()


def test_train_with_saved_phrases(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("we saw new york today\nyork is old but new york is new\n" * 30)
    learnt = vastmax("phrases", text, "--threshold", "1", "--passes", "1", "-o", tmp_path / "phrases.tsv")
    assert learnt.code == 0
    assert "new_york" in Phrases.load(tmp_path / "phrases.tsv").scores
    for name, phrases in (("saved", tmp_path / "phrases.tsv"), ("learnt", "1")):
        flags = ["--phrases", phrases, "--phrase-threshold", "1"]
        outcome = vastmax("train", text, "-o", tmp_path / name, *flags, "--dim", "4")
        assert outcome.code == 0
        assert "new_york" in Embeddings.load(tmp_path / name)
        assert f"phrases were joined; --phrases {tmp_path / name / 'phrases.tsv'} joins them" in outcome.out
    other = tmp_path / "other.txt"
    other.write_text("new york and york\n" * 9)
    flags = ["--phrases", tmp_path / "learnt" / "phrases.tsv", "--dim", "4", "--json"]
    found = vastmax("train", other, "-o", tmp_path / "other", *flags)
    assert found.json["phrases"] >= 1 and "new_york" in Embeddings.load(tmp_path / "other")
    assert vastmax("train", text, "-o", tmp_path / "none", "--dim", "4", "--json").json["phrases"] is None


def test_nearest(model: Path) -> None:
    table = vastmax("nearest", model, "g1w1", "g2w1", "-k", "3").out.splitlines()
    assert table[0] == "word\tneighbour\tcosine"
    assert len(table) == 7
    found = vastmax("nearest", model, "g1w1", "-k", "3", "--json").json["g1w1"]
    assert [row["word"] for row in found] == [line.split("\t")[1] for line in table[1:4]]
    assert all(row["word"].startswith("g1w") for row in found)


def test_nearest_to_a_sum(model: Path) -> None:
    embeddings = Embeddings.load(model)
    expected = embeddings.nearest(positive=["g1w0", "g2w1"], negative=["g1w1"], k=4)
    found = vastmax("nearest", model, "g1w0", "-", "g1w1", "+", "g2w1", "-k", "4", "--json").json
    assert list(found) == ["g1w0 - g1w1 + g2w1"]
    assert [row["word"] for row in found["g1w0 - g1w1 + g2w1"]] == [word for word, _ in expected]
    table = vastmax("nearest", model, "g1w0", "+", "g2w1", "-k", "2").out.splitlines()
    assert [line.split("\t")[0] for line in table] == ["word", "g1w0 + g2w1", "g1w0 + g2w1"]
    assert vastmax("nearest", model, "g1w0", "+").sentence.startswith("'+' is not in the vocabulary")


def test_nearest_among(model: Path, tmp_path: Path) -> None:
    embeddings = Embeddings.load(model)
    for flags, options in (
        (["--among", "50"], {"among": 50}),
        (["--among", "g5w0", "--among", "g2w1", "--among", "g1w3"], {"among": ["g5w0", "g2w1", "g1w3"]}),
        (["--exclude", "g1w0", "--exclude", "g1w2"], {"exclude": ["g1w0", "g1w2"]}),
        (["--among", "g5w0", "--among", "g1w0", "--exclude", "g1w0"], {"among": ["g5w0"]}),
    ):
        for asked, query in ((["g1w1"], {"query": "g1w1"}), (["g1w1", "+", "g3w0"], {"positive": ["g1w1", "g3w0"]})):
            found = vastmax("nearest", model, *asked, *flags, "--json").json[" ".join(asked)]
            expected: Any = embeddings.nearest(**query, **options)  # type: ignore[call-overload]
            assert [row["word"] for row in found] == [word for word, _ in expected]
    assert vastmax("nearest", model, "g1w1", "--among", "0").sentence.startswith("among is 0: give a whole number")
    assert "is not in the vocabulary" in vastmax("nearest", model, "g1w1", "--exclude", "nowhere").sentence
    graph = Embeddings(np.array([[1, 0], [1, 1], [0, 1]]), Vocabulary(["7", "2", "1"], None))
    graph.save(tmp_path / "graph")
    for number in ("3", "2", "1"):  # a count, although 2 and 1 are words too; 7 itself is no answer
        assert vastmax("nearest", tmp_path / "graph", "7", "--among", number).out.count("\n") == int(number)
    twice = vastmax("nearest", tmp_path / "graph", "7", "--among", "1", "--among", "1")
    assert twice.out.splitlines()[1:] == ["7\t1\t0.0000"]


def test_ids_are_asked_for_where_there_are_no_words(tmp_path: Path) -> None:
    Embeddings(np.array([[1, 0], [1, 1], [0, 1]]), Vocabulary(None, [3, 2, 1])).save(tmp_path / "items")
    assert vastmax("nearest", tmp_path / "items", "0", "-k", "1").out.splitlines()[1] == "0\t1\t0.7071"
    assert vastmax("analogy", tmp_path / "items", "0", "1", "2", "--json").json["answers"] == []
    assert "give an id from 0 to 2" in vastmax("nearest", tmp_path / "items", "3").sentence
    assert "give an id from 0 to 2" in vastmax("nearest", tmp_path / "items", "tea").sentence


def test_unknown_word_suggests(model: Path) -> None:
    outcome = vastmax("nearest", model, "G1W1")
    assert outcome.code == 1
    assert outcome.sentence.startswith("'G1W1' is not in the vocabulary: give a word that it contains, perhaps g1w1")


@pytest.mark.parametrize("method", ["3cosadd", "3cosmul"])
def test_analogy(model: Path, method: str) -> None:
    outcome = vastmax("analogy", model, "g1w0", "g1w1", "g2w0", "--method", method, "-k", "4", "--json")
    expected = Embeddings.load(model).analogy("g1w0", "g1w1", "g2w0", 4, method)  # type: ignore[arg-type]
    assert [row["word"] for row in outcome.json["answers"]] == [found.word for found in expected]
    assert vastmax("analogy", model, "g1w0", "g1w1", "g2w0", "--method", method).out.startswith("answer\tscore\n")


def test_evaluate(model: Path, questions: Path, pairs: Path) -> None:
    both = ["--analogies", questions, "--similarity", pairs]
    document = vastmax("evaluate", model, *both, "--json").json
    assert document["analogies"][0]["name"] == "questions"
    assert document["analogies"][0]["total"]["total"] == 2
    expected = evaluate_similarity(Embeddings.load(model), pairs)
    assert document["similarity"][0] == expected.to_dict()
    assert (expected.pairs, expected.left_out) == (3, 1)
    table = vastmax("evaluate", model, *both).out
    correlations = f"{100 * expected.spearman:.1f}\t{expected.spearman_p:.2g}"
    assert f"pairs\t{correlations}\t{100 * expected.pearson:.1f}\t{expected.pearson_p:.2g}\t3\t1\t25.0" in table
    assert "total\t" in table


def test_evaluate_shows_answers(model: Path, questions: Path) -> None:
    document = vastmax("evaluate", model, "--analogies", questions, "--answers", "--json").json
    expected = evaluate_analogies(Embeddings.load(model), questions, keep_answers=True)
    assert document["analogies"][0]["sections"] == json.loads(json.dumps(expected.to_dict()["sections"]))
    table = vastmax("evaluate", model, "--analogies", questions, "--answers").out.split("section\ta\tb")[1].splitlines()
    answer = expected.sections[0].answers[0]  # type: ignore[index]
    assert table[1] == f"groups\tg1w0\tg1w1\tg2w0\tg2w1\t{answer.answer}\t{'+' if answer.right else '-'}"
    assert len(table) == 3
    assert "section\ta\tb" not in vastmax("evaluate", model, "--analogies", questions).out


def test_align(model: Path, tmp_path: Path) -> None:
    ours = Embeddings.load(model)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(16, 16)))[0]
    Embeddings(ours.vectors @ turn, ours.vocabulary).save(tmp_path / "target")
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("nowhere g1w1\n" + "".join(f"{word}\t{word}\n" for word in ours.vocabulary.words[:60]))
    call = ["align", model, tmp_path / "target", "-o", tmp_path / "turned"]
    judged = vastmax(*call, "--pairs", pairs, "--dictionary", pairs, "--json").json
    assert judged["pairs"] == 60
    assert judged["translation"]["precision"] == {"1": 1.0, "5": 1.0, "10": 1.0}
    assert (judged["translation"]["words"], judged["translation"]["left_out"]) == (60, 1)
    np.testing.assert_allclose(Embeddings.load(tmp_path / "turned").vectors, ours.vectors @ turn, atol=1e-4)
    refused = vastmax(*call)
    assert (refused.code, "--overwrite" in refused.sentence) == (1, True)
    shown = vastmax(*call, "--overwrite", "--dictionary", pairs, "--method", "cosine").out.splitlines()
    assert shown[0].endswith("200 words, turned by 200 pairs")
    assert shown[1:3] == ["k\tprecision x 100\twords\tleft out", "1\t100.0\t60\t1"]
    for flags, sentence in (
        (["--method", "x"], "method is 'x': give 'csls' or 'cosine'"),
        (["--restrict-vocabulary", "0"], "restrict_vocabulary is 0: give a whole number of 1 or more"),
    ):
        for judged_on in ([], ["--dictionary", pairs]):
            outcome = vastmax(*call, "--overwrite", *flags, *judged_on)
            assert (outcome.code, outcome.sentence) == (1, sentence + ".")
    pairs.write_text("nowhere g1w1\n")
    assert vastmax(*call, "--overwrite", "--pairs", pairs).sentence.endswith(
        "both models know: give lines of SOURCE word, TARGET word."
    )


def test_evaluate_wants_something_to_evaluate(model: Path, tmp_path: Path) -> None:
    outcome = vastmax("evaluate", model)
    assert (outcome.code, outcome.sentence) == (
        1,
        "evaluate needs questions: give --analogies FILE or --similarity FILE.",
    )
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("g1w1 g1w2 3\n")
    for flags, sentence in (
        (["--method", "x"], "method is 'x': give '3cosadd' or '3cosmul'"),
        (["--restrict-vocabulary", "0"], "restrict_vocabulary is 0: give a whole number of 1 or more"),
    ):
        outcome = vastmax("evaluate", model, "--similarity", pairs, *flags)
        assert (outcome.code, outcome.sentence) == (1, sentence + ".")


@pytest.mark.parametrize("ending", [".txt", ".bin", ".npy"])
def test_export_and_import(model: Path, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"vectors{ending}"
    assert vastmax("export", model, file, "--json").json == {"output": str(file), "vocabulary": 200, "dim": 16}
    assert vastmax("import", file, tmp_path / "back").code == 0
    before, after = Embeddings.load(model), Embeddings.load(tmp_path / "back")
    assert after.vocabulary.words == before.vocabulary.words
    np.testing.assert_allclose(after.vectors, before.vectors, rtol=1e-5, atol=1e-7)
    refused = vastmax("import", file, tmp_path / "back")
    assert refused.code == 1
    assert "--overwrite" in refused.sentence
    assert vastmax("import", file, tmp_path / "back", "--overwrite").code == 0


def test_export_for_fasttext_and_back(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("tea teapot milk\n" * 30)
    options = [
        "--min-count",
        "1",
        "--dim",
        "4",
        "--epochs",
        "1",
        "--threads",
        "1",
        "--subwords",
        "2-3",
        "--buckets",
        "50",
    ]
    assert vastmax("train", tmp_path / "c.txt", "-o", tmp_path / "model", *options).code == 0
    file = tmp_path / "m.bin"
    assert vastmax("export", tmp_path / "model", file, "--format", "fasttext").code == 0
    assert vastmax("import", file, tmp_path / "back").code == 0
    before, after = Embeddings.load(tmp_path / "model"), Embeddings.load(tmp_path / "back")
    assert after.vocabulary == before.vocabulary
    for words in (["tea", "milk"], ["teas", "mil"]):
        np.testing.assert_allclose(after[words], before[words], rtol=1e-4, atol=1e-7)
    wrong = vastmax("export", tmp_path / "model", file, "--format", "gensim")
    assert wrong.code == 1
    assert "give 'word2vec' or 'fasttext' or 'floret'" in wrong.sentence


def test_import_reads_what_others_publish(tmp_path: Path) -> None:
    glove = tmp_path / "glove.txt"
    glove.write_bytes(b"the 0.5 1\nat name@domain.com 2 3\n\xff 4 5\nnot a vector\n")
    assert vastmax("import", glove, tmp_path / "a", "--limit", "2", "--json").json["vocabulary"] == 2
    with_a_note = vastmax("import", glove, tmp_path / "b", "--limit", "3")
    assert with_a_note.code == 0
    assert "note: " in with_a_note.err
    assert f"word 3 (b'\\xff') of {glove} is not UTF-8" in with_a_note.err
    refused = vastmax("import", glove, tmp_path / "c")
    fault, todo = "has 'vector' instead of a finite number", "correct it, or fetch or write the file again"
    assert (refused.code, refused.sentence) == (1, f"line 4 of {glove} {fault}: {todo}.")
    assert not (tmp_path / "c").exists()
    glove.write_bytes(b"\xba\x16\x4f\x2f" + bytes(100))
    assert "has version 0 of fastText's format" in vastmax("import", glove, tmp_path / "c").sentence
    assert "limit is 0" in vastmax("import", glove, tmp_path / "c", "--limit", "0").sentence
    assert "has words but no counts" not in vastmax("nearest", tmp_path / "a", "the").err


def test_evaluate_on_gold_standards_as_published(model: Path, tmp_path: Path) -> None:
    simlex = tmp_path / "SimLex-999.txt"
    simlex.write_text("word1\tword2\tPOS\tSimLex999\ng1w0\tg1w1\tN\t9\ng1w0\tg2w0\tN\t1\ng3w1\tg3w2\tA\t8\n")
    bats = tmp_path / "BATS_3.0"
    (bats / "1_Inflectional_morphology").mkdir(parents=True)
    (bats / "1_Inflectional_morphology" / "I01 [x].txt").write_text("g1w0\tg1w1/g1w2\ng2w0\tg2w1\n")
    document = vastmax("evaluate", model, "--similarity", simlex, "--analogies", bats, "--json").json
    assert (document["similarity"][0]["pairs"], document["similarity"][0]["left_out"]) == (3, 0)
    assert (document["analogies"][0]["name"], document["analogies"][0]["syntactic"]["total"]) == ("BATS_3.0", 2)
    simlex.write_text("g1w0\tg1w1\t7,35\n")
    refused = vastmax("evaluate", model, "--similarity", simlex)
    assert refused.code == 1
    assert refused.sentence.endswith("has the score '7,35': write decimals with a point.")


def test_vocab(corpus: Path, tmp_path: Path) -> None:
    file = tmp_path / "vocabulary.tsv"
    outcome = vastmax("vocab", corpus, "-k", "2", "-o", file, "--json")
    vocabulary = Vocabulary.load(file)
    assert outcome.json["vocabulary"] == len(vocabulary) == 200
    assert outcome.json["words"] == vocabulary.total == 24_000
    assert [row["word"] for row in outcome.json["top"]] == vocabulary.words[:2]  # type: ignore[index]
    assert vastmax("vocab", corpus, "-k", "1").out.splitlines()[1] == f"{vocabulary.words[0]}\t{vocabulary.counts[0]}"  # type: ignore[index]


def test_phrases(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("we saw new york today\nyork is old but new york is new\n" * 30)
    document = vastmax("phrases", text, "--threshold", "1", "-k", "1", "--json").json
    assert document["top"][0]["score"] >= 1
    assert vastmax("phrases", text, "--threshold", "1", "--scoring", "npmi").code == 0


def test_tree(corpus: Path, tmp_path: Path) -> None:
    counts = build_vocabulary(corpus).counts
    statistics = huffman_tree(counts).statistics(counts)
    document = vastmax("tree", corpus, "-o", tmp_path / "tree.safetensors", "--json").json
    assert document["mean_bits"] == document["huffman_bits"] == statistics.mean_bits
    assert document["entropy_bits"] == statistics.entropy_bits
    assert document["saving"] == pytest.approx(1 - statistics.mean_bits / statistics.balanced_bits)
    assert Tree.load(tmp_path / "tree.safetensors") == huffman_tree(counts)
    table = vastmax("tree", corpus, "--kind", "balanced-random", "--seed", "3").out
    for part in (
        "entropy of the words",
        "balanced tree",
        "huffman tree",
        "balanced-random tree",
        f"{statistics.mean_bits:.2f}",
    ):
        assert part in table


def test_random_tree_depends_on_the_seed(corpus: Path) -> None:
    bits = [
        vastmax("tree", corpus, "--kind", "balanced-random", "--seed", seed, "--json").json["mean_bits"]
        for seed in ("1", "1", "2")
    ]
    assert bits[0] == bits[1] != bits[2]


def test_clustered_trees(corpus: Path, model: Path, tmp_path: Path) -> None:
    saved, embeddings = tmp_path / "tree.safetensors", Embeddings.load(model)
    flags = ["--kind", "clustered", "--vectors", model, "--epsilon", "0.4", "--trees", "2", "--seed", "5"]
    outcome = vastmax("tree", corpus, *flags, "-o", saved, "--show", "1")
    trees = [clustered_tree(embeddings.vectors, epsilon=0.4, seed=seed) for seed in (5, 6)]
    assert Tree.load(saved) == union_tree(trees)
    counts, words = embeddings.vocabulary.counts, embeddings.vocabulary.words
    assert outcome.out.endswith(show_tree(union_tree(trees), words, levels=1, counts=counts) + "\n")
    assert f"{Tree.load(saved).num_leaves:,} leaves" in outcome.out
    assert vastmax("tree", corpus, *flags, "--json").json["leaves"] == Tree.load(saved).num_leaves


def test_trees_train_their_vectors_where_none_are_given(corpus: Path) -> None:
    wordnet = Path(__file__).parents[1] / "trees" / "wordnet"
    for flags in (["--kind", "clustered"], ["--kind", "wordnet", "--wordnet", wordnet]):
        outcome = vastmax("tree", corpus, *flags, "--threads", "1", "--json")
        assert outcome.json["leaves"] == outcome.json["num_words"]
        assert "training vectors on the corpus" in outcome.err
    assert "training" not in vastmax("tree", corpus, "--kind", "clustered", "--rule", "random").err


def test_custom_tree(corpus: Path, tmp_path: Path) -> None:
    vocabulary = build_vocabulary(corpus)
    pairs = [(f"group {i % 7}", word) for i, word in enumerate(vocabulary.words or [])]
    taxonomy, saved = tmp_path / "taxonomy.tsv", tmp_path / "tree.safetensors"
    taxonomy.write_text("\ufeff" + "".join(f"{parent}\t{child}\r\n" for parent, child in pairs))  # as spreadsheets do
    outcome = vastmax("tree", corpus, "--kind", "custom", "--taxonomy", taxonomy, "-o", saved)
    assert outcome.code == 0
    assert Tree.load(saved) == custom_tree(pairs, vocabulary.words, counts=vocabulary.counts)


def test_class_based(corpus: Path, tmp_path: Path) -> None:
    counts, saved = build_vocabulary(corpus).counts, tmp_path / "classes.safetensors"
    document = vastmax("tree", corpus, "--kind", "class-based", "--classes", "9", "-o", saved, "--json").json
    assert Classes.load(saved) == frequency_classes(counts, 9)
    assert document["mean_logits"] == Classes.load(saved).statistics(counts).mean_logits
    assert "9 classes" in vastmax("tree", corpus, "--kind", "class-based", "--classes", "9").out


def test_pipe_that_closes_early_is_no_error(model: Path) -> None:
    process = start("nearest", model, *[f"g{group}w{word}" for group in range(10) for word in range(20)], "-k", "150")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


def test_demo(tmp_path: Path) -> None:
    flags = ["--max-words", "60000", "-o", tmp_path / "demo", "--threads", "1"]
    document = json.loads(vastmax("demo", *flags, "--json").out)
    assert 40_000 < document["config"]["corpus"]["words_read"] <= 60_000
    for answer in document["analogies"]:
        found = Embeddings.load(tmp_path / "demo").analogy(answer["a"], answer["b"], answer["c"], 1)[0]
        assert found.word == answer["answer"]
    text = vastmax("demo", *flags, "--overwrite").out
    for part in ("words/s", "Nearest neighbours", "answered as expected", f"vastmax nearest {tmp_path / 'demo'}"):
        assert part in text


def test_compress(model: Path, tmp_path: Path) -> None:
    embeddings = Embeddings.load(model)
    outcome = vastmax("compress", model, "-o", tmp_path / "small")
    assert outcome.code == 0
    assert "% of the size in float32" in outcome.out
    found = json.loads(vastmax("nearest", tmp_path / "small", "g1w0", "-k", "2", "--json").out)["g1w0"]
    assert [each["word"] for each in found] == [word for word, _ in embeddings.nearest("g1w0", 2)]
    again = vastmax("compress", model, "-o", tmp_path / "small")
    assert again.code == 1
    assert "contains a model: add --overwrite" in again.err
    outcome = vastmax("compress", model, "-o", tmp_path / "small", "--bytes-per-word", "5", "--overwrite", "--json")
    assert json.loads(outcome.out)["bytes"] == Embeddings.load(tmp_path / "small").table.nbytes  # type: ignore[union-attr]
    for wrong in (["--dtype", "int4"], ["--bytes-per-word", "0"], ["--dtype", "int8", "--bytes-per-word", "5"]):
        outcome = vastmax("compress", model, "-o", tmp_path / "other", *wrong)
        assert outcome.code == 1
        assert ": give " in outcome.err
    assert not (tmp_path / "other").exists()
