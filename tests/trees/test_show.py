import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import counts
from vastmax.errors import InputError
from vastmax.trees import Tree, balanced_tree, huffman_tree, show_tree, union_tree


def test_picture() -> None:
    tree = balanced_tree(5)
    assert show_tree(tree, levels=2) == "\n".join(
        [
            "5 words  0 1 2 3 4",
            "├─ 2 words  0 1",
            "│  ├─ 0",
            "│  └─ 1",
            "└─ 3 words  2 3 4",
            "   ├─ 2",
            "   └─ 2 words  3 4",
        ]
    )


def test_frequent_words_first_and_shares() -> None:
    picture = show_tree(balanced_tree(4), ["a", "b", "c", "d"], levels=1, counts=[1, 4, 20_000, 0])
    assert picture.splitlines() == ["4 words  100.0%  c b a d", "├─ 2 words  <0.1%  b a", "└─ 2 words  100.0%  c d"]


def test_lines_keep_to_the_width() -> None:
    words = [f"word{i}" for i in range(200)]
    for width in (20, 33, 80):
        lines = show_tree(balanced_tree(200), words, levels=3, width=width).splitlines()
        assert max(map(len, lines)) <= width
        assert lines[0].endswith(" …")
    assert show_tree(balanced_tree(1), ["x" * 99], width=20) == "x" * 19 + "…"


def test_wide_characters_take_two_columns() -> None:
    words = ["漢字", "e\u0301te\u0301", "カタカナ", "中文字符測試"]
    assert show_tree(balanced_tree(4), words, levels=0, width=29) == "4 words  漢字 e\u0301te\u0301 カタカナ …"
    assert show_tree(balanced_tree(4), words, levels=0, width=39) == "4 words  " + " ".join(words)
    assert show_tree(balanced_tree(4), words, levels=0, width=38).endswith("カタカナ …")
    assert show_tree(balanced_tree(1), ["漢" * 30], width=20) == "漢" * 9 + "…"


def test_words_with_several_leaves_are_counted_once_a_node() -> None:
    tree = union_tree([balanced_tree(3), balanced_tree(3)])
    assert show_tree(tree, levels=1, counts=[1, 1, 2]).splitlines() == [
        "3 words  100.0%  2 0 1",
        "├─ 3 words  100.0%  2 0 1",
        "└─ 3 words  100.0%  2 0 1",
    ]
    same = Tree([0, 1, 2], [0, 0], [-1, 1], words=[0, 0])
    assert show_tree(same, ["only"]).splitlines() == ["1 word  only", "├─ only", "└─ only"]


@given(counts(max_words=60), st.integers(0, 6))
def test_every_word_is_somewhere_and_nothing_below_the_levels(counts: np.ndarray, levels: int) -> None:
    tree = huffman_tree(counts)
    lines = show_tree(tree, levels=levels, width=10_000, counts=counts).splitlines()
    shown = min(levels, int(tree.lengths.max()))
    depth = [line.index("─") // 3 + 1 if "─" in line else 0 for line in lines]
    assert max(depth) == shown
    bottom = [line for line, at, after in zip(lines, depth, [*depth[1:], 0], strict=True) if after <= at]
    found = [word for line in bottom for word in line.split("%")[-1].split()] if counts.any() else []
    leaves = [line.split("─ ")[-1].split()[0] for line in bottom if "words" not in line and "─" in line]
    if counts.any() and len(counts) > 1:
        assert sorted(map(int, found + leaves)) == list(range(len(counts)))


def test_no_counts_to_share() -> None:
    assert show_tree(balanced_tree(2), counts=[0, 0]).splitlines()[0] == "2 words  0.0%  0 1"


def test_wrong_arguments() -> None:
    tree = balanced_tree(3)
    with pytest.raises(InputError, match=r"words is \['a', 'b'\]: give the names of 3 words"):
        show_tree(tree, ["a", "b"])
    with pytest.raises(InputError, match="give one whole number for each of 3 words"):
        show_tree(tree, counts=[1, 2])
    with pytest.raises(InputError, match="levels is -1: give a whole number of 0 or more"):
        show_tree(tree, levels=-1)
    with pytest.raises(InputError, match="width is 5: give a whole number of 20 or more"):
        show_tree(tree, width=5)
