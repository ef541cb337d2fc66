"""Words and their counts: the immutable `Vocabulary`, its file, and checks of counts and words."""

from vastmax.vocabulary.counts import as_counts, as_weights
from vastmax.vocabulary.vocabulary import Vocabulary, check_limits, check_word, with_word
from vastmax.vocabulary.written import SENTENCE_END, WORD_END, escape, join_words, split_words, unescape

__all__ = [
    "SENTENCE_END",
    "WORD_END",
    "Vocabulary",
    "as_counts",
    "as_weights",
    "check_limits",
    "check_word",
    "escape",
    "join_words",
    "split_words",
    "unescape",
    "with_word",
]
