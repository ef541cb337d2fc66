import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data import data_path
from tests.oracles import analogy_scores
from vastmax.embeddings import AnalogyScore, Answer, Embeddings, evaluate_analogies
from vastmax.embeddings.evaluation import analogies, questions
from vastmax.errors import FormatError, InputError
from vastmax.integrations import from_gensim
from vastmax.vocabulary import Vocabulary

Write = Callable[..., Path]
QUESTIONS = ": people\nman woman king queen\nman king woman cow\n: gram1-animals\nox cow man woman\nox cow bull cow\n"


def test_sections_and_sums(plane: Embeddings, written: Write) -> None:
    report = evaluate_analogies(plane, written(QUESTIONS))
    assert report.sections == (AnalogyScore("people", 1, 2, 0), AnalogyScore("gram1-animals", 1, 1, 1))
    assert report.semantic == AnalogyScore("semantic", 1, 2, 0)
    assert report.syntactic == AnalogyScore("syntactic", 1, 1, 1)
    assert report.total == AnalogyScore("total", 2, 3, 1)
    assert report.accuracy == pytest.approx(2 / 3)
    assert report.skipped == 1
    assert report.to_dict()["sections"][0] == {
        "name": "people",
        "correct": 1,
        "total": 2,
        "skipped": 0,
        "accuracy": 0.5,
        "out_of_vocabulary": 0.0,
    }
    assert set(report.to_dict()) >= {"semantic", "syntactic", "total", "method", "restrict_vocabulary", "lowercase"}


def test_answers_are_kept_on_request(plane: Embeddings, written: Write) -> None:
    path = written(QUESTIONS)
    plain, kept = (evaluate_analogies(plane, path, keep_answers=keep) for keep in (False, True))
    assert [section.answers for section in plain.sections] == [None, None]
    assert kept.total == plain.total
    people, animals = kept.sections
    assert people.answers == (
        Answer("man", "woman", "king", ("queen",), "queen", True),
        Answer("man", "king", "woman", ("cow",), "queen", False),
    )
    assert animals.answers == (Answer("ox", "cow", "man", ("woman",), "woman", True),)
    document = kept.to_dict()["sections"][0]
    assert document["right"] == [{"a": "man", "b": "woman", "c": "king", "expected": ("queen",), "answer": "queen"}]
    assert [answer["c"] for answer in document["wrong"]] == ["woman"]
    assert document.keys() - {"right", "wrong"} == plain.to_dict()["sections"][0].keys()
    few = evaluate_analogies(
        plane, written(": all\nman woman king king\n"), restrict_vocabulary=None, keep_answers=True
    )
    assert few.sections[0].answers == (Answer("man", "woman", "king", ("king",), "queen", False),)


def test_the_b_that_was_asked_with_is_told(plane: Embeddings, written: Write) -> None:
    (section,) = evaluate_analogies(plane, written("man\tlady/woman\nKING\tqueen/ruler\n"), keep_answers=True).sections
    assert section.answers == (
        Answer("man", "woman", "KING", ("queen", "ruler"), "queen", True),
        Answer("KING", "queen", "man", ("lady", "woman"), "woman", True),
    )


def test_nothing_asked(plane: Embeddings, written: Write) -> None:
    report = evaluate_analogies(plane, written(": a\nx y z w\n: b\n"))
    assert report.total == AnalogyScore("total", 0, 0, 1)
    assert report.accuracy is None
    assert report.sections[1].total == 0


def test_restricted_vocabulary(plane: Embeddings, written: Write) -> None:
    path = written(": all\nman woman king queen\nox cow man woman\n")
    assert evaluate_analogies(plane, path, restrict_vocabulary=4).total == AnalogyScore("total", 1, 1, 1)
    assert evaluate_analogies(plane, path, restrict_vocabulary=None).total == AnalogyScore("total", 2, 2, 0)
    assert evaluate_analogies(plane, path, restrict_vocabulary=1).total.skipped == 2
    for wrong, sentence in (
        ({"restrict_vocabulary": 0}, "^restrict_vocabulary is 0: give a whole number of 1 or more, or None"),
        ({"restrict_vocabulary": "9"}, "^restrict_vocabulary is '9': give a whole number of 1 or more, or None"),
        ({"method": "dot"}, "^method is 'dot': give '3cosadd' or '3cosmul'"),
        ({"lowercase": "no"}, "^lowercase is 'no': give true or false"),
        ({"keep_answers": 1}, "^keep_answers is 1: give true or false"),
    ):
        for file in (path, written(": all\nx y z w\n")):  # with and without known words
            with pytest.raises(InputError, match=sentence):
                evaluate_analogies(plane, file, **wrong)


