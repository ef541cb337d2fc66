"""Value checks, and the common form of their messages."""

import collections.abc
import math
from typing import Annotated, Any, Literal, Optional

import numpy as np
import pytest

from vastmax.checks import conforms, described, flag, number, one_of, refused, shown, whole
from vastmax.errors import InputError


def sentence(check: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        check("size", *arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize("value", [1, 7, np.int64(3), np.uint8(7)])
def test_whole_numbers(value: Any) -> None:
    result = whole("size", value, 1, 7)
    assert result == value
    assert type(result) is int


@pytest.mark.parametrize("value", [0, 8, 2.0, "2", True, np.True_, None, math.nan, np.float64(2)])
def test_what_is_no_whole_number_of_the_range(value: Any) -> None:
    assert sentence(whole, value, 1, 7) == f"size is {shown(value)}: give a whole number from 1 to 7."


def test_a_whole_number_without_an_upper_bound() -> None:
    assert whole("size", 10**30, 1) == 10**30
    assert sentence(whole, -1, 0) == "size is -1: give a whole number of 0 or more."


def test_what_else_a_caller_takes_is_named() -> None:
    assert sentence(whole, 0, 1, other="None") == "size is 0: give a whole number of 1 or more, or None."
    assert sentence(number, 0, 0, above=True, other="None") == "size is 0: give a number above 0, or None."


def test_large_bounds_are_written_in_full() -> None:
    assert "from 0 to 9223372036854775807." in sentence(whole, -1, 0, 2**63 - 1)


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.25), np.int8(1)])
def test_numbers(value: Any) -> None:
    result = number("size", value, 0, 1)
    assert result == value
    assert type(result) is float


@pytest.mark.parametrize(
    ("value", "options", "wanted"),
    [
        (-0.5, {"low": 0, "high": 1}, "from 0 to 1"),
        (0, {"low": 0, "high": 1, "above": True}, "above 0 and at most 1"),
        (1, {"low": 0, "high": 1, "below": True}, "from 0 to below 1"),
        (0, {"low": 0, "high": 0.5, "above": True, "below": True}, "above 0 and below 0.5"),
        (0, {"low": 0, "above": True}, "above 0"),
        (-1, {"low": 0}, "of 0 or more"),
        (math.inf, {"low": 0}, "of 0 or more"),
        (math.nan, {"low": 0, "high": 1}, "from 0 to 1"),
        (math.inf, {}, "that is finite"),
        (True, {"low": 0, "high": 1}, "from 0 to 1"),
        ("1", {"low": 0, "high": 1}, "from 0 to 1"),
    ],
)
def test_what_is_no_number_of_the_range(value: Any, options: dict[str, Any], wanted: str) -> None:
    assert sentence(number, value, **options) == f"size is {value!r}: give a number {wanted}."


@pytest.mark.parametrize("value", ["x", None, 1, ["a"], np.array([1, 2])])
def test_no_choice(value: Any) -> None:
    one_of("size", "a", ("a", "b"))
    assert sentence(one_of, value, ("a", "b", "c")) == f"size is {shown(value)}: give 'a', 'b' or 'c'."
    assert sentence(one_of, value, {"a": 1}) == f"size is {shown(value)}: give 'a'."


def test_flags() -> None:
    flag("size", False)
    assert sentence(flag, 1) == "size is 1: give true or false."
    assert sentence(flag, None) == "size is None: give true or false."


def test_a_value_in_a_sentence() -> None:
    assert [shown(value) for value in (np.int64(3), np.float32(0.5), "3", True)] == ["3", "0.5", "'3'", "True"]
    assert shown(np.zeros((2, 3), np.float32)) == "float32 of shape (2, 3)"
    assert shown(np.frombuffer(b"\xff" * 4, "<U1").reshape(())) == "a ndarray that cannot be written"  # no code point
    assert shown(10**5000) == "a int that cannot be written"
    assert shown("x" * 100) == "'" + "x" * 58 + "…"
    assert str(refused("size", "3", "a number")) == "size is '3': give a number."


