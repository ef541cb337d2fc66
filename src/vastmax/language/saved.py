"""Save and load trained language models as folders that can be read without executing code from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from vastmax.documents import read_json
from vastmax.embeddings import holds_embeddings
from vastmax.errors import FormatError, InputError, VastmaxError
from vastmax.files import as_path, is_file, member, read_members, replacing_members
from vastmax.language.models import LanguageModel, build_model
from vastmax.language.options import ModelOptions
from vastmax.layers import LayerSpec
from vastmax.runs import built_of_at_most, load_model_tensors, map_tensors, model_tensors, tensors_of, tensors_under
from vastmax.text import TOKENIZERS
from vastmax.vocabulary import Vocabulary

__all__ = ["SavedModel", "load_language_model", "save_language_model"]

_MODEL, _WORDS, _CONFIG, _CURVE = "model.safetensors", "vocabulary.tsv", "config.json", "metrics.jsonl"
_FORMAT = "vastmax language model 2"
_DERIVED = 4
# raised if config.json does not match the tensors; RuntimeError is torch's, also when memory runs out
_UNFIT = (VastmaxError, ArithmeticError, AttributeError, KeyError, MemoryError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class SavedModel:
    """A loaded language model.

    Attributes:
        model: The model, in eval mode.
        vocabulary: The V words, including the unknown word and the end of a sentence.
        layer: Name and options of the output layer.
        options: Options of the rest of the model.
        text: How text is split into words: ``tokenizer``, ``lowercase``, ``unknown`` and ``end_of_sentence``.
    """

    model: LanguageModel
    vocabulary: Vocabulary
    layer: LayerSpec
    options: ModelOptions
    text: dict[str, Any]

    @property
    def unknown(self) -> int:
        """Id of the word that stands for all out-of-vocabulary words."""
        return self.vocabulary[self.text["unknown"]]

    @property
    def end_of_sentence(self) -> int:
        """Id that follows each sentence."""
        return self.vocabulary[self.text["end_of_sentence"]]

    def split(self, line: str) -> list[str]:
        """Return the words of a line, split as in training."""
        words = TOKENIZERS[self.text["tokenizer"]]()(line)
        return [word.lower() for word in words] if self.text["lowercase"] else words

    def ids(self, words: Sequence[str]) -> list[int]:
        """Return the id of each word, `unknown` for out-of-vocabulary words."""
        index, unknown = self.vocabulary.index, self.unknown
        return [index.get(word, unknown) for word in words]


def save_language_model(
    folder: str | PathLike[str],
    model: LanguageModel,
    vocabulary: Vocabulary,
    layer: LayerSpec,
    options: ModelOptions,
    text: Mapping[str, Any],
    curve: Sequence[Mapping[str, Any]] = (),
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write a model, described as in :class:`SavedModel`; atomic: a kill leaves the old files or the new.

    The validation results (``curve``) and training options (``training``) are saved for readers; loading ignores them.
    InputError if the folder cannot be written.
    """
    record = {
        "format": _FORMAT,
        "layer": asdict(layer),
        "model": asdict(options),
        "text": dict(text),
        "training": dict(training or {}),
    }
    with replacing_members(folder) as staging:
        save_file({name: each.cpu() for name, each in model_tensors(model).items()}, staging / _MODEL)
        vocabulary.save(staging / _WORDS)
        (staging / _CONFIG).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        lines = "".join(json.dumps(point) + "\n" for point in curve)
        (staging / _CURVE).write_text(lines, encoding="utf-8")


def load_language_model(folder: str | PathLike[str]) -> SavedModel:
    """Load a model that :func:`save_language_model` wrote.

    InputError if the folder does not exist or has no language model; FormatError if a file is damaged or was written by
    another version.
    """
    folder = as_path(folder)
    return read_members(folder, (_MODEL, _WORDS, _CONFIG), lambda: _load(folder))


def _load(folder: Path) -> SavedModel:
    if not is_file(member(folder, _MODEL)):
        what = "embeddings, not a language model" if holds_embeddings(folder) else "no language model"
        raise InputError(f"{folder} contains {what}: train one with `vastmax lm train TRAIN -o DIR`.")
    try:
        record = read_json(member(folder, _CONFIG))
        if not str(record["format"]).startswith(_FORMAT[:-1]):  # something else has replaced the model in this folder
            raise FormatError(f"{folder} contains {record['format']!r}, not a language model: give the folder of one.")
        if record["format"] != _FORMAT:
            raise FormatError(
                f"{folder} was written by another version, {record['format']!r} instead of {_FORMAT!r}: train it again."
            )
        layer, options = LayerSpec(**record["layer"]), ModelOptions(**record["model"])
        text = dict(record["text"])
        tensors = tensors_of(map_tensors(member(folder, _MODEL)), copy=False)
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"{folder} is damaged ({str(error).rstrip('.')}): train it again, or restore a copy."
        ) from error
    vocabulary = Vocabulary.load(member(folder, _WORDS))
    try:
        if not _says_how_text_was_read(text, vocabulary):
            raise FormatError(f"{_CONFIG} does not say how the text was read: train the model again.")
        # layers may add derived tensors that are not in the file, such as a proposal's tables from counts
        with built_of_at_most(_DERIVED * (sum(each.numel() for each in tensors.values()) + len(vocabulary))):
            output = layer.rebuild(options.dim, vocabulary, tensors_under("output", tensors))
            model = build_model(options, output, vocabulary[text["end_of_sentence"]])
        load_model_tensors(model, tensors)
    except _UNFIT as error:
        why = str(error).splitlines() or [type(error).__name__]
        raise FormatError(
            f"{folder} is damaged, its files do not match ({why[0].rstrip('.')}): train it again, or restore a copy."
        ) from error
    return SavedModel(model.eval(), vocabulary, layer, options, text)


def _says_how_text_was_read(text: dict[str, Any], vocabulary: Vocabulary) -> bool:
    names = [text.get(each) for each in ("tokenizer", "unknown", "end_of_sentence")]
    if not all(isinstance(each, str) for each in names) or not isinstance(text.get("lowercase"), bool):
        return False
    tokenizer, *words = names
    return tokenizer in TOKENIZERS and all(word in vocabulary for word in words)