def test_case(plane: Embeddings, written: Write) -> None:
    path = written(": all\nMan Woman KING queen\n")
    assert evaluate_analogies(plane, path).total.correct == 1
    assert evaluate_analogies(plane, path, lowercase=False).total.skipped == 1


def test_another_spelling_of_a_question_word_is_no_answer(written: Write) -> None:
    words = ["man", "woman", "king", "King", "queen"]
    vectors = np.array([[1, 1], [1, -1], [3, 1], [1.9, -2], [2, -1]])
    embeddings = Embeddings(vectors, Vocabulary(words, range(5, 0, -1)))
    path = written(": all\nman woman king queen\n")
    assert evaluate_analogies(embeddings, path).total.correct == 1
    assert evaluate_analogies(embeddings, path, lowercase=False).total.correct == 0


@pytest.mark.parametrize("method", ["3cosadd", "3cosmul"])
@pytest.mark.parametrize("block", [7, 100_000])
def test_equals_brute_force(written: Write, monkeypatch: pytest.MonkeyPatch, method: str, block: int) -> None:
    monkeypatch.setattr(analogies, "_ROWS", block)
    generator = np.random.default_rng(8)
    vectors = generator.normal(size=(40, 4))
    embeddings = Embeddings(vectors, Vocabulary([f"w{i}" for i in range(40)], range(40, 0, -1)))
    questions = generator.integers(0, 40, (300, 4))
    right = 0
    for a, b, c, expected in questions.tolist():
        scores = analogy_scores(vectors, a, b, c, method)
        right += expected == max((i for i in range(40) if i not in (a, b, c)), key=lambda i: scores[i])
    path = written(": all\n" + "".join(" ".join(f"w{i}" for i in row) + "\n" for row in questions))
    report = evaluate_analogies(embeddings, path, method=method)  # type: ignore[arg-type]
    assert report.total == AnalogyScore("total", right, 300, 0)
    assert right > 0


def assert_equals_gensim(theirs: Any, limit: int, lowercase: bool) -> None:
    path = data_path("eval/questions-words.txt")
    report = evaluate_analogies(
        from_gensim(theirs), path, restrict_vocabulary=limit, lowercase=lowercase, keep_answers=True
    )
    accuracy, sections = theirs.evaluate_word_analogies(str(path), restrict_vocab=limit, case_insensitive=lowercase)
    total = sections.pop()
    assert [section.name for section in report.sections] == [section["section"] for section in sections]
    for ours, section in zip(report.sections, sections, strict=True):
        for right, name in ((True, "correct"), (False, "incorrect")):
            asked = [(each.a, each.b, each.c, *each.expected) for each in ours.answers or () if each.right == right]
            assert [tuple(map(str.upper, each)) if lowercase else each for each in asked] == section[name]
        assert (ours.name, ours.correct) == (section["section"], len(section["correct"]))
        assert ours.total == len(section["correct"]) + len(section["incorrect"])
    assert report.accuracy == pytest.approx(accuracy, abs=1e-12)
    assert report.total.total + report.skipped == 19_544
    assert 0.2 < accuracy < 0.8
    assert len(total["correct"]) > 300


def test_equals_gensim(trained: Any) -> None:
    assert_equals_gensim(trained, 4000, True)


def test_equals_gensim_where_case_differs(trained: Any) -> None:
    """Every third word gets a capitalised duplicate, before or after it, with its own vector."""
    models = pytest.importorskip("gensim.models")
    generator = np.random.default_rng(2)
    words, vectors = [], []
    for i, word in enumerate(trained.index_to_key[:4000]):
        spellings = [word, word.capitalize()] if i % 3 == 0 else [word.capitalize() if i % 3 == 1 else word]
        for spelling in spellings[:: 1 if i % 2 else -1]:
            words.append(spelling)
            vectors.append(trained[word] + generator.normal(scale=0.05, size=50))
    doubled = models.KeyedVectors(50)
    doubled.add_vectors(words, np.array(vectors, np.float32))
    assert_equals_gensim(doubled, 5200, True)


