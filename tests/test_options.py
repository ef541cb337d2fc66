"""Options described by their fields: types read from the annotations, and values refused."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from vastmax.errors import InputError
from vastmax.options import Flag, Option, check_options, options_of


@dataclass(frozen=True, kw_only=True)
class Some:
    kind: Annotated[Literal["one", "two"], Flag("Which.")] = "one"
    size: Annotated[int | None, Flag("How large.", low=1, high=9, default="any")] = None
    share: Annotated[float, Flag("How much.", "SHARE", low=0, high=1, above=True)] = 0.5
    plain: Annotated[bool, Flag("Whether.")] = False
    name: Annotated[str, Flag("What it is called.")] = ""
    others: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_options(self)


def test_a_field_says_all_there_is_to_say() -> None:
    kind, size, share, plain, name = options_of(Some)
    assert kind == Option("kind", str, False, ("one", "two"), "one", Flag("Which."))
    assert (size.kind, size.optional, size.default, size.flag.default) == (int, True, None, "any")
    assert (share.kind, share.flag.metavar, share.default) == (float, "SHARE", 0.5)
    assert (plain.kind, plain.default, name.kind) == (bool, False, str)


def test_numbers_of_numpy_become_plain_ones() -> None:
    some = Some(size=np.int64(9), share=np.float32(0.25))  # type: ignore[arg-type]
    assert (type(some.size), type(some.share)) == (int, float)
    assert Some(size=None).size is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("kind", "three"), ("kind", None), ("size", 0), ("size", 10), ("share", 0.0), ("share", None), ("plain", 1)],
)
def test_what_is_not_accepted_is_named(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"^{name} .*{value!r}"):
        Some(**{name: value})
