"""Text: files or token lists in, a `Vocabulary` or an `EncodedCorpus` out."""

from vastmax.text.corpus import END_OF_SENTENCE, EncodedCorpus
from vastmax.text.counting import build_vocabulary
from vastmax.text.documentation import documentation_folders, read_documentation
from vastmax.text.encoding import encode_corpus, table_of
from vastmax.text.phrases import Phrase, Phrases
from vastmax.text.scan import NO_WORD, Scan, ScanProgress, scan
from vastmax.text.sources import STDIN, Sources, describe, expand_paths, is_paths
from vastmax.text.special_words import check_word, number_of, select_known, with_word
from vastmax.text.spool import SpoolFile
from vastmax.text.streams import read_sentences
from vastmax.text.tokenizers import TOKENIZERS, Tokenizer

__all__ = [
    "END_OF_SENTENCE",
    "NO_WORD",
    "STDIN",
    "TOKENIZERS",
    "EncodedCorpus",
    "Phrase",
    "Phrases",
    "Scan",
    "ScanProgress",
    "Sources",
    "SpoolFile",
    "Tokenizer",
    "build_vocabulary",
    "check_word",
    "describe",
    "documentation_folders",
    "encode_corpus",
    "expand_paths",
    "is_paths",
    "number_of",
    "read_documentation",
    "read_sentences",
    "scan",
    "select_known",
    "table_of",
    "with_word",
]