def test_sections_are_not_required(plane: Embeddings, written: Write) -> None:
    report = evaluate_analogies(plane, written("man woman king queen\nox cow man woman\n", "mine.txt"))
    assert report.sections == (AnalogyScore("mine", 2, 2, 0),)


MSR = "man woman king queen\nman king woman queen\nox cow man woman\ngood better rough rougher\n"
RELATIONS = ["NN_NNS", "VB_VBD", "NN_NNS", "JJ_JJR"]
MSR_SECTIONS = (AnalogyScore("NN_NNS", 2, 2, 0), AnalogyScore("VB_VBD", 1, 1, 0), AnalogyScore("JJ_JJR", 0, 0, 1))


def test_msr_in_two_files(plane: Embeddings, written: Write) -> None:
    lines = [line.split() for line in MSR.splitlines()]
    path = written("".join(f"{a} {b} {c}\n" for a, b, c, _ in lines), "word_relationship.questions")
    content = "".join(f"{relation} {line[3]}\n" for relation, line in zip(RELATIONS, lines, strict=True))
    answers = written(content, "word_relationship.answers")
    for either in (path, answers):
        report = evaluate_analogies(plane, either)
        assert report.sections == MSR_SECTIONS
        assert report.syntactic == AnalogyScore("syntactic", 3, 3, 1)
        assert report.semantic.total == 0
    for wrong, message in (
        (content + "NN_NNS more\n", "has fewer questions than the .answers file beside it"),
        ("NN_NNS queen\n", "line 2 of .* has no answer"),
        (content.replace("NN_NNS ", ""), "line 1 of .* has no answer"),
    ):
        answers.write_text(wrong)
        with pytest.raises(FormatError, match=message):
            evaluate_analogies(plane, path)
    answers.unlink()
    with pytest.raises(InputError, match=r"word_relationship\.answers does not exist"):
        evaluate_analogies(plane, path)


def test_msr_in_one_file(plane: Embeddings, written: Write) -> None:
    lines = [line.split() for line in MSR.splitlines()]
    content = "".join(f"{a} {b} {c} {relation} {d}\n" for relation, (a, b, c, d) in zip(RELATIONS, lines, strict=True))
    assert evaluate_analogies(plane, written(content, "EN-MSR.txt")).sections == MSR_SECTIONS


BATS = {
    "1_Inflectional_morphology/I01 [noun - plural_reg].txt": "man\twoman\nking\tqueen\nox\tcow\n",
    "2_Derivational_morphology/D02 [un+adj_reg].txt": "able\tunable\nman\tking\n",
    "3_Encyclopedic_semantics/E10 [male - female].txt": "man\tlady/woman\nking\tempress/queen/cow\n",
    "4_Lexicographic_semantics/L04 [meronyms - substance].txt": "ox\tcow/man\nking\tman/woman\n",
}
BATS_SECTIONS = (
    AnalogyScore("I01 [noun - plural_reg]", 5, 6, 0),
    AnalogyScore("D02 [un+adj_reg]", 0, 0, 2),  # words not in the vocabulary
    AnalogyScore("E10 [male - female]", 2, 2, 0),
)


def write_bats(folder: Path) -> Path:
    for name, content in BATS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    (folder / "metadata.json").write_text("{}")
    return folder


