"""``vastmax lm score`` and ``vastmax lm sample``: what a saved language model can do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vastmax.cli.console import note, print_json, say
from vastmax.cli.flags import Json, Seed, Threads
from vastmax.cli.language import require_torch

if TYPE_CHECKING:
    from vastmax.language import SavedModel, TextScore

__all__ = ["sample", "score"]

ModelFolder = Annotated[Path, typer.Argument(metavar="DIR", show_default=False, help="Folder of a language model.")]


def score(
    model: ModelFolder,
    text: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", show_default=False, help="Text: files, folders, globs, or - for standard input."
        ),
    ],
    per_sentence: Annotated[
        bool, typer.Option("--per-sentence", help="Print a line a sentence: log-probability, words, the sentence.")
    ] = False,
    batching: Annotated[
        str | None,
        typer.Option(
            metavar="stream|sentence", show_default="as trained", help="Text as one stream, or each sentence by itself."
        ),
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Score text with a saved language model: perplexity, or the log-probability of every sentence.

    Log-probabilities are exact, natural, and count each sentence's end as a word. With --per-sentence every word is
    predicted from all before it; else a long text is read as up to ten side by side, as in training's own test.

    \b
    Examples:
      vastmax lm score model new.txt
      vastmax lm score model new.txt --per-sentence --batching sentence > scores.tsv
      echo 'the company said' | vastmax lm score model - --json
    """  # noqa: D301
    saved = _load(model)
    from vastmax.language import score_text

    rows = 1 if per_sentence else None
    found = score_text(saved, text, batching=batching, rows=rows, keep=per_sentence, threads=threads)
    lines = zip(found.sentence_log_prob.tolist(), found.sentence_words.tolist(), found.texts, strict=False)
    if as_json:
        kept = [{"log_prob": value, "words": words, "sentence": " ".join(text)} for value, words, text in lines]
        print_json({**_facts(found), **({"per_sentence": kept} if per_sentence else {})})
        return
    for value, words, sentence in lines:
        say(f"{value:.4f}\t{words}\t{' '.join(sentence)}")
    summary = (
        f"perplexity {found.perplexity:,.2f} of {found.words:,} words in {found.sentences:,} sentences, whose ends "
        f"count; {found.unknown_share:.2%} of the rest are unknown; {found.words_per_second / 1e3:,.1f}k words/s"
    )
    (note if per_sentence else say)(summary)


def sample(
    model: ModelFolder,
    prompt: Annotated[str, typer.Option(metavar="TEXT", show_default="none", help="What the text begins with.")] = "",
    words: Annotated[int, typer.Option(metavar="N", help="Words to draw, ends of sentences among them.")] = 100,
    samples: Annotated[int, typer.Option("--samples", "-n", metavar="N", help="How many texts.")] = 1,
    temperature: Annotated[
        float, typer.Option(metavar="X", help="Below 1 keeps to the likely, above 1 strays; 1 is the model itself.")
    ] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(metavar="K", show_default="all", help="Draw among the K most likely words only.")
    ] = None,
    unknown: Annotated[bool, typer.Option(help="Whether the word that stands for unknown ones may be drawn.")] = True,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    """Draw text from a saved language model.

    \b
    Examples:
      vastmax lm sample model
      vastmax lm sample model --prompt 'the company said' --words 40 --no-unknown
      vastmax lm sample model -n 5 --temperature 0.8 --top-k 50 --seed 7
    """  # noqa: D301
    saved = _load(model)
    from vastmax.language import draw_text

    drawn = draw_text(
        saved,
        prompt=prompt,
        words=words,
        samples=samples,
        temperature=temperature,
        top_k=top_k,
        unknown=unknown,
        seed=seed,
    )
    if drawn.unknown:
        names = ", ".join(repr(word) for word in drawn.unknown)
        note(f"note: the model does not know {names}: {saved.text['unknown']} stands for such words")
    end = saved.text["end_of_sentence"]
    texts = [_lines([*drawn.prompt, *words], end) for words in drawn.texts]
    if as_json:
        print_json({"samples": texts, "unknown_in_prompt": drawn.unknown, "seed": seed})
        return
    say("\n\n".join(texts))


def _load(folder: Path) -> SavedModel:
    require_torch()
    from vastmax.language import load_language_model

    return load_language_model(folder)


def _facts(found: TextScore) -> dict[str, float | int]:
    names = ("perplexity", "log_prob", "words", "sentences", "unknown_share", "seconds", "words_per_second")
    return {name: getattr(found, name) for name in names}


def _lines(words: list[str], end: str) -> str:
    """Words as text: a line a sentence."""
    lines: list[list[str]] = [[]]
    for word in words:
        if word == end:
            lines.append([])
        else:
            lines[-1].append(word)
    return "\n".join(" ".join(line) for line in lines).rstrip("\n")
