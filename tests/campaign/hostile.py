"""Hostile replacements for a value, a number or a piece of text."""

from __future__ import annotations

__all__ = ["IN_JSON", "IN_NUMPY", "IN_TEXT", "IN_TOML", "NUMBERS", "words"]

_DEEP = 300, 900, 20_000  # levels of nesting, which some parsers accept and others reject

IN_JSON = [
    *("null", "true", "false", "0", "-1", "1", "2", "3", "7", "1.5", "-0.5", "1e999", "-1e999", "NaN", "1e-320"),
    *("1000000", "2147483648", "1099511627776"),
    *("9223372036854775808", "-9223372036854775809", "9" * 5000),
    *('""', '"x"', '"full"', '"nan"', '"\\ud800"', '"\\u0000\\u001b[31m"', '"../../x"', f'"{"x" * 70_000}"'),
    *("[]", "{}", "[null]", "[[1], [2]]", '{"a": null}', '{"a": {"a": {}}}'),
    *("[" * deep + "]" * deep for deep in _DEEP),
    *('{"a":' * deep + "1" + "}" * deep for deep in _DEEP),
]
"""JSON text, valid or not."""

IN_TOML = [*IN_JSON, "1979-05-27", "1979-05-27T07:32:00Z", "inf", "nan", "{a = 1}", "'''x'''"]

NUMBERS = [
    *("nan", "inf", "-inf", "-1", "0", "-0", "1e39", "-1e39", "1e-46", "1e400", "0x10", "1_000", "+1", "1e", "e5"),
    *("--1", "1,5", "7.35", "1.", ".5", "x", "1000000", "2147483648", "4294967296", "4611686018427387904"),
    "9223372036854775807",
    *("\u0661", "1\u00a0000", "", " ", "1 2", "1\t2", "9" * 18, "9" * 19, "9" * 25, "9" * 5000),
]

IN_TEXT = [
    *(b"\0", b"\x1b[31m", b"\x9b", b"\x1e", b"\x1f", b"\r", b"\r\n", b"\n\n", b"\t", b"\\", b"\\q", b"#", b"\x0c"),
    *(b" ", b"\xff", b"\xfe\xff", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xe2\x80", b"\xef\xbb\xbf"),
    *("\u2028".encode(), "\u0085".encode(), "\u200b".encode(), "e\u0301".encode(), b"</s>", b"<unk>"),
]

_SHAPES = ["()", "(-1,)", "(0, 0)", "(1099511627776, 4)", "(1, 1, 1)", "(2,)", "(3, 2)", "[1]", "(1.5,)", "9" * 5000]
IN_NUMPY = {
    "descr": ["'|O'", "'<f8'", "'>f4'", "'<i4'", "'|S4'", "'<U1'", "'|V4'", "'<c8'", "[('a','<f4')]", "None", "'x'"],
    "fortran_order": ["True", "1", "None"],
    "shape": [*_SHAPES, "(" * 300 + ")" * 300],
}
"""By header field."""


def words(size: int) -> list[bytes]:
    """Return words of this many bytes that are NaN or extreme, as float or integer."""
    ends = ["ff", "00", "7f", "80", "807f", "c07f", "01"]
    found = [bytes.fromhex(end).rjust(size, fill)[-size:] for end in ends for fill in (b"\0", b"\xff")]
    return [*found, (1).to_bytes(size, "little")]
