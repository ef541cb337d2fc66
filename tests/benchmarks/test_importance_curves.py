"""The importance-sampling curves over training: what they draw and refuse."""

import numpy as np
import pytest
from benchmarks.drawing.importance_curves import importance_curves

from vastmax.errors import InputError

RECORDS = [
    {
        "method": name,
        "step": step,
        "perplexity": 1000 / (step + 1),
        "kl_divergence": scale / (step + 1),
        "samples": drawn,
    }
    for name, scale in (("fixed", 2.0), ("adaptive", 1.0))
    for step, drawn in ((2, 50 * scale), (0, None), (1, 100 * scale))
]


def test_lines_are_the_records_in_the_order_of_steps() -> None:
    divergence, samples = importance_curves(RECORDS).axes
    for axes, steps in ((divergence, (0, 1, 2)), (samples, (1, 2))):
        lines = {line.get_label(): np.column_stack(line.get_data()).tolist() for line in axes.get_lines()}
        assert list(lines) == ["fixed", "adaptive"]
        assert [x for x, _ in lines["fixed"]] == [1000 / (step + 1) for step in steps]
        assert axes.get_xlim()[0] > axes.get_xlim()[1]  # perplexity falls as training proceeds to the right
    assert np.asarray(divergence.get_lines()[1].get_ydata()).tolist() == [1.0, 1 / 2, 1 / 3]
    assert np.asarray(samples.get_lines()[0].get_ydata()).tolist() == [200.0, 100.0]
    assert "KL" in divergence.get_ylabel() and "samples" in samples.get_ylabel()


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "nothing to draw"),
        ([{**RECORDS[0], "method": None}], "record 0 has method None"),
        ([RECORDS[0], {**RECORDS[1], "perplexity": float("nan")}], "record 1 has perplexity nan"),
        ([{key: value for key, value in RECORDS[0].items() if key != "samples"}], "record 0 has samples None"),
    ],
)
def test_bad_records(records: list[dict], message: str) -> None:
    with pytest.raises(InputError, match=message):
        importance_curves(records)
