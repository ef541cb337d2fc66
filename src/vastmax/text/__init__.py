"""Text: files or token lists in, a `Vocabulary` and an `EncodedCorpus` or a `LanguageCorpus` out."""

from vastmax.text.corpus import END_OF_SENTENCE, EncodedCorpus
from vastmax.text.documentation import documentation_folders, read_documentation
from vastmax.text.encoding import encode_corpus
from vastmax.text.language_corpus import LanguageCorpus
from vastmax.text.phrases import Phrase, Phrases
from vastmax.text.scan import ScanProgress
from vastmax.text.sources import Sources
from vastmax.text.streams import read_sentences
from vastmax.text.subsampling import keep_probability
from vastmax.text.tokenizers import TOKENIZERS
from vastmax.text.vocabulary import Vocabulary

__all__ = [
    "END_OF_SENTENCE",
    "TOKENIZERS",
    "EncodedCorpus",
    "LanguageCorpus",
    "Phrase",
    "Phrases",
    "ScanProgress",
    "Sources",
    "Vocabulary",
    "documentation_folders",
    "encode_corpus",
    "keep_probability",
    "read_documentation",
    "read_sentences",
]
