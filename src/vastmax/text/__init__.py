"""Read files or token lists into a `Vocabulary` or an `EncodedCorpus`."""

from vastmax._core import END_OF_SENTENCE
from vastmax.text.corpus import EncodedCorpus, WholeCorpus, count_words
from vastmax.text.documentation import documentation_folders, read_documentation
from vastmax.text.encoding import build_vocabulary, encode_corpus
from vastmax.text.ngrams import Subwords
from vastmax.text.parts import encode_part, part_of
from vastmax.text.phrase_learning import PhraseOptions, learn_phrases
from vastmax.text.phrases import Phrase, Phrases
from vastmax.text.scan import ScannedText, ScanProgress
from vastmax.text.sources import STDIN, Sources, describe, expand_paths, is_paths
from vastmax.text.streams import read_sentences
from vastmax.text.tokenizers import TOKENIZERS, Tokenizer

__all__ = [
    "END_OF_SENTENCE",
    "STDIN",
    "TOKENIZERS",
    "EncodedCorpus",
    "Phrase",
    "PhraseOptions",
    "Phrases",
    "ScanProgress",
    "ScannedText",
    "Sources",
    "Subwords",
    "Tokenizer",
    "WholeCorpus",
    "build_vocabulary",
    "count_words",
    "describe",
    "documentation_folders",
    "encode_corpus",
    "encode_part",
    "expand_paths",
    "is_paths",
    "learn_phrases",
    "part_of",
    "read_documentation",
    "read_sentences",
]
