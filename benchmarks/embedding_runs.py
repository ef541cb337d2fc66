"""Run one trainer, or one evaluation, in its own process: a JSON object in, a JSON object out.

Internal: started by ``embeddings.py``. Importing a trainer is not timed, and another process evaluates the run, so that
peak memory is that of scanning, training and saving.
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
    """Measures wall-clock and CPU time of the parts of a run; a difference shows that the run had to wait."""

    def __init__(self) -> None:
        self.facts: Facts = {}
        self.restart()

    def restart(self) -> None:
        """Discard the time since the last part."""
        self.last = time.perf_counter(), time.process_time()

    def lap(self, part: str) -> None:
        """Record the time since the last part, in seconds, as that of this part."""
        now = time.perf_counter(), time.process_time()
        self.facts[f"{part}_seconds"] = now[0] - self.last[0]
        self.facts[f"{part}_processor_seconds"] = now[1] - self.last[1]
        self.last = now


def run_vastmax(spec: Spec) -> Facts:
    """Scan with `encode_corpus`, train with `train`, and save as a folder."""
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
    """Return gensim's options for the same run; all others keep gensim's defaults."""
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
    """Return the shortest and the longest length of "3-6", or of "5" for a single length."""
    shortest, _, longest = subwords.partition("-")
    return int(shortest), int(longest or shortest)


def run_gensim(spec: Spec) -> Facts:
    """Scan with build_vocab, train from the file (gensim's fastest mode), and save the KeyedVectors."""
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
    """Scan and train in one call; the scan cannot be timed separately and counts as training."""
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
    """Write the vectors of the words, followed by those of the unseen words to evaluate."""
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
    """Scan, train and save as a gensim user would."""
    from gensim.models import FastText, Word2Vec

    model = (FastText if spec["subwords"] else Word2Vec)(corpus_file=spec["corpus"], **gensim_options(spec))
    Path(spec["output"]).mkdir(parents=True, exist_ok=True)
    model.wv.save(str(Path(spec["output"], "vectors.kv")))
    return {}


def evaluate(spec: Spec) -> Facts:
    """Evaluate the saved vectors of a run, with the same code for all trainers."""
    import numpy as np

    from vastmax.embeddings import Embeddings, evaluate_analogies, evaluate_similarity
    from vastmax.vocabulary import Vocabulary

    embeddings = load(Path(spec["output"]))
    if not np.isfinite(embeddings.vectors).all() or not embeddings.vectors.any():
        return {"fault": "vectors are not finite, or all zero"}
    seen = embeddings.vocabulary.words or []
    seen = seen[: len(seen) - sum(word in embeddings for word in spec["unseen"])]  # unseen words come last
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
    """Load the saved embeddings of a run, from any trainer."""
    from vastmax.embeddings import Embeddings, read_word2vec

    if (folder / "vectors.kv").exists():
        from gensim.models import KeyedVectors

        from vastmax.integrations import from_gensim

        return from_gensim(KeyedVectors.load(str(folder / "vectors.kv")))
    if (folder / "vectors.vec").exists():
        return read_word2vec(folder / "vectors.vec")
    return Embeddings.load(folder)


def peak_bytes() -> int:
    """Return the peak resident memory in bytes, including memory-mapped files.

    On Linux the getrusage peak is inherited from the parent through fork and exec, so VmHWM is preferred.
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
