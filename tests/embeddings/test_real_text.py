"""Non-English text, and sequences that are not text: training groups related items."""

from typing import Any

import numpy as np

from tests.data import data_path
from vastmax.embeddings import train


def neighbours(embeddings: Any, word: str, k: int = 15) -> set[str]:
    return {str(found.word) for found in embeddings.nearest(word, k)}


def test_korean() -> None:
    embeddings = train(data_path("unicode/kowiki-3M.txt.gz"), tokenizer="words", epochs=20, threads=1)
    # war: Sino-Japanese, outbreak, Vietnam, Pacific; music: performance, conducting, chart, album, composition, song
    assert (
        len(neighbours(embeddings, "전쟁") & {"중일", "발발", "베트남", "태평양", "전쟁이", "전쟁으로", "전쟁에"}) >= 2
    )
    assert any(
        word.startswith(("음악", "공연", "지휘", "차트", "앨범", "작곡", "노래"))
        for word in neighbours(embeddings, "음악")
    )


def test_items_that_users_bought() -> None:
    lines = data_path("items/Beauty.txt").read_text().splitlines()
    histories = [line.split()[1:] for line in lines]  # the first column is the user
    bought_last = [history.pop() for history in histories]
    embeddings = train(histories, subsample=0, window=10, epochs=30, threads=1)

    # Count how often a user's last purchase is among the 20 items nearest to the earlier ones, or the 20 most popular.
    unit = embeddings.vectors / np.linalg.norm(embeddings.vectors, axis=1, keepdims=True)
    near = popular = asked = 0
    for history, item in list(zip(histories, bought_last, strict=True))[:1500]:
        known = [embeddings.id_of(each) for each in history if each in embeddings]
        if not known or item not in embeddings or embeddings.id_of(item) in known:
            continue
        similarity = unit @ unit[known[-3:]].sum(0)
        similarity[known] = -np.inf
        asked += 1
        near += int((similarity > similarity[embeddings.id_of(item)]).sum() < 20)
        popular += embeddings.id_of(item) < 20
    by_chance = 20 / len(embeddings)
    assert asked > 1000
    assert near / asked > 8 * by_chance
    assert near > 1.3 * popular
