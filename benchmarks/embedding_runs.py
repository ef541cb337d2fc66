"""One run of one trainer, or one evaluation, in a process of its own: a JSON object in, a JSON object out.

``embeddings.py`` starts this file; it is no program for people. Importing a trainer is not timed, and what a run
evaluates to is measured by another process, so that peak memory is that of scanning, training and saving.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Spec = dict[str, Any]
Facts = dict[str, Any]

MODELS = {
    "skipgram-ns": ("skipgram", "negative-sampling"),
    "skipgram-hs": ("skipgram", "hierarchical"),
    "cbow-ns": ("cbow", "negative-sampling"),
    "cbow-hs": ("cbow", "hierarchical"),
}


class Stopwatch:
    """Times the parts of a run: by the clock, and by the processor, which shows a run that had to wait."""

    def __init__(self) -> None:
        self.facts: Facts = {}
        self.restart()

    def restart(self) -> None:
        """Forget what has passed since the last part."""
        self.last = time.perf_counter(), time.process_time()

    def lap(self, part: str) -> None:
        """Note the seconds since the last part as those of this one."""
        now = time.perf_counter(), time.process_time()
        self.facts[f"{part}_seconds"] = now[0] - self.last[0]
        self.facts[f"{part}_processor_seconds"] = now[1] - self.last[1]
        self.last = now


def run_vastmax(spec: Spec) -> Facts:
    """Scan with encode_corpus, train with train, save as a folder."""
    from vastmax.embeddings import train
    from vastmax.text import encode_corpus

    model, objective = MODELS[spec["model"]]
    watch = Stopwatch()
    with encode_corpus(spec["corpus"], min_count=spec["min_count"], threads=spec["threads"]) as corpus:
        watch.lap("scan")
        embeddings = train(
            corpus,
            model=model,  # type: ignore[arg-type]
            objective=objective,  # type: ignore[arg-type]
            dim=spec["dim"],
            window=spec["window"],
            negatives=spec["negatives"],
            subsample=spec["subsample"],
            epochs=spec["epochs"],
            threads=spec["threads"],
            seed=spec["seed"],
            learning_rate=spec["learning_rate"],
            subwords=spec["subwords"],
            **spec["vastmax_options"],
        )
        watch.lap("train")
        raw_words = corpus.num_raw_words
    embeddings.save(spec["output"])
    watch.lap("save")
    simd = embeddings.config["training"]["simd_level"]
    return {**watch.facts, "raw_words": raw_words, "vocabulary": len(embeddings), "implementation": simd}


def gensim_options(spec: Spec) -> dict[str, Any]:
    """The same run in gensim's words; what is not named here is left at gensim's defaults."""
    model, objective = MODELS[spec["model"]]
    negative_sampling = objective == "negative-sampling"
    return {
        "vector_size": spec["dim"],
        "window": spec["window"],
        "min_count": spec["min_count"],
        "sg": int(model == "skipgram"),
        "hs": int(not negative_sampling),
        "negative": spec["negatives"] if negative_sampling else 0,
        "sample": spec["subsample"],
        "workers": spec["threads"],
        "seed": spec["seed"],
        "epochs": spec["epochs"],
        **({} if spec["learning_rate"] is None else {"alpha": spec["learning_rate"]}),
        **(dict(zip(("min_n", "max_n"), lengths_of_ngrams(spec["subwords"]), strict=True)) if spec["subwords"] else {}),
    }


def lengths_of_ngrams(subwords: str) -> tuple[int, int]:
    """Return the shortest and the longest of "3-6", or of "5", which is both."""
    shortest, _, longest = subwords.partition("-")
    return int(shortest), int(longest or shortest)


def run_gensim(spec: Spec) -> Facts:
    """Scan with build_vocab, train from the file (gensim's fastest way), save the KeyedVectors."""
    from gensim.models import FastText, Word2Vec, word2vec

    model = (FastText if spec["subwords"] else Word2Vec)(**gensim_options(spec))
    watch = Stopwatch()
    model.build_vocab(corpus_file=spec["corpus"])
    watch.lap("scan")
    model.train(
        corpus_file=spec["corpus"],
        total_examples=model.corpus_count,
        total_words=model.corpus_total_words,
        epochs=model.epochs,
    )
    watch.lap("train")
    Path(spec["output"]).mkdir(parents=True, exist_ok=True)
    model.wv.save(str(Path(spec["output"], "vectors.kv")))
    watch.lap("save")
    if spec["subwords"]:
        watch.facts["peak_bytes"] = peak_bytes()
        Path(spec["output"], "vectors.kv").unlink()
        write_vectors(spec, model.wv.index_to_key, model.wv)
    compiled = "compiled" if word2vec.CORPUSFILE_VERSION > -1 else "python"
    counted = {"raw_words": model.corpus_total_words, "vocabulary": len(model.wv)}
    return {**watch.facts, **counted, "implementation": compiled}


def run_fasttext(spec: Spec) -> Facts:
    """Scan and train in one call; the scan cannot be told apart and counts as training."""
    import fasttext  # type: ignore[import-not-found]

    model, objective = MODELS[spec["model"]]
    shortest, longest = lengths_of_ngrams(spec["subwords"] or "0")
    watch = Stopwatch()
    trained = fasttext.train_unsupervised(
        spec["corpus"],
        model=model,
        loss="ns" if objective == "negative-sampling" else "hs",
        dim=spec["dim"],
        ws=spec["window"],
        neg=spec["negatives"],
        t=spec["subsample"],
        minCount=spec["min_count"],
        epoch=spec["epochs"],
        lr=spec["learning_rate"] or (0.05 if model == "cbow" else 0.025),
        thread=spec["threads"],
        minn=shortest,
        maxn=longest,
        verbose=0,
    )
    watch.lap("train")
    words = [word for word in trained.get_words() if word != "</s>"]
    Path(spec["output"]).mkdir(parents=True, exist_ok=True)
    watch.restart()
    trained.save_model(str(Path(spec["output"], "model.bin")))
    watch.lap("save")
    facts = {**watch.facts, "vocabulary": len(words), "peak_bytes": peak_bytes()}
    write_vectors(spec, words, trained)
    with open(spec["corpus"], encoding="utf-8", errors="replace") as file:
        return {**facts, "raw_words": sum(len(line.split()) for line in file), "implementation": "compiled"}


def write_vectors(spec: Spec, words: list[str], vectors: Any) -> None:
    """Write the vectors of words, and behind them of those that are judged unseen."""
    words = words + spec["unseen"]
    with open(Path(spec["output"], "vectors.vec"), "w", encoding="utf-8") as file:
        file.write(f"{len(words)} {spec['dim']}\n")
        file.writelines(f"{word} {' '.join(map(str, vectors[word].tolist()))}\n" for word in words)


TRAINERS: dict[str, Callable[[Spec], Facts]] = {
    "vastmax": run_vastmax,
    "gensim": run_gensim,
    "fasttext": run_fasttext,
}


def whole_gensim(spec: Spec) -> Facts:
    """What a user of gensim would write: scan, train, save."""
    from gensim.models import FastText, Word2Vec

    model = (FastText if spec["subwords"] else Word2Vec)(corpus_file=spec["corpus"], **gensim_options(spec))
    Path(spec["output"]).mkdir(parents=True, exist_ok=True)
    model.wv.save(str(Path(spec["output"], "vectors.kv")))
    return {}


def evaluate(spec: Spec) -> Facts:
    """Measure the vectors that a run saved; every trainer's by the same code."""
    import numpy as np

    from vastmax.embeddings import Embeddings, evaluate_analogies, evaluate_similarity
    from vastmax.vocabulary import Vocabulary

    embeddings = load(Path(spec["output"]))
    if not np.isfinite(embeddings.vectors).all() or not embeddings.vectors.any():
        return {"fault": "vectors are not finite, or all zero"}
    seen = embeddings.vocabulary.words or []
    seen = seen[: len(seen) - sum(word in embeddings for word in spec["unseen"])]  # they come last
    reports = [evaluate_similarity(embeddings, path) for path in spec["similarity"]]
    facts: Facts = {
        "vocabulary_saved": len(seen),
        "pairs": {report.name: report.pairs for report in reports},
        "similarity": {report.name: report.to_dict() for report in reports},
    }
    if spec["analogies"]:
        known = Embeddings(embeddings.vectors[: len(seen)], Vocabulary(seen, None))
        facts["analogies"] = evaluate_analogies(known, spec["analogies"]).to_dict()
    return facts


def load(folder: Path) -> Any:
    """Return the embeddings that a run saved, whoever made them."""
    from vastmax.embeddings import Embeddings, read_word2vec

    if (folder / "vectors.kv").exists():
        from gensim.models import KeyedVectors

        from vastmax.integrations import from_gensim

        return from_gensim(KeyedVectors.load(str(folder / "vectors.kv")))
    if (folder / "vectors.vec").exists():
        return read_word2vec(folder / "vectors.vec")
    return Embeddings.load(folder)


def peak_bytes() -> int:
    """Return the peak of resident memory, files mapped into it included.

    Linux hands the getrusage peak of the parent down through fork and exec, so the kernel's own mark is asked first.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    spec = json.loads(sys.argv[1])
    if spec["task"] == "run":
        facts = TRAINERS[spec["trainer"]](spec)
        facts = {"peak_bytes": peak_bytes(), **facts}
        facts["words_per_second"] = facts["raw_words"] * spec["epochs"] / facts["train_seconds"]
    elif spec["task"] == "whole-gensim":
        facts = whole_gensim(spec)
    else:
        facts = evaluate(spec)
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
