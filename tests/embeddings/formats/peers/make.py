"""Create this folder's models with fastText and floret and record their vectors: ``python make.py``.

Needs fasttext-wheel 0.9.2, floret 0.10.5 and numpy < 2, but not vastmax. For each file, ``expected.npz`` holds what
the program that wrote it returns: the words, their vectors, unseen words and their vectors.
"""

import random
import tempfile
from pathlib import Path

import fasttext
import floret
import numpy as np

HERE = Path(__file__).parent
UNSEEN = ["teapots", "küch", "한국", "tea pot", "xyzzy"]
WORDS = ["the", "tea", "teapot", "küche", "한국어", "naïve", "new", "york", *(f"word{i}" for i in range(12))]


def write_texts(folder: Path) -> tuple[str, str, str]:
    """Write a plain text, a labelled text, and one with enough labels to quantise the output."""
    chance = random.Random(1)
    weights = [1 / (1 + rank) for rank in range(len(WORDS))]
    lines = [chance.choices(WORDS, weights, k=8) for _ in range(300)]
    plain, labelled, many = (folder / name for name in ("plain.txt", "labelled.txt", "many.txt"))
    plain.write_text("".join(" ".join(line) + "\n" for line in lines))
    labelled.write_text("".join(f"__label__{len(line[0]) % 3} {' '.join(line)}\n" for line in lines))
    many.write_text("".join(f"__label__{place % 260} {' '.join(line)}\n" for place, line in enumerate(lines)))
    return str(plain), str(labelled), str(many)


def main() -> None:
    """Train and save the models, and record their answers."""
    plain, labelled, many = write_texts(Path(tempfile.mkdtemp()))
    some = {"dim": 6, "minn": 2, "maxn": 4, "minCount": 1, "epoch": 3, "thread": 2, "verbose": 0}
    supervised = {**some, "bucket": 300, "lr": 0.5}
    models = {
        "skipgram.bin": fasttext.train_unsupervised(plain, bucket=60, **some),
        "cbow.bin": fasttext.train_unsupervised(plain, model="cbow", bucket=60, **some),
        "hierarchical.bin": fasttext.train_unsupervised(plain, loss="hs", bucket=60, **some),
        "words.bin": fasttext.train_unsupervised(plain, **{**some, "maxn": 0}),
        "supervised.bin": fasttext.train_supervised(labelled, **{**some, "bucket": 60, "lr": 0.5}),
        "word_ngrams.bin": fasttext.train_supervised(labelled, wordNgrams=2, **{**some, "bucket": 60, "maxn": 0}),
        "floret.bin": floret.train_unsupervised(plain, mode="floret", hashCount=2, bucket=40, **some),
        "floret_fasttext.bin": floret.train_unsupervised(plain, mode="fasttext", bucket=60, **some),
    }
    for name, text, quantizing in (
        ("quantized.ftz", labelled, {"dsub": 4}),
        ("quantized_all.ftz", many, {"qnorm": True, "qout": True}),
        ("pruned.ftz", labelled, {"cutoff": 290, "qnorm": True}),
    ):
        models[name] = fasttext.train_supervised(text, **supervised)
        models[name].quantize(input=text, **quantizing)
    expected = {}
    for name, model in models.items():
        model.save_model(str(HERE / name))
        words = model.get_words()
        expected |= {
            f"{name} words": np.array(words),
            f"{name} vectors": np.array([model.get_word_vector(word) for word in words]),
            f"{name} unseen": np.array([model.get_word_vector(word) for word in UNSEEN]),
        }
    models["floret.bin"].save_vectors(str(HERE / "floret.vec"))
    models["floret.bin"].save_floret_vectors(str(HERE / "floret.floret"))
    np.savez_compressed(HERE / "expected.npz", asked=np.array(UNSEEN), **expected)


if __name__ == "__main__":
    main()
