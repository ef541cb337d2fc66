"""Character n-grams, and the buckets that fastText and floret hash them to."""

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vastmax.errors import InputError
from vastmax.text import Subwords

MASK = 2**64 - 1


def ngrams(word: str, shortest: int, longest: int) -> list[str]:
    """Return all n-grams of "<word>" of the given lengths except a lone mark."""
    marked = f"<{word}>"
    pieces = [
        (begin, marked[begin : begin + size])
        for begin in range(len(marked))
        for size in range(shortest, longest + 1)
        if begin + size <= len(marked)
    ]
    return [piece for begin, piece in pieces if len(piece) > 1 or 0 < begin < len(marked) - 1]


def fnv1a(text: str) -> int:
    """32-bit FNV-1a with signed bytes, as in fastText."""
    found = 2166136261
    for byte in text.encode():
        signed = byte - 256 if byte > 127 else byte
        found = ((found ^ (signed % 2**32)) * 16777619) % 2**32
    return found


def murmur3(text: str, seed: int = 2166136261) -> list[int]:
    """The four 32-bit words of MurmurHash3_x64_128, written from its definition."""
    data, c1, c2 = text.encode(), 0x87C37B91114253D5, 0x4CF5AD432745937F

    def rotate(x: int, bits: int) -> int:
        return ((x << bits) | (x >> (64 - bits))) & MASK

    def mix(x: int) -> int:
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            x = (x ^ (x >> 33)) * factor & MASK
        return x ^ (x >> 33)

    h1 = h2 = seed
    whole = len(data) // 16 * 16
    for place in range(0, whole, 16):
        k1, k2 = (int.from_bytes(data[place + part : place + part + 8], "little") for part in (0, 8))
        h1 ^= rotate(k1 * c1 & MASK, 31) * c2 & MASK
        h1 = ((rotate(h1, 27) + h2) * 5 + 0x52DCE729) & MASK
        h2 ^= rotate(k2 * c2 & MASK, 33) * c1 & MASK
        h2 = ((rotate(h2, 31) + h1) * 5 + 0x38495AB5) & MASK
    tail = data[whole:]
    if len(tail) > 8:
        h2 ^= rotate(int.from_bytes(tail[8:], "little") * c2 & MASK, 33) * c1 & MASK
    if tail:
        h1 ^= rotate(int.from_bytes(tail[:8], "little") * c1 & MASK, 31) * c2 & MASK
    h1, h2 = h1 ^ len(data), h2 ^ len(data)
    h1 = (h1 + h2) & MASK
    h2 = (h2 + h1) & MASK
    h1, h2 = mix(h1), mix(h2)
    h1 = (h1 + h2) & MASK
    h2 = (h2 + h1) & MASK
    return [h1 & 0xFFFFFFFF, h1 >> 32, h2 & 0xFFFFFFFF, h2 >> 32]


WORD = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(st.lists(WORD, max_size=5), st.integers(1, 4), st.integers(0, 5), st.integers(1, 10**6))
def test_buckets_are_fasttexts(words: list[str], shortest: int, more: int, buckets: int) -> None:
    offsets, found = Subwords(shortest, shortest + more, buckets).buckets_of(words)
    assert offsets[0] == 0 and len(offsets) == len(words) + 1
    for word, begin, end in zip(words, offsets, offsets[1:], strict=False):
        expected = [fnv1a(ngram) % buckets for ngram in ngrams(word, shortest, shortest + more)]
        assert found[begin:end].tolist() == expected


@given(WORD, st.integers(1, 4), st.integers(0, 4), st.integers(1, 4), st.integers(1, 10**6))
def test_buckets_are_florets(word: str, shortest: int, more: int, hashes: int, buckets: int) -> None:
    _, found = Subwords(shortest, shortest + more, buckets, hashes, floret=True).buckets_of([word])
    pieces = [f"<{word}>", *ngrams(word, shortest, shortest + more)]
    assert found.tolist() == [number % buckets for piece in pieces for number in murmur3(piece)[:hashes]]


def test_a_word_cut_by_hand() -> None:
    assert ngrams("tea", 3, 6) == ["<te", "<tea", "<tea>", "tea", "tea>", "ea>"]
    assert ngrams("é", 1, 2) == ["<é", "é", "é>"]


@pytest.mark.parametrize("longest", [3, 6])
def test_the_peers_cut_and_hash_alike(longest: int, tmp_path) -> None:
    fasttext = pytest.importorskip("fasttext", reason="fastText is not installed")
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat\n" * 20)
    words = ["unsene", "the", "a", "naïve", "日本語", "x" * 40, "Ünïcödé-wörds", "<a>", "😀b"]
    model = fasttext.train_unsupervised(str(text), dim=2, epoch=1, minn=2, maxn=longest, bucket=12345, verbose=0)
    offsets, found = Subwords(2, longest, 12345).buckets_of(words)
    for number, word in enumerate(words):
        theirs = [int(row) - len(model.words) for row in model.get_subwords(word)[1] if row >= len(model.words)]
        assert found[offsets[number] : offsets[number + 1]].tolist() == theirs
    floret = pytest.importorskip("floret", reason="floret is not installed")
    options = {"mode": "floret", "bucket": 1234, "hashCount": 2, "minn": 2, "maxn": longest}
    model = floret.train_unsupervised(str(text), dim=2, epoch=1, verbose=0, **options)
    offsets, found = Subwords(2, longest, 1234, 2, floret=True).buckets_of(words)
    for number, word in enumerate(words):
        theirs = [int(row) - len(model.words) for row in model.get_subwords(word)[1]]
        assert found[offsets[number] : offsets[number + 1]].tolist() == theirs


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"shortest": 0}, "shortest is 0"),
        ({"shortest": 7}, "shortest is 7"),
        ({"longest": 101}, "longest is 101"),
        ({"buckets": 0}, "buckets is 0"),
        ({"buckets": 2**31}, "buckets is 2147483648"),
        ({"hashes": 2}, "hashes is 2"),
        ({"hashes": 5, "floret": True}, "hashes is 5"),
        ({"floret": 1}, "floret is 1"),
    ],
)
def test_rules_that_are_refused(options: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Subwords(**options)


@pytest.mark.parametrize("lengths", ["", "3-", "6-3", "0-3", "3-6-9", "a", "3.5", "-3", "1\u0666", "3-\u0666"])
def test_lengths_that_are_refused(lengths: str) -> None:
    with pytest.raises(InputError, match="subwords is"):
        Subwords.from_lengths(lengths, 10, 1)


def test_lengths_are_read() -> None:
    assert Subwords.from_lengths("3-6", 10, 1) == Subwords(3, 6, 10)
    assert Subwords.from_lengths(" 5 ", 10, 2) == Subwords(5, 5, 10, 2, floret=True)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([3], "a word is 3: give text"),
        (["a", b"b"], "a word is b'b': give text"),
        (["a", "t\udcffea"], r"a word is 't\\udcffea': give text without unpaired surrogates"),
        ("tea", "words is 'tea': give a list of words"),
        (3, "words is 3: give a list of words"),
    ],
)
def test_words_that_are_none(words: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Subwords().buckets_of(words)


def test_no_ngrams_at_all() -> None:
    assert Subwords(0, 0).buckets_of(["tea"])[1].size == 0
    assert sys.byteorder == "little" and len(Subwords(0, 0, 9, 2, floret=True).buckets_of(["tea"])[1]) == 2
