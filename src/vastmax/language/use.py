"""Score and generate text with a saved language model."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray

from vastmax.checks import LARGEST_SEED, number, whole
from vastmax.errors import CorpusError
from vastmax.language.evaluation import perplexity
from vastmax.language.saved import SavedModel
from vastmax.machine import MOST_THREADS
from vastmax.sentences import counted
from vastmax.text import Sources, read_sentences

__all__ = ["Drawn", "TextScore", "draw_text", "score_text"]


@dataclass(frozen=True)
class TextScore:
    """How well a model predicts a text, including ends of sentences.

    Attributes:
        perplexity: exp of the mean negative log-probability per word.
        log_prob: log-probability of the whole text, in nats.
        words: number of words scored, including ends of sentences.
        sentences: number of sentences, S.
        unknown_share: share of out-of-vocabulary words, 0 to 1, not counting ends of sentences.
        seconds: scoring time.
        sentence_log_prob: (S,) float64, log-probability of each sentence with its end, in nats.
        sentence_words: (S,) int64, number of words of each sentence, including its end.
        texts: the words of each sentence; empty without ``keep``.
    """

    perplexity: float
    log_prob: float
    words: int
    sentences: int
    unknown_share: float
    seconds: float
    sentence_log_prob: NDArray[np.float64]
    sentence_words: NDArray[np.int64]
    texts: list[list[str]]

    @property
    def words_per_second(self) -> float:
        """Words scored per second."""
        return self.words / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class Drawn:
    """Text drawn from a model.

    Attributes:
        texts: the words of each sample after the prompt, including ends of sentences.
        prompt: the words of the prompt, unknown ones replaced; a model of single sentences uses only the last line's.
        unknown: the distinct out-of-vocabulary words of the prompt.
    """

    texts: list[list[str]]
    prompt: list[str]
    unknown: list[str]


def score_text(
    saved: SavedModel,
    sources: Sources,
    *,
    batching: str | None = None,
    rows: int | None = None,
    keep: bool = False,
    threads: int | None = None,
) -> TextScore:
    """Score every word and every end of a sentence by the model's exact distribution.

    Args:
        saved: the model.
        sources: the text, as for ``encode_corpus``; words are split as in training. CorpusError if it cannot be read,
            is empty, has only unknown words or contains the model's end of a sentence.
        batching: "stream", each word predicted from all before it; "sentence", each sentence by itself; by default as
            in training. InputError otherwise.
        rows: columns or sentences side by side, as for ``perplexity``; 1 for an uncut stream.
        keep: return the sentences' words in ``texts``.
        threads: CPU threads, set for the whole process; None leaves torch's setting. InputError if out of range.
    """
    if threads is not None:
        torch.set_num_threads(whole("threads", threads, 1, MOST_THREADS, other="leave it out"))
    ids, texts, known, words = array("i"), [], 0, 0
    for sentence in read_sentences(sources, tokenizer=saved.text["tokenizer"], lowercase=saved.text["lowercase"]):
        found = saved.ids(sentence)
        if saved.end_of_sentence in found:
            end = saved.text["end_of_sentence"]
            raise CorpusError(
                f"the text contains the word {end!r}, which marks ends of sentences in this model: remove it, or use a "
                "model that was trained with another end_of_sentence (--end-of-sentence)."
            )
        known += len(found) - found.count(saved.unknown)
        words += len(found)
        ids.extend([*found, saved.end_of_sentence])
        if keep:
            texts.append(sentence)
    if not known:
        raise CorpusError(
            f"the text has {counted(words, 'word')}, and the model knows none of them: give text of the language that "
            "it was trained on, tokenised and cased alike."
        )
    array_of_ids = np.frombuffer(ids, np.int32)
    end, batching = saved.end_of_sentence, batching or saved.options.batching
    report = perplexity(saved.model, array_of_ids, end=end, batching=batching, rows=rows)
    stops = np.flatnonzero(array_of_ids == end) + 1
    starts = np.concatenate([[0], stops[:-1]])
    return TextScore(
        perplexity=report.perplexity,
        log_prob=float(report.log_prob.sum()),
        words=len(ids),
        sentences=len(stops),
        unknown_share=(words - known) / words,
        seconds=report.seconds,
        sentence_log_prob=np.add.reduceat(report.log_prob, starts),
        sentence_words=stops - starts,
        texts=texts,
    )


def draw_text(
    saved: SavedModel,
    *,
    prompt: str = "",
    words: int = 100,
    samples: int = 1,
    temperature: float = 1.0,
    top_k: int | None = None,
    unknown: bool = True,
    seed: int = 1,
) -> Drawn:
    """Draw text from a model, word by word.

    InputError for a number out of range.

    Args:
        saved: the model.
        prompt: beginning of the text. Its lines are sentences, the last of which is continued. A model of single
            sentences (``batching="sentence"``) sees only that one, and restarts after each end of a sentence.
        words: number of words to draw, including ends of sentences.
        samples: number of independent texts.
        temperature: divisor of the log-probabilities, above 0; 1 draws from the model's own distribution.
        top_k: draw only among the k most probable words.
        unknown: whether the unknown word may be drawn.
        seed: random seed.
    """
    whole("words", words, 1)
    whole("samples", samples, 1)
    number("temperature", temperature, 0, above=True, other="a top_k of 1 for the most likely word")
    if top_k is not None:
        whole("top_k", top_k, 1, other="leave it out to draw among all words")
    whole("seed", seed, 0, LARGEST_SEED)
    end = saved.end_of_sentence
    sentences = [words for words in map(saved.split, prompt.splitlines()) if words]
    alone = saved.options.batching == "sentence"  # as in training, earlier sentences are no context
    begun = [[end, *saved.ids(sentence)] for sentence in sentences] or [[end]]
    seen = begun[-1:] if alone else begun
    drawn = saved.model.generate(
        torch.tensor(list(chain(*seen)))[:, None].expand(-1, samples),
        words,
        temperature=temperature,
        top_k=None if top_k is None else min(top_k, len(saved.vocabulary)),
        forbidden=None if unknown else torch.tensor([saved.unknown]),
        restart=end if alone else None,
        generator=torch.Generator().manual_seed(seed),
    )
    names = saved.vocabulary.words or []
    missing = dict.fromkeys(word for sentence in sentences for word in sentence if word not in saved.vocabulary)
    return Drawn(
        [[names[place] for place in column] for column in drawn.T.tolist()],
        [names[place] for place in chain(*begun)][1:],
        list(missing),
    )