def test_bats(plane: Embeddings, tmp_path: Path) -> None:
    folder = write_bats(tmp_path / "BATS_3.0")
    report = evaluate_analogies(plane, folder)
    assert report.sections[:3] == BATS_SECTIONS
    assert report.syntactic == AnalogyScore("syntactic", 5, 6, 2)
    assert report.semantic.total == 4
    with zipfile.ZipFile(tmp_path / "BATS_3.0.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.rglob("*"):
            archive.write(path, Path("BATS_3.0", path.relative_to(folder)))
        archive.writestr("__MACOSX/BATS_3.0/._metadata.txt", b"\xff\xfe")
    assert evaluate_analogies(plane, tmp_path / "BATS_3.0.zip") == report
    one = folder / "1_Inflectional_morphology" / "I01 [noun - plural_reg].txt"
    assert evaluate_analogies(plane, one).sections == BATS_SECTIONS[:1]


@pytest.mark.parametrize("method", ["3cosadd", "3cosmul"])
def test_bats_equals_brute_force(tmp_path: Path, method: str) -> None:
    generator = np.random.default_rng(9)
    vectors = generator.normal(size=(30, 4))
    embeddings = Embeddings(vectors, Vocabulary([f"w{i}" for i in range(30)], None))
    pairs = [(i, generator.choice(33, 4, replace=False).tolist()) for i in range(12)]  # w30 to w32 are unknown
    (tmp_path / "E01.txt").write_text(
        "".join(f"w{word}\t{'/'.join(f'w{answer}' for answer in answers)}\n" for word, answers in pairs)
    )
    right = 0
    for a, firsts in pairs:
        for c, answers in pairs:
            if a != c:
                b = next(first for first in firsts if first < 30)
                scores = analogy_scores(vectors, a, b, c, method)
                right += max((i for i in range(30) if i not in (a, b, c)), key=lambda i: scores[i]) in answers
    report = evaluate_analogies(embeddings, tmp_path, method=method)  # type: ignore[arg-type]
    assert report.total == AnalogyScore("total", right, 132, 0)
    assert 0 < right < 132


def test_archives_that_cannot_be_read(plane: Embeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "BATS_3.0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("I01.txt", "man\twoman\nking\tqueen\n")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"queen", b"quean"))
    with pytest.raises(FormatError, match=r"is a zip archive that cannot be read \(Bad CRC-32"):
        evaluate_analogies(plane, path)
    path.write_bytes(content)
    monkeypatch.setattr(questions, "_LARGEST_ARCHIVE", 20)
    with pytest.raises(FormatError, match="unpacks to 21 bytes, more than 20"):
        evaluate_analogies(plane, path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.md", "nothing")
    with pytest.raises(FormatError, match="contains no questions"):
        evaluate_analogies(plane, path)


@pytest.mark.parametrize("scale", [1e-25, 1e20])
def test_scores_do_not_depend_on_the_scale(plane: Embeddings, written: Write, scale: float) -> None:
    scaled = Embeddings(plane.vectors * np.float32(scale), plane.vocabulary)
    assert evaluate_analogies(scaled, written(QUESTIONS)) == evaluate_analogies(plane, written(QUESTIONS))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "contains no questions"),
        ("man woman king\n", "line 1 of .* has 3 words: give 4"),
        (": people\nman woman\n", "line 2 of .* has 2 words"),
        ("man\twoman\nking\n", "line 2 of .* has no answers: give 'word<TAB>answer/answer', as in line 1"),
        ("man\twoman\nking\t / \n", "line 2 of .* has no answers"),
        ("a b\n" * 1001, "has 1001 pairs, every ordered pair of which is a question: give at most 1000"),
        ("x" * 70_000, "line 1 of .* is longer than 65536 bytes"),
        (": people\nman woman king queen\n\nman woman king\n", "line 4 of .* has 3 words"),
        (": people\na b c d e\n", "line 2 of .* has 5 words"),
        (b": people\n\xff\xfe a b c\n", "line 2 of .* is not UTF-8"),
    ],
)
def test_malformed(plane: Embeddings, written: Write, content: str | bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        evaluate_analogies(plane, written(content))


def test_wrong_arguments(plane: Embeddings, written: Write, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        evaluate_analogies(plane, tmp_path / "nowhere")
    with pytest.raises(FormatError, match="contains no questions"):
        evaluate_analogies(plane, tmp_path)
    with pytest.raises(InputError, match="give '3cosadd' or '3cosmul'"):
        evaluate_analogies(plane, written(QUESTIONS), method="euclid")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no words, only ids"):
        evaluate_analogies(Embeddings(np.eye(2), Vocabulary(None, [1, 1])), written(QUESTIONS))
