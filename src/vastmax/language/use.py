"""A saved language model at work: text is scored, text is drawn."""

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
from vastmax.text import Sources, read_sentences

__all__ = ["Drawn", "TextScore", "draw_text", "score_text"]


@dataclass(frozen=True)
class TextScore:
    """How well a model predicts a text, ends of sentences included."""

    perplexity: float  # exp of the mean negative log-probability of a word
    log_prob: float  # of the whole text, in nats
    words: int  # that were scored, the ends of sentences among them
    sentences: int
    unknown_share: float  # of words that the model does not know, ends of sentences not counted
    seconds: float  # what scoring took
    sentence_log_prob: NDArray[np.float64]  # (sentences,) of each with its end, in nats
    sentence_words: NDArray[np.int64]  # (sentences,) words of each, its end among them
    texts: list[list[str]]  # the sentences' words, if they were asked for

    @property
    def words_per_second(self) -> float:
        """Words scored a second."""
        return self.words / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class Drawn:
    """What a model drew."""

    texts: list[list[str]]  # the words of each sample behind the prompt's, ends of sentences among them
    prompt: list[str]  # its words, unknown ones replaced; a model of single sentences sees the last line's only
    unknown: list[str]  # those of the prompt's words that the model does not know, each once


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
        sources: the text, as ``encode_corpus`` takes it; words are found as in training. CorpusError where it cannot be
            read, is empty, or holds only unknown words.
        batching: "stream", each word predicted from all before it; "sentence", each sentence by itself; by default as
            the model was trained.
        rows: texts side by side, as ``perplexity`` takes them; 1 for a stream that is cut nowhere.
        keep: keep the sentences' words.
        threads: of the processor; None for torch's own number. InputError where it or the batching is none of these.
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
            f"the text has {words:,} words, and the model knows none of them: give text of the language that it was "
            "trained on, tokenised and cased alike."
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

    Args:
        saved: the model.
        prompt: what the text begins with; its lines are sentences, the last of which goes on. A model of single
            sentences (``batching="sentence"``) looks at that one only, and begins anew behind each end of a sentence.
        words: to draw, ends of sentences among them.
        samples: texts to draw, each for itself.
        temperature: log-probabilities are divided by it; 1 draws from the model as it is.
        top_k: draw among the best so many words only.
        unknown: whether the word that stands for unknown ones may be drawn.
        seed: of chance. InputError where it or another number cannot be used.
    """
    whole("words", words, 1)
    whole("samples", samples, 1)
    number("temperature", temperature, 0, above=True, other="a top_k of 1 for the most likely word")
    if top_k is not None:
        whole("top_k", top_k, 1, other="leave it out to draw among all words")
    whole("seed", seed, 0, LARGEST_SEED)
    end = saved.end_of_sentence
    sentences = [words for words in map(saved.split, prompt.splitlines()) if words]
    alone = saved.options.batching == "sentence"  # as the model was trained: what stands before does not count
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