RULES: dict[Any, tuple[list[Any], list[Any]]] = {
    Any: ([None, 1, "a", [1]], []),
    None: ([None], [0, "", False]),
    bool: ([True, False, np.True_], [0, 1, None, "true"]),
    int: ([0, -3, 2**70, np.int32(3)], [True, np.True_, 2.0, "2", None, np.float64(2)]),
    float: ([0.5, 2, math.nan, math.inf, np.float32(1), np.int8(1)], [True, np.True_, "1", None, 1j]),
    str: (["", "a"], [b"a", 1, None]),
    float | None: ([None, 1, 0.5], [True, "1"]),
    Optional[int]: ([None, 1], [1.5, False]),  # noqa: UP045  the old spelling, of typing's own
    int | str: ([1, "a"], [1.5, None, True]),
    Literal["a", "b"]: (["a", "b"], ["c", None, 1, ["a"]]),
    Literal[1, None]: ([1, None], [True, 1.0, 0]),
    Literal["auto"] | int: (["auto", 3], ["3", None]),
    list: ([[], [1, "a"]], [(), "ab", {}, None]),
    list[int]: ([[], [1, 2]], [[1, True], [1.5], (1, 2), [None]]),
    list[dict[str, Any]]: ([[], [{"a": []}]], [[{"a": 1}, 2], {"a": 1}, [{1: 2}]]),
    dict[str, float | None]: ([{}, {"a": None, "b": 2}], [{"a": "b"}, {"a": True}, [], {1: 1.0}]),
    collections.abc.Mapping[str, list[int]]: ([{}, {"a": [1]}], [{"a": [1.5]}, {"a": 1}]),
    collections.abc.Sequence[int]: ([[1], (1, 2), np.array([1, 2]), range(3)], ["12", [1, "2"], {1}, b"ab", [True]]),
    collections.abc.Sequence[str]: ([["a"], ("a", "b")], ["ab", [1]]),
    tuple[int, float]: ([(1, 2), (1, 2.5)], [(1,), (1, 2, 3), (1.5, 2), [1, 2]]),
    tuple[int, ...]: ([(), (1,), (1, 2, 3)], [(1, "a"), [1]]),
    set[str]: ([set(), {"a"}], [{1}, ["a"]]),
    dict[str, tuple[int, str | None] | None]: ([{"a": None, "b": (1, None)}], [{"a": (1, 2)}, {"a": (1,)}]),
    Annotated[int | None, "of words"]: ([3, None], ["3", 2.5]),
    np.ndarray: ([np.zeros(2)], [[0.0]]),
}


@pytest.mark.parametrize("hint", RULES, ids=str)
def test_values_of_a_type(hint: Any) -> None:
    accepted, refused_values = RULES[hint]
    assert [value for value in accepted if not conforms(value, hint)] == []
    assert [value for value in refused_values if conforms(value, hint)] == []


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int | None, "a whole number or none"),
        (None, "none"),
        (Literal["mean", "sum", "none"], "'mean', 'sum' or 'none'"),
        (Literal["auto"] | collections.abc.Sequence[int], "'auto' or a list of whole numbers"),
        (str | list[str], "text or a list of texts"),
        (dict[str, float | None], "a table of numbers or none"),
        (dict[str, Any], "a table"),
        (list[dict[str, Any]], "a list of tables"),
        (tuple[int, ...], "a list of whole numbers"),
        (Annotated[bool, "yes"], "true or false"),
        (Any, "anything"),
    ],
)
def test_types_in_words(hint: Any, words: str) -> None:
    assert described(hint) == words


def test_numbers_and_arrays_out_of_reach_are_refused() -> None:
    with pytest.raises(InputError, match=r"rate is 1000.*: give a number"):
        number("rate", 10**400, 0, 1)
    assert not conforms(np.array(1), collections.abc.Sequence[int]) and not conforms(
        np.int64(3), collections.abc.Sequence[int]
    )
    assert conforms(np.array([1, 2]), collections.abc.Sequence[int])
