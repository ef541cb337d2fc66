"""Invalid UTF-8, decoded as Python does with errors="replace"."""

from hypothesis import given
from hypothesis import strategies as st

from tests.text.oracle import ranked
from vastmax import _core
from vastmax.vocabulary import split_words

# Bytes near every rule of the encoding, and arbitrary bytes.
parts = st.one_of(
    st.binary(max_size=6),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4).map(str.encode),
    st.text(max_size=3).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(
        st.sampled_from(b"\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xed\xef\xf0\xf4\xf5\xff a"), max_size=6
    ).map(bytes),
)
odd_bytes = st.lists(parts, max_size=40).map(b"".join)


@given(odd_bytes)
def test_replacements_are_pythons(data: bytes) -> None:
    expected = data.decode(errors="replace")
    clean, replaced = _core.clean_utf8(data)
    assert clean.decode() == expected
    assert replaced == expected.count("\ufffd") - data.count("\ufffd".encode())


@given(odd_bytes)
def test_scanner_reads_them_so(data: bytes) -> None:
    scanner = _core.Scanner(None, threads=2)
    scanner.feed(data)
    text = data.decode(errors="replace")
    assert scanner.words == len(text.split())
    lexicon = scanner.finish()
    chosen = lexicon.ranked()
    words = split_words(lexicon.joined(chosen))
    assert dict(zip(words, lexicon.counts()[chosen].tolist(), strict=True)) == ranked([text.split()])


@given(odd_bytes, st.booleans())
def test_last_cut_is_behind_the_last_separator(data: bytes, exact: bool) -> None:
    separators = b"\x1e\x1f" if exact else b"\t\n\v\f\r\x1c\x1d\x1e\x1f "
    expected = max((place + 1 for place, byte in enumerate(data) if byte in separators), default=0)
    assert _core.last_cut(data, len(data), exact) == expected
